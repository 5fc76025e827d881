//! A point that walks around w0 in the buffers of one worker, on whatever device that is.
//!
//! u is kept as noise that can be made again, or as a vector once a gradient has come in; the gradient's buffer becomes
//! u's, so that the usual single step needs two buffers as large as the parameters. Its scales are applied on the way to
//! the perturbed copy.
//!
//! Owns: u, the gradient and the vectors that are kept, and how many points go side by side. May not touch: w0 (which it only reads), a device's arithmetic.

use crate::backend::{At, Backend, DirectionSource, GroupContext, Scaled, Times};
use crate::device::ascent::{AscentJob, Reached, StepUnit};
use crate::device::metric::ParameterMetric;
use crate::device::noise::Purpose;
use crate::device::norms::Norms;
use crate::landscape::{Along, GradientSummary, Point, PointView, VectorId, Vectors};
use clino_domain::Fault;

/// Bytes that workers beside the first may take: draws of small models go side by side, each on one thread; in a draw
/// of a large one the batches do, which takes a third of the memory.
const SIDE_BY_SIDE_BYTES: usize = 64 << 20;

/// How many points over vectors of `bytes` go side by side on a number of threads.
pub fn side_by_side(bytes: usize, threads: usize) -> usize {
    (1 + SIDE_BY_SIDE_BYTES / bytes.saturating_mul(3).max(1)).clamp(1, threads.max(1))
}

/// Buffers of one worker; vectors are allocated when they are first needed and stay.
pub struct PointBuffers<B: Backend> {
    /// Backend of the device that computes.
    pub backend: B,
    /// Gradient that was computed last.
    pub gradient: Option<B::Vector>,
    direction: Option<B::Vector>,
}

impl<B: Backend> PointBuffers<B> {
    /// A worker on a device.
    pub fn new(backend: B) -> Self {
        Self { backend, gradient: None, direction: None }
    }

    /// No point moves: the room of its direction is the next gradient's.
    pub fn rest(&mut self) {
        self.gradient = self.gradient.take().or_else(|| self.direction.take());
    }

    /// Computes the gradient of the mean loss into [`PointBuffers::gradient`].
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested; a fault if the device is lost.
    pub fn find_gradient(&mut self, context: GroupContext<'_, B>, at: At) -> Result<B::Losses, Fault> {
        let mut gradient = room(&self.backend, &mut self.gradient, context)?;
        let losses = self.backend.gradient(context, at, &mut gradient)?;
        self.gradient = Some(gradient);
        context.prepared.counter.forward(context.units());
        context.prepared.counter.backward(context.units());
        Ok(losses)
    }
}

/// The vector that is there, or a new one.
fn room<B: Backend>(
    backend: &B,
    known: &mut Option<B::Vector>,
    context: GroupContext<'_, B>,
) -> Result<B::Vector, Fault> {
    known.take().map_or_else(|| backend.vector(context.prepared), Ok)
}

/// Where the offset u is stored.
#[derive(Clone, Copy)]
enum Offset {
    Zero,
    Noise(u32, Purpose),
    /// As coefficients, in [`Perturbation::plane`].
    Plane,
    /// In the worker's `direction`.
    Stored,
    VectorId(VectorId),
}

/// The loss that comes with a gradient.
enum GradientLoss<B: Backend> {
    Known(f64),
    There(B::Losses),
}

/// A point near the snapshot that moves and has a loss and a gradient.
pub struct Perturbation<'a, B: Backend> {
    context: GroupContext<'a, B>,
    worker: &'a mut PointBuffers<B>,
    metric: ParameterMetric,
    /// The metric, once it is on the device.
    unit: Option<B::Unit>,
    direction: Offset,
    /// Of the direction, by slot.
    scales: Vec<f64>,
    /// The scales, once they are on the device; after a projection there, only these.
    sizes: Option<B::Scales>,
    /// Whether the worker's point is w0 + T∘u.
    placed: bool,
    /// Draws of directions normalized by filter, and their coefficients.
    plane: Vec<(u32, f64)>,
    kept: Vec<Option<B::Vector>>,
}

/// What a defect of a measure would be: a gradient before any was computed, a vector after its release.
const DEFECT: &str = "a vector is used after it is made and before it is released";

fn vector<V>(kept: &[Option<V>], VectorId(index): VectorId) -> &V {
    kept[index].as_ref().expect(DEFECT)
}

impl<'a, B: Backend> Perturbation<'a, B> {
    /// A point at w0.
    pub fn new(context: GroupContext<'a, B>, worker: &'a mut PointBuffers<B>) -> Self {
        let metric = ParameterMetric::Plain;
        let direction = Offset::Zero;
        let scales = Vec::new();
        let plane = Default::default();
        let kept = Default::default();
        Self {
            context,
            worker,
            metric,
            unit: None,
            direction,
            scales,
            sizes: None,
            placed: false,
            plane,
            kept,
        }
    }

    /// Back to w0, in plain coordinates, with nothing kept.
    pub fn reset(&mut self) {
        self.kept.clear();
        self.measure_in(ParameterMetric::Plain);
    }

    fn tensors(&self) -> usize {
        self.context.prepared.weights.slots.len()
    }

    fn turn(&mut self, direction: Offset, scales: Vec<f64>) {
        // A direction that is not stored leaves its buffer to the next gradient.
        if !matches!(direction, Offset::Stored) && self.worker.gradient.is_none() {
            self.worker.gradient = self.worker.direction.take();
        }
        self.direction = direction;
        self.rescale(scales);
    }

    fn rescale(&mut self, scales: Vec<f64>) {
        (self.scales, self.sizes, self.placed) = (scales, None, false);
    }

    fn turn_to_stored(&mut self, direction: B::Vector) {
        let before = self.worker.direction.replace(direction);
        // The next gradient has a buffer then.
        self.worker.gradient = self.worker.gradient.take().or(before);
        self.turn(Offset::Stored, vec![1.0; self.tensors()]);
    }

    /// u is `direction` scaled by numbers that lie on the device.
    fn turn_there(&mut self, direction: Offset, sizes: B::Scales) {
        self.turn(direction, Vec::new());
        self.sizes = Some(sizes);
    }

    fn at_start(&self) -> bool {
        matches!(self.direction, Offset::Zero)
    }

    /// Brings scales and metric to the device.
    fn bring(&mut self) -> Result<(), Fault> {
        let backend = &self.worker.backend;
        if self.sizes.is_none() {
            self.sizes = Some(backend.scales(&self.scales)?);
        }
        if self.unit.is_none() {
            self.unit = Some(backend.unit(&self.metric)?);
        }
        Ok(())
    }

    /// Makes a vector of what is on a plane.
    fn store(&mut self) -> Result<(), Fault> {
        let prepared = self.context.prepared;
        // What was stored before is not needed any more, and no next gradient has to wait for its room.
        self.worker.direction = None;
        let mut u = self.worker.backend.vector(prepared)?;
        for (draw, coefficient) in &self.plane {
            self.context.stop.check()?;
            self.worker.backend.add_direction(prepared, &mut u, *draw, *coefficient)?;
            prepared.counter.pass();
        }
        let scales = std::mem::take(&mut self.scales);
        self.turn_to_stored(u);
        self.rescale(scales);
        Ok(())
    }

    fn place(&mut self) -> Result<At, Fault> {
        if self.at_start() {
            return Ok(At::Start);
        }
        if matches!(self.direction, Offset::Plane) && !self.placed {
            let whole =
                self.metric == ParameterMetric::Plain && self.scales.iter().all(|scale| *scale == 1.0);
            self.placed = whole && self.worker.backend.place_on_plane(self.context.prepared, &self.plane)?;
            if !self.placed {
                self.store()?;
            }
        }
        if !self.placed {
            self.context.stop.check()?;
            self.bring()?;
            let prepared = self.context.prepared;
            let PointBuffers { backend, direction, .. } = &mut *self.worker;
            let u = match self.direction {
                Offset::Noise(draw, purpose) => DirectionSource::Noise(prepared.draw(draw, purpose)),
                Offset::VectorId(kept) => DirectionSource::Vector(vector(&self.kept, kept)),
                _ => DirectionSource::Vector(direction.as_ref().expect(DEFECT)),
            };
            let by = Scaled {
                scales: self.sizes.as_ref().expect("brought"),
                unit: self.unit.as_ref().expect("brought"),
            };
            backend.place(prepared, u, by)?;
            prepared.counter.pass();
            self.placed = true;
        }
        Ok(At::Point)
    }

    fn keep(&mut self, vector: B::Vector) -> VectorId {
        let free = self.kept.iter().position(Option::is_none).unwrap_or(self.kept.len());
        if free == self.kept.len() {
            self.kept.push(None);
        }
        self.kept[free] = Some(vector);
        VectorId(free)
    }

    /// The gradient that is kept for w0, if it is that of this group.
    fn known_slope(&mut self) -> Result<Option<f64>, Fault> {
        let Some((base, _)) = self.context.base.filter(|(_, own)| *own && self.at_start()) else {
            return Ok(None);
        };
        let PointBuffers { backend, gradient, .. } = &mut *self.worker;
        let mut known = room(backend, gradient, self.context)?;
        backend.take_up(&base.vector, &mut known)?;
        *gradient = Some(known);
        self.context.prepared.counter.pass();
        Ok(Some(base.slope.loss))
    }

    /// Computes the gradient along u; its loss and squares stay on the device.
    fn slope_there(&mut self) -> Result<(GradientLoss<B>, B::Squares), Fault> {
        let context = self.context;
        let loss = match self.known_slope()? {
            Some(loss) => GradientLoss::Known(loss),
            None => {
                let at = self.place()?;
                GradientLoss::There(self.worker.find_gradient(context, at)?)
            }
        };
        context.prepared.counter.pass();
        let PointBuffers { backend, gradient, .. } = &mut *self.worker;
        let gradient = gradient.as_mut().expect(DEFECT);
        if self.metric == ParameterMetric::Plain {
            return Ok((loss, backend.squares(context.prepared, gradient)?));
        }
        if self.unit.is_none() {
            self.unit = Some(backend.unit(&self.metric)?);
        }
        let unit = self.unit.as_ref().expect("brought");
        Ok((loss, backend.to_metric(context.prepared, gradient, unit)?))
    }

    /// u = u + steps * gradient; its squares stay on the device.
    fn ascend_there(&mut self, steps: &B::Scales) -> Result<B::Squares, Fault> {
        let prepared = self.context.prepared;
        if matches!(self.direction, Offset::Plane) {
            self.store()?;
        }
        if !self.at_start() {
            self.bring()?;
        }
        let PointBuffers { backend, gradient, direction } = &mut *self.worker;
        prepared.counter.pass();
        let mut g = gradient.take().expect(DEFECT);
        let sizes = self.sizes.as_ref();
        let squares = match self.direction {
            Offset::Zero => backend.scale_and_perturb(prepared, &mut g, steps, None)?,
            Offset::Noise(draw, purpose) => {
                let noise = sizes.map(|sizes| (prepared.draw(draw, purpose), sizes));
                backend.scale_and_perturb(prepared, &mut g, steps, noise)?
            }
            Offset::Stored | Offset::Plane => {
                let mut u = direction.take().expect(DEFECT);
                let squares = backend.combine(
                    prepared,
                    Times { factors: sizes.expect("brought"), vector: &mut u },
                    Times { factors: steps, vector: &g },
                )?;
                *gradient = Some(std::mem::replace(&mut g, u));
                squares
            }
            Offset::VectorId(kept) => {
                let from = Times { factors: sizes.expect("brought"), vector: vector(&self.kept, kept) };
                backend.combine(prepared, Times { factors: steps, vector: &mut g }, from)?
            }
        };
        self.turn_to_stored(g);
        Ok(squares)
    }
}

impl<B: Backend> Point for Perturbation<'_, B> {
    fn measure_in(&mut self, metric: ParameterMetric) {
        (self.metric, self.unit) = (metric, None);
        self.turn(Offset::Zero, Vec::new());
    }

    fn noise_norms(&mut self, draw: u32, purpose: Purpose) -> Result<Norms, Fault> {
        self.context.stop.check()?;
        let backend = &mut self.worker.backend;
        let squares = backend.noise_squares(self.context.prepared, draw, purpose)?;
        backend.norms(squares)
    }

    fn perturb(&mut self, draw: u32, purpose: Purpose, scales: &[f64]) {
        self.turn(Offset::Noise(draw, purpose), scales.to_vec());
    }

    fn follow(&mut self, along: Along) -> Result<bool, Fault> {
        let context = self.context;
        let PointBuffers { backend, direction, gradient } = &mut *self.worker;
        *direction = direction.take().or_else(|| gradient.take());
        let mut u = room(backend, direction, context)?;
        match (along, context.base) {
            (Along::Gradient, None) => return Ok(false),
            (Along::Gradient, Some((base, _))) => {
                backend.take_up(&base.vector, &mut u)?;
                context.prepared.counter.pass();
            }
            (Along::Update, _) => match context.prepared.update()? {
                Some(update) => backend.write(&mut u, &update)?,
                None => return Ok(false),
            },
        }
        self.turn_to_stored(u);
        Ok(true)
    }

    fn on_plane(&mut self, terms: &[(u32, f64)]) {
        self.plane = terms.to_vec();
        self.turn(Offset::Plane, vec![1.0; self.tensors()]);
    }

    fn plane_product(&mut self, [a, b]: [u32; 2]) -> Result<f64, Fault> {
        self.on_plane(&[(a, 1.0)]);
        self.worker.gradient = None;
        self.store()?;
        let first = self.worker.direction.take().expect(DEFECT);
        self.on_plane(&[(b, 1.0)]);
        self.store()?;
        let second = self.worker.direction.as_ref().expect(DEFECT);
        let product = self.worker.backend.product(self.context.prepared, &first, second)?;
        self.turn(Offset::Zero, Vec::new());
        Ok(product)
    }

    fn stretch(&mut self, scale: f64) {
        self.rescale(vec![scale; self.tensors()]);
    }

    fn shrink(&mut self, factors: &[f64]) {
        let scales = self.scales.iter().zip(factors).map(|(scale, factor)| scale * factor).collect();
        self.rescale(scales);
    }

    fn gradient(&mut self) -> Result<GradientSummary, Fault> {
        let (loss, squares) = self.slope_there()?;
        let backend = &self.worker.backend;
        let loss = match loss {
            GradientLoss::Known(loss) => loss,
            GradientLoss::There(losses) => backend.loss(losses)?,
        };
        Ok(GradientSummary { loss, norms: backend.norms(squares)? })
    }

    fn ascend(&mut self, scales: &[f64]) -> Result<Norms, Fault> {
        let steps = self.worker.backend.scales(scales)?;
        let squares = self.ascend_there(&steps)?;
        self.worker.backend.norms(squares)
    }

    fn ascend_in_box(&mut self, step: f64, bound: f64) -> Result<(), Fault> {
        let prepared = self.context.prepared;
        let PointBuffers { backend, gradient, direction } = &mut *self.worker;
        let mut u = match self.direction {
            Offset::Stored => direction.take().expect(DEFECT),
            // Boxes are climbed from w0.
            _ => {
                *direction = None;
                backend.vector(prepared)?
            }
        };
        backend.climb_box(prepared, &mut u, gradient.as_ref().expect(DEFECT), [step, bound])?;
        prepared.counter.pass();
        self.turn_to_stored(u);
        Ok(())
    }

    fn carry_out(&mut self, order: &AscentJob<'_>) -> Result<Reached, Fault> {
        let prepared = self.context.prepared;
        let radii = self.worker.backend.scales(order.radii)?;
        let constant = |size: f64| vec![size; order.radii.len()];
        match order.unit {
            StepUnit::Absolute => self.perturb(order.draw, Purpose::Gauss, &constant(order.noise)),
            StepUnit::Radius => {
                let squares = self.worker.backend.noise_squares(prepared, order.draw, Purpose::Gauss)?;
                let sizes = self.worker.backend.steps(order, order.noise, &squares, &radii)?;
                self.turn_there(Offset::Noise(order.draw, Purpose::Gauss), sizes);
            }
        }
        let mut displacement = None;
        for _ in 0..order.steps {
            let (_, squares) = self.slope_there()?;
            let steps = match order.unit {
                StepUnit::Absolute => self.worker.backend.scales(&constant(order.step))?,
                StepUnit::Radius => self.worker.backend.steps(order, order.step, &squares, &radii)?,
            };
            let squares = self.ascend_there(&steps)?;
            let (sizes, left) = self.worker.backend.project(order, &squares, &radii)?;
            (self.sizes, displacement) = (Some(sizes), Some(left));
        }
        let loss = self.look()?.loss;
        let displacement = displacement.map_or(Ok(0.0), |left| self.worker.backend.number(left))?;
        Ok(Reached { loss, displacement })
    }

    fn look(&mut self) -> Result<PointView, Fault> {
        let at = self.place()?;
        let view = self.worker.backend.look(self.context, at)?;
        self.context.prepared.counter.forward(self.context.units());
        Ok(view)
    }
}

impl<B: Backend> Vectors for Perturbation<'_, B> {
    fn keep_gradient(&mut self) -> VectorId {
        let gradient = self.worker.gradient.take().expect(DEFECT);
        self.keep(gradient)
    }

    fn keep_noise(&mut self, draw: u32, purpose: Purpose) -> Result<VectorId, Fault> {
        self.context.stop.check()?;
        let prepared = self.context.prepared;
        let backend = &self.worker.backend;
        let mut noise = backend.vector(prepared)?;
        backend.noise(prepared, &mut noise, prepared.draw(draw, purpose))?;
        prepared.counter.pass();
        Ok(self.keep(noise))
    }

    fn keep_zeros(&mut self) -> Result<VectorId, Fault> {
        let zeros = self.worker.backend.vector(self.context.prepared)?;
        Ok(self.keep(zeros))
    }

    fn release(&mut self, VectorId(index): VectorId) {
        let freed = self.kept[index].take();
        // The next gradient has a buffer then.
        if self.worker.gradient.is_none() {
            self.worker.gradient = freed;
        }
    }

    fn go(&mut self, vector: VectorId, scale: f64) {
        self.turn(Offset::VectorId(vector), vec![scale; self.tensors()]);
    }

    fn scale(&mut self, VectorId(index): VectorId, factor: f64) -> Result<(), Fault> {
        self.context.stop.check()?;
        let prepared = self.context.prepared;
        let backend = &self.worker.backend;
        let factors = backend.scales(&vec![factor; self.tensors()])?;
        let vector = self.kept[index].as_mut().expect(DEFECT);
        backend.scale_and_perturb(prepared, vector, &factors, None)?;
        prepared.counter.pass();
        Ok(())
    }

    fn combine(&mut self, to: VectorId, keep: f64, from: VectorId, factor: f64) -> Result<(), Fault> {
        self.context.stop.check()?;
        let prepared = self.context.prepared;
        let backend = &self.worker.backend;
        let constant = |scale: f64| backend.scales(&vec![scale; self.tensors()]);
        let keep = constant(keep)?;
        let factors = constant(factor)?;
        let mut target = self.kept[to.0].take().expect(DEFECT);
        let from = Times { factors: &factors, vector: vector(&self.kept, from) };
        backend.combine(prepared, Times { factors: &keep, vector: &mut target }, from)?;
        prepared.counter.pass();
        self.kept[to.0] = Some(target);
        Ok(())
    }

    fn product(&mut self, a: VectorId, b: VectorId) -> Result<f64, Fault> {
        self.context.stop.check()?;
        let prepared = self.context.prepared;
        prepared.counter.pass();
        self.worker.backend.product(prepared, vector(&self.kept, a), vector(&self.kept, b))
    }

    fn gradient_with_noise(&mut self, draw: u32, purpose: Purpose) -> Result<f64, Fault> {
        self.context.stop.check()?;
        let prepared = self.context.prepared;
        let PointBuffers { backend, gradient, .. } = &*self.worker;
        prepared.counter.pass();
        let draw = prepared.draw(draw, purpose);
        backend.product_with_noise(prepared, gradient.as_ref().expect(DEFECT), draw)
    }
}
