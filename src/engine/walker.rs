//! A point that walks around w0 in the buffers of one worker.
//!
//! u is kept as noise that can be made again, or as a vector once a gradient has come in; the gradient's buffer becomes
//! u's, so that the usual single step needs two buffers as large as the parameters. Its scales are applied on the way to
//! the perturbed copy.
//!
//! Owns: u, the perturbed copy, the gradient and the vectors that are kept. May not touch: w0 (which it only reads).

use super::device::cpu::{self, Scaled};
use super::device::filter;
use super::landscape::{Along, Kept, Point, Slope, Vectors, View};
use super::metric::Metric;
use super::network::batch::Batch;
use super::network::{Pass, Passes};
use super::noise::Purpose;
use super::norms::Norms;
use super::outputs::{cross_entropy, greatest, log_sum_exp};
use super::slot::mirror;
use super::stop::Stop;
use super::weights::Snapped;
use crate::domain::Fault;
use std::sync::Arc;

/// Buffers of one worker; vectors are allocated when they are first needed and stay.
pub struct Worker<T> {
    /// Forward and backward.
    pub pass: Box<dyn Pass<T>>,
    point: Vec<T>,
    /// The last gradient.
    pub gradient: Vec<T>,
    direction: Vec<T>,
    d_logits: Vec<T>,
}

impl<T> Worker<T> {
    /// A worker that computes with `pass`.
    pub fn new(pass: Box<dyn Pass<T>>) -> Self {
        let (point, gradient, direction, d_logits) = Default::default();
        Self { pass, point, gradient, direction, d_logits }
    }
}

/// The gradient at w0 of some groups.
pub struct Base<T> {
    /// Its loss and norms.
    pub slope: Slope,
    /// Itself.
    pub vector: Vec<T>,
}

/// What every walker on a group shares.
pub struct Ground<'a, T> {
    /// The snapshot.
    pub snapped: &'a Snapped<T>,
    /// Batches of the group.
    pub batches: &'a [&'a Batch],
    /// The gradient at w0 that was asked for last, and whether it is that of this group.
    pub base: Option<(&'a Base<T>, bool)>,
    /// Ends everything early.
    pub stop: &'a Stop,
}

impl<T> Clone for Ground<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ground<'_, T> {}

impl<T: Passes> Ground<'_, T> {
    /// Examples of the group.
    pub fn examples(&self) -> usize {
        self.batches.iter().map(|batch| batch.labels.len()).sum()
    }

    /// Computes the gradient of the mean loss under `w` into the worker's buffer; returns the mean loss. `w` is the
    /// worker's own point when absent.
    ///
    /// # Errors
    /// A stop.
    pub fn gradient(&self, worker: &mut Worker<T>, w: Option<&[T]>) -> Result<f64, Fault> {
        let examples = self.examples();
        let Worker { pass, point, gradient, d_logits, .. } = worker;
        let w = w.unwrap_or(point);
        gradient.clear();
        gradient.resize(w.len(), T::ZERO);
        let mut total = 0.0;
        for group in self.batches.chunks(pass.width()) {
            self.stop.check()?;
            let logits = pass.forward(w, group, true);
            total += loss_slopes(logits, group, examples as f64, d_logits);
            pass.backward(w, group, d_logits, gradient);
        }
        for tie in &self.snapped.weights.ties {
            for i in 0..tie.len {
                let mirrored = gradient[tie.mirror + i];
                gradient[tie.original + i] += mirrored;
            }
        }
        self.snapped.meter.forward(examples);
        self.snapped.meter.backward(examples);
        Ok(total / examples as f64)
    }
}

/// Where u is.
#[derive(Clone, Copy)]
enum Direction {
    Zero,
    Noise(u32, Purpose),
    /// In [`Worker::direction`].
    Stored,
    Kept(Kept),
}

/// See the module.
pub struct Walker<'a, T> {
    ground: Ground<'a, T>,
    worker: &'a mut Worker<T>,
    metric: Metric,
    direction: Direction,
    /// Of the direction, by slot.
    scales: Vec<f64>,
    /// Whether the worker's point is w0 + T∘u.
    placed: bool,
    kept: Vec<Option<Vec<T>>>,
}

impl<'a, T: Passes> Walker<'a, T> {
    /// A point at w0.
    pub fn new(ground: Ground<'a, T>, worker: &'a mut Worker<T>) -> Self {
        let (metric, direction, scales) = (Metric::Plain, Direction::Zero, Vec::new());
        Self { ground, worker, metric, direction, scales, placed: false, kept: Vec::new() }
    }

    /// Back to w0, in plain coordinates, with nothing kept.
    pub fn reset(&mut self) {
        self.metric = Metric::Plain;
        self.kept.clear();
        self.turn(Direction::Zero, Vec::new());
    }

    fn tensors(&self) -> usize {
        self.ground.snapped.weights.slots.len()
    }

    fn turn(&mut self, direction: Direction, scales: Vec<f64>) {
        // A direction that is not stored leaves its buffer to the next gradient.
        if !matches!(direction, Direction::Stored) && self.worker.gradient.is_empty() {
            std::mem::swap(&mut self.worker.gradient, &mut self.worker.direction);
        }
        (self.direction, self.scales, self.placed) = (direction, scales, false);
    }

    fn at_start(&self) -> bool {
        matches!(self.direction, Direction::Zero)
    }

    fn place(&mut self) {
        if self.placed {
            return;
        }
        let Snapped { weights, meter, .. } = self.ground.snapped;
        let point = &mut self.worker.point;
        point.resize(weights.data.len(), T::ZERO);
        let by = Scaled { scales: &self.scales, metric: &self.metric };
        let u = match self.direction {
            Direction::Zero => return,
            Direction::Noise(draw, purpose) => {
                let draw = self.ground.snapped.draw(draw, purpose);
                cpu::perturb(&weights.slots, (point, &weights.data), draw, by);
                None
            }
            Direction::Stored => Some(&self.worker.direction),
            Direction::Kept(kept) => Some(vector(&self.kept, kept)),
        };
        if let Some(u) = u {
            cpu::displace(&weights.slots, (point, &weights.data), u, by);
        }
        mirror(&weights.ties, &mut self.worker.point);
        meter.pass();
        self.placed = true;
    }

    fn keep(&mut self, vector: Vec<T>) -> Kept {
        let free = self.kept.iter().position(Option::is_none).unwrap_or(self.kept.len());
        if free == self.kept.len() {
            self.kept.push(None);
        }
        self.kept[free] = Some(vector);
        Kept(free)
    }

    /// The gradient that is kept for w0, if it is that of this group.
    fn known_slope(&mut self) -> Option<f64> {
        let (base, _) = self.ground.base.filter(|(_, own)| *own && self.at_start())?;
        self.worker.gradient.clear();
        self.worker.gradient.extend_from_slice(&base.vector);
        self.ground.snapped.meter.pass();
        Some(base.slope.loss)
    }
}

/// A vector that is kept.
///
/// # Panics
/// When it was released: a defect of a measure.
fn vector<T>(kept: &[Option<Vec<T>>], Kept(index): Kept) -> &Vec<T> {
    kept[index].as_ref().expect("a vector is used before it is released")
}

/// Calls `with(row, label)` for the logits of every example of a few batches.
pub fn each_example<T: Passes>(logits: &[T], batches: &[&Batch], mut with: impl FnMut(&[f64], usize)) {
    let labels = || batches.iter().flat_map(|batch| &batch.labels);
    let mut row = vec![0.0; logits.len() / labels().count().max(1)];
    for (logits, label) in logits.chunks_exact(row.len().max(1)).zip(labels()) {
        row.iter_mut().zip(logits).for_each(|(wide, z)| *wide = z.wide());
        with(&row, *label);
    }
}

/// Derivative of the mean loss over `examples` along the logits of a few batches; returns the sum of their losses.
pub fn loss_slopes<T: Passes>(logits: &[T], batches: &[&Batch], examples: f64, out: &mut Vec<T>) -> f64 {
    out.clear();
    let mut losses = 0.0;
    each_example(logits, batches, |row, label| {
        let total = log_sum_exp(row);
        losses += total - row[label];
        out.extend(row.iter().enumerate().map(|(class, z)| {
            let target = if class == label { 1.0 } else { 0.0 };
            T::of((libm::exp(z - total) - target) / examples)
        }));
    });
    losses
}

impl<T: Passes> Point for Walker<'_, T> {
    fn measure_in(&mut self, metric: Metric) {
        self.metric = metric;
        self.turn(Direction::Zero, Vec::new());
    }

    fn noise_norms(&mut self, draw: u32, purpose: Purpose) -> Arc<Norms> {
        self.ground.snapped.noise_norms(draw, purpose)
    }

    fn perturb(&mut self, draw: u32, purpose: Purpose, scales: &[f64]) {
        self.turn(Direction::Noise(draw, purpose), scales.to_vec());
    }

    fn follow(&mut self, along: Along) -> Result<bool, Fault> {
        let found = match (along, self.ground.base) {
            (Along::Update, _) => self.ground.snapped.update(&mut self.worker.direction)?,
            (Along::Gradient, None) => false,
            (Along::Gradient, Some((base, _))) => {
                self.worker.direction.clone_from(&base.vector);
                self.ground.snapped.meter.pass();
                true
            }
        };
        if found {
            self.turn(Direction::Stored, vec![1.0; self.tensors()]);
        }
        Ok(found)
    }

    fn on_plane(&mut self, terms: &[(u32, f64)]) {
        let snapped = self.ground.snapped;
        let u = &mut self.worker.direction;
        u.clear();
        u.resize(snapped.weights.data.len(), T::ZERO);
        for (draw, coefficient) in terms {
            let rows = snapped.filter(*draw);
            let draw = (snapped.draw(*draw, Purpose::Direction), &*rows);
            filter::add_direction(&snapped.weights.slots, u, draw, *coefficient);
            snapped.meter.pass();
        }
        self.turn(Direction::Stored, vec![1.0; self.tensors()]);
    }

    fn plane_product(&mut self, [a, b]: [u32; 2]) -> f64 {
        self.on_plane(&[(a, 1.0)]);
        let first = std::mem::take(&mut self.worker.direction);
        self.on_plane(&[(b, 1.0)]);
        let slots = &self.ground.snapped.weights.slots;
        let by_slot = cpu::products(slots, &first, &self.worker.direction);
        self.turn(Direction::Zero, Vec::new());
        by_slot.iter().sum()
    }

    fn stretch(&mut self, scale: f64) {
        (self.scales, self.placed) = (vec![scale; self.tensors()], false);
    }

    fn shrink(&mut self, factors: &[f64]) {
        self.scales.iter_mut().zip(factors).for_each(|(scale, factor)| *scale *= factor);
        self.placed = false;
    }

    fn gradient(&mut self) -> Result<Slope, Fault> {
        let ground = self.ground;
        let weights = &ground.snapped.weights;
        let loss = match self.known_slope() {
            Some(loss) => loss,
            None if self.at_start() => ground.gradient(self.worker, Some(&weights.data))?,
            None => {
                self.place();
                ground.gradient(self.worker, None)?
            }
        };
        let gradient = &mut self.worker.gradient;
        ground.snapped.meter.pass();
        let norms = match &self.metric {
            Metric::Plain => cpu::norms(&weights.slots, gradient),
            metric => cpu::to_metric(&weights.slots, gradient, &weights.data, metric),
        };
        Ok(Slope { loss, norms })
    }

    fn ascend(&mut self, scales: &[f64]) -> Norms {
        let slots = &self.ground.snapped.weights.slots;
        let Worker { gradient, direction, .. } = &mut *self.worker;
        self.ground.snapped.meter.pass();
        let norms = match self.direction {
            Direction::Stored => cpu::combine(slots, (&self.scales, direction), (scales, gradient)),
            Direction::Zero => cpu::scale_and_perturb(slots, gradient, scales, None),
            Direction::Noise(draw, purpose) => {
                let noise = (self.ground.snapped.draw(draw, purpose), self.scales.as_slice());
                cpu::scale_and_perturb(slots, gradient, scales, Some(noise))
            }
            Direction::Kept(kept) => {
                let kept = vector(&self.kept, kept);
                cpu::combine(slots, (scales, gradient), (&self.scales, kept))
            }
        };
        if !matches!(self.direction, Direction::Stored) {
            std::mem::swap(&mut self.worker.gradient, &mut self.worker.direction);
        }
        self.turn(Direction::Stored, vec![1.0; self.tensors()]);
        norms
    }

    fn ascend_in_box(&mut self, step: f64, bound: f64) {
        let snapped = self.ground.snapped;
        if !matches!(self.direction, Direction::Stored) {
            // Boxes are climbed from w0.
            self.worker.direction.clear();
            self.worker.direction.resize(snapped.weights.data.len(), T::ZERO);
        }
        let Worker { gradient, direction, .. } = &mut *self.worker;
        cpu::climb_box(&snapped.weights.slots, direction, gradient, [step, bound]);
        snapped.meter.pass();
        self.turn(Direction::Stored, vec![1.0; self.tensors()]);
    }

    fn look(&mut self) -> Result<View, Fault> {
        self.place();
        let Ground { snapped, batches, stop, .. } = self.ground;
        let Worker { pass, point, .. } = &mut *self.worker;
        let w = if matches!(self.direction, Direction::Zero) { &snapped.weights.data } else { &*point };
        let (mut total, mut right) = (0.0, 0u32);
        for group in batches.chunks(pass.width()) {
            stop.check()?;
            let logits = pass.forward(w, group, false);
            each_example(logits, group, |row, label| {
                total += cross_entropy(row, label);
                right += u32::from(greatest(row) == label);
            });
        }
        let examples = self.ground.examples();
        snapped.meter.forward(examples);
        Ok(View { loss: total / examples as f64, accuracy: f64::from(right) / examples as f64 })
    }
}

impl<T: Passes> Vectors for Walker<'_, T> {
    fn keep_gradient(&mut self) -> Kept {
        let gradient = std::mem::take(&mut self.worker.gradient);
        self.keep(gradient)
    }

    fn keep_noise(&mut self, draw: u32, purpose: Purpose) -> Kept {
        let snapped = self.ground.snapped;
        let mut noise = vec![T::ZERO; snapped.weights.data.len()];
        cpu::noise(&snapped.weights.slots, &mut noise, snapped.draw(draw, purpose));
        snapped.meter.pass();
        self.keep(noise)
    }

    fn release(&mut self, Kept(index): Kept) {
        let freed = self.kept[index].take();
        // The next gradient has a buffer then.
        if self.worker.gradient.capacity() == 0 {
            self.worker.gradient = freed.unwrap_or_default();
        }
    }

    fn go(&mut self, vector: Kept, scale: f64) {
        let scales = vec![scale; self.tensors()];
        self.turn(Direction::Kept(vector), scales);
    }

    fn scale(&mut self, vector: Kept, factor: f64) {
        let factors = vec![factor; self.tensors()];
        let Ground { snapped, .. } = self.ground;
        if let Some(vector) = &mut self.kept[vector.0] {
            cpu::scale_and_perturb(&snapped.weights.slots, vector, &factors, None);
            snapped.meter.pass();
        }
    }

    fn combine(&mut self, (to, keep): (Kept, f64), (from, factor): (Kept, f64)) {
        let Some(mut target) = self.kept[to.0].take() else {
            unreachable!("a vector is used after its release")
        };
        let tensors = self.tensors();
        let (keep, factor) = (vec![keep; tensors], vec![factor; tensors]);
        let slots = &self.ground.snapped.weights.slots;
        cpu::combine(slots, (&keep, &mut target), (&factor, vector(&self.kept, from)));
        self.ground.snapped.meter.pass();
        self.kept[to.0] = Some(target);
    }

    fn product(&mut self, a: Kept, b: Kept) -> f64 {
        let slots = &self.ground.snapped.weights.slots;
        self.ground.snapped.meter.pass();
        cpu::products(slots, vector(&self.kept, a), vector(&self.kept, b)).iter().sum()
    }

    fn gradient_with_noise(&mut self, draw: u32, purpose: Purpose) -> f64 {
        let snapped = self.ground.snapped;
        snapped.meter.pass();
        cpu::product_with_noise(&snapped.weights.slots, &self.worker.gradient, snapped.draw(draw, purpose))
    }
}
