//! A landscape with known answers: L(w0 + d) = base + g · d + ½ d · diag(h) d, over two tensors.
//!
//! Owns: the landscape on which every measure is proved before it meets a network. May not touch: measures.

use crate::device::ascent::{AscentJob, Reached, StepUnit};
use crate::device::cpu;
use crate::device::filter;
use crate::device::metric::ParameterMetric;
use crate::device::noise::{Draw, Purpose};
use crate::device::norms::Norms;
use crate::device::slot::Slot;
use crate::landscape::{
    Along, ExampleShare, GradientSummary, Job, Landscape, Matrices, Point, PointView, Position, VectorId,
    Vectors,
};
use crate::outputs::{CheckedRows, Outputs};
use crate::spectrum::{self, Shape, Spectrum};
use clino_domain::{Against, Fault, Moments, Move, Stop, TensorStatistics};
use std::ops::Range;
use std::sync::Arc;

/// See the module. The first `split` parameters are tensor `a`, a vector; the others are `b.weight`, a matrix of `rows`.
#[derive(Clone)]
pub struct Quadratic {
    pub w0: Vec<f64>,
    pub init: Option<Vec<f64>>,
    pub previous: Option<Vec<f64>>,
    pub slope: Vec<f64>,
    pub curvature: Vec<f64>,
    pub split: usize,
    pub rows: usize,
    pub seed: u64,
    pub logits: Outputs,
    /// ‖gradient‖² of a part of the examples; by default that of the whole.
    pub square: fn(&ExampleShare) -> Option<f64>,
    /// Its product with the gradient of the whole; by default that of the whole with itself.
    pub product: fn(&ExampleShare) -> Option<f64>,
    norms: Norms,
    slots: Vec<Slot>,
    statistics: Vec<TensorStatistics>,
}

impl Quadratic {
    pub fn new(w0: Vec<f64>, slope: Vec<f64>, curvature: Vec<f64>) -> Self {
        let split = w0.len() / 2;
        // One example, whose two scores give the base loss log 2.
        let logits = Outputs::of_scores(vec![0.0, 0.0], vec![1], 2);
        let norms = Default::default();
        let slots = Default::default();
        let statistics = Default::default();
        let init = Default::default();
        let previous = Default::default();
        let none: fn(&ExampleShare) -> Option<f64> = |_| None;
        let rows = if (w0.len() - split).is_multiple_of(2) { 2 } else { 1 };
        let seed = 7;
        let mut new = Self {
            w0,
            init,
            previous,
            slope,
            curvature,
            split,
            rows,
            seed,
            logits,
            square: none,
            product: none,
            norms,
            slots,
            statistics,
        };
        new.compare();
        new
    }

    /// The loss at w0.
    pub fn base(&self) -> f64 {
        self.logits.loss()
    }

    /// Rise of the loss at w0 + d, by definition.
    pub fn rise(&self, d: &[f64]) -> f64 {
        let terms = d.iter().zip(&self.slope).zip(&self.curvature);
        terms.map(|((d, g), h)| g * d + 0.5 * h * d * d).sum()
    }

    /// The noise of a draw over all parameters.
    pub fn noise(&self, index: u32, purpose: Purpose) -> Vec<f64> {
        let mut all = vec![0.0; self.w0.len()];
        cpu::noise(&self.slots, &mut all, self.draw(index, purpose));
        all
    }

    fn draw(&self, index: u32, purpose: Purpose) -> Draw {
        Draw { seed: self.seed, index, purpose }
    }

    /// To be called when a reference or the shape was set.
    pub fn compare(&mut self) {
        let n = self.w0.len();
        let slot = |name: &str, offset, len, rank, rows| Slot { name: name.into(), offset, len, rank, rows };
        self.slots =
            vec![slot("a", 0, self.split, 0, 0), slot("b.weight", self.split, n - self.split, 1, self.rows)];
        self.norms = cpu::norms(&self.slots, &self.w0);
        self.statistics = self.slots.iter().map(|slot| self.statistics_of(slot)).collect();
    }

    fn statistics_of(&self, slot: &Slot) -> TensorStatistics {
        let w = &self.w0[slot.range()];
        let of = |reference: &Option<Vec<f64>>| reference.as_ref().map(|all| all[slot.range()].to_vec());
        let init = of(&self.init);
        let previous = of(&self.previous);
        let dot = |f: &dyn Fn(usize) -> f64| (0..w.len()).map(f).sum::<f64>();
        TensorStatistics {
            w: moments_of(w.iter().copied()),
            largest: w.iter().fold(0.0, |top, x| top.max(x.abs())),
            init: init.as_ref().map(|init| Against {
                delta: moments_of(w.iter().zip(init).map(|(w, i)| w - i)),
                farthest: w.iter().zip(init).map(|(w, i)| (w - i).abs()).fold(0.0, f64::max),
                init_square: dot(&|i| init[i] * init[i]),
                dot: dot(&|i| w[i] * init[i]),
            }),
            since: previous.as_ref().map(|previous| Move {
                step_square: dot(&|i| (w[i] - previous[i]).powi(2)),
                previous_square: dot(&|i| previous[i] * previous[i]),
                before: init.as_ref().map(|init| {
                    let before = |i: usize| previous[i] - init[i];
                    [dot(&|i| before(i) * before(i)), dot(&|i| (w[i] - previous[i]) * before(i))]
                }),
            }),
            name: slot.name.clone(),
            ..TensorStatistics::default()
        }
    }
}

fn moments_of(xs: impl Iterator<Item = f64>) -> Moments {
    xs.fold(Moments::default(), |m, x| m.join(Moments { count: 1.0, mean: x, spread: 0.0, square: x * x }))
}

impl Position for Quadratic {
    fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn norms(&self) -> &Norms {
        &self.norms
    }

    fn statistics(&self) -> &[TensorStatistics] {
        &self.statistics
    }

    fn epsilon(&self) -> f64 {
        f64::EPSILON
    }

    fn uniform(&self, draw: u32, example: u64) -> f64 {
        self.draw(draw, Purpose::Class).uniform(example)
    }

    fn place(&self, example: u64) -> u64 {
        self.draw(0, Purpose::Order).bits(example)
    }

    fn log_sums(&self, slope: f64, floor: f64) -> Result<Option<Vec<f64>>, Fault> {
        let Some(init) = &self.init else { return Ok(None) };
        let term = |i: usize| (floor * floor + slope * slope * (self.w0[i] - init[i]).powi(2)).ln();
        Ok(Some(self.slots.iter().map(|slot| slot.range().map(term).sum()).collect()))
    }
}

impl Landscape for Quadratic {
    fn position(&self) -> &dyn Position {
        self
    }

    fn outputs(&mut self) -> Result<Arc<Outputs>, Fault> {
        Ok(Arc::new(self.logits.clone()))
    }

    fn rows(&mut self, _: &[usize], _: bool) -> Result<CheckedRows, Fault> {
        Ok(CheckedRows::default())
    }

    fn examples(&self) -> Vec<Range<usize>> {
        (0..self.logits.units.len()).map(|unit| unit..unit + 1).collect()
    }

    fn slope(&mut self, _: Option<&str>) -> Result<GradientSummary, Fault> {
        Ok(GradientSummary { loss: self.base(), norms: cpu::norms(&self.slots, &self.slope) })
    }

    fn visit(&mut self, draws: &[u32], job: Job<'_>) -> Result<(), Fault> {
        let at = |draw: &u32| job(&mut QuadraticPoint::new(self), *draw);
        draws.iter().try_for_each(at)
    }

    fn keys(&self) -> Vec<u64> {
        (0..self.logits.units.len() as u64).collect()
    }

    fn squares(&mut self, parts: &[ExampleShare]) -> Result<Vec<f64>, Fault> {
        let whole: f64 = self.slope.iter().map(|g| g * g).sum();
        Ok(parts.iter().map(|part| (self.square)(part).unwrap_or(whole)).collect())
    }

    fn squares_and_products(&mut self, parts: &[ExampleShare]) -> Result<Vec<[f64; 2]>, Fault> {
        let whole: f64 = self.slope.iter().map(|g| g * g).sum();
        let squares = self.squares(parts)?;
        let product = |part: &ExampleShare| (self.product)(part).unwrap_or(whole);
        Ok(squares.into_iter().zip(parts).map(|(square, part)| [square, product(part)]).collect())
    }

    fn path_norm(&mut self) -> Result<Option<f64>, Fault> {
        Ok(None)
    }

    fn spectra(&self, of: Matrices) -> Result<Arc<Vec<Spectrum>>, Fault> {
        let mut matrix = self.w0[self.split..].to_vec();
        if of == Matrices::Moves {
            let Some(init) = &self.init else { return Ok(Arc::default()) };
            matrix.iter_mut().zip(&init[self.split..]).for_each(|(w, init)| *w -= init);
        }
        let shape = Shape { rows: self.rows, columns: matrix.len() / self.rows };
        Ok(Arc::new(vec![spectrum::of(1, shape, &Stop::default(), spectrum::from_slice(&matrix))?]))
    }
}

struct QuadraticPoint<'a> {
    of: &'a Quadratic,
    metric: ParameterMetric,
    u: Vec<f64>,
    /// The offset u before scaling, which `stretch` scales.
    whole: Vec<f64>,
    gradient: Vec<f64>,
    kept: Vec<Vec<f64>>,
}

impl<'a> QuadraticPoint<'a> {
    fn new(of: &'a Quadratic) -> Self {
        let zero = vec![0.0; of.w0.len()];
        let u = zero.clone();
        let whole = zero.clone();
        let gradient = zero;
        Self { of, metric: ParameterMetric::Plain, u, whole, gradient, kept: Vec::new() }
    }

    fn set(&mut self, u: Vec<f64>) {
        (self.whole, self.u) = (u.clone(), u);
    }

    /// What is scaled by `scales`, by tensor.
    fn scaled(&self, x: &[f64], scales: &[f64]) -> Vec<f64> {
        let mut x = x.to_vec();
        cpu::scale_and_perturb(&self.of.slots, &mut x, scales, None);
        x
    }

    fn units(&self) -> Vec<f64> {
        let mut units = vec![1.0; self.of.w0.len()];
        cpu::to_metric(&self.of.slots, &mut units, &self.of.w0, &self.metric);
        units
    }

    fn delta(&self) -> Vec<f64> {
        self.u.iter().zip(self.units()).map(|(u, t)| u * t).collect()
    }
}

impl Point for QuadraticPoint<'_> {
    fn measure_in(&mut self, metric: ParameterMetric) {
        self.metric = metric;
        self.set(vec![0.0; self.of.w0.len()]);
    }

    fn noise_norms(&mut self, draw: u32, purpose: Purpose) -> Result<Norms, Fault> {
        Ok(cpu::norms(&self.of.slots, &self.of.noise(draw, purpose)))
    }

    fn perturb(&mut self, draw: u32, purpose: Purpose, scales: &[f64]) {
        let u = self.scaled(&self.of.noise(draw, purpose), scales);
        self.set(u.clone());
        self.whole = self.of.noise(draw, purpose);
    }

    fn follow(&mut self, along: Along) -> Result<bool, Fault> {
        let direction = match along {
            Along::Gradient => Some(self.of.slope.clone()),
            Along::Update => {
                let less =
                    |previous: &Vec<f64>| self.of.w0.iter().zip(previous).map(|(w, p)| w - p).collect();
                self.of.previous.as_ref().map(less)
            }
        };
        let found = direction.is_some();
        direction.into_iter().for_each(|u| self.set(u));
        Ok(found)
    }

    fn on_plane(&mut self, terms: &[(u32, f64)]) {
        let slots = &self.of.slots;
        let weights = filter::row_norms(slots, &self.of.w0);
        let mut u = vec![0.0; self.of.w0.len()];
        for (draw, coefficient) in terms {
            let draw = self.of.draw(*draw, Purpose::Direction);
            let rows = filter::scales(&weights, &filter::noise_row_norms::<f64>(slots, draw));
            filter::add_direction(slots, &mut u, draw, &rows, *coefficient);
        }
        self.set(u);
    }

    fn plane_product(&mut self, [a, b]: [u32; 2]) -> Result<f64, Fault> {
        self.on_plane(&[(a, 1.0)]);
        let first = self.u.clone();
        self.on_plane(&[(b, 1.0)]);
        Ok(first.iter().zip(&self.u).map(|(a, b)| a * b).sum())
    }

    fn stretch(&mut self, scale: f64) {
        self.u = self.whole.iter().map(|u| scale * u).collect();
    }

    fn shrink(&mut self, factors: &[f64]) {
        self.u = self.scaled(&self.u, factors);
    }

    fn gradient(&mut self) -> Result<GradientSummary, Fault> {
        let units = self.units();
        let delta = self.delta();
        let terms = delta.iter().zip(&self.of.slope).zip(&self.of.curvature);
        self.gradient = terms.zip(units).map(|(((d, g), h), t)| (g + h * d) * t).collect();
        let norms = cpu::norms(&self.of.slots, &self.gradient);
        Ok(GradientSummary { loss: self.of.base() + self.of.rise(&delta), norms })
    }

    fn ascend(&mut self, scales: &[f64]) -> Result<Norms, Fault> {
        let step = self.scaled(&self.gradient, scales);
        let u = self.u.iter().zip(step).map(|(u, s)| u + s).collect();
        self.set(u);
        Ok(cpu::norms(&self.of.slots, &self.u))
    }

    fn ascend_in_box(&mut self, step: f64, bound: f64) -> Result<(), Fault> {
        let mut u = self.u.clone();
        cpu::climb_box(&self.of.slots, &mut u, &self.gradient, [step, bound]);
        self.set(u);
        Ok(())
    }

    fn carry_out(&mut self, order: &AscentJob<'_>) -> Result<Reached, Fault> {
        let scales = match order.unit {
            StepUnit::Absolute => vec![order.noise; order.radii.len()],
            StepUnit::Radius => order.scales(order.noise, &self.noise_norms(order.draw, Purpose::Gauss)?),
        };
        self.perturb(order.draw, Purpose::Gauss, &scales);
        let mut displacement = 0.0;
        for _ in 0..order.steps {
            let gradient = self.gradient()?.norms;
            let norms = self.ascend(&order.scales(order.step, &gradient))?;
            let (factors, left) = order.pull(&norms);
            self.shrink(&factors);
            displacement = left;
        }
        Ok(Reached { loss: self.look()?.loss, displacement })
    }

    fn look(&mut self) -> Result<PointView, Fault> {
        let rise = self.of.rise(&self.delta());
        // A prediction gets worse as the loss rises, smoothly, so that a fall of the accuracy has a place.
        Ok(PointView { loss: self.of.base() + rise, accuracy: (-rise.abs()).exp() })
    }
}

impl Vectors for QuadraticPoint<'_> {
    fn keep_gradient(&mut self) -> VectorId {
        self.kept.push(self.gradient.clone());
        VectorId(self.kept.len() - 1)
    }

    fn keep_noise(&mut self, draw: u32, purpose: Purpose) -> Result<VectorId, Fault> {
        self.kept.push(self.of.noise(draw, purpose));
        Ok(VectorId(self.kept.len() - 1))
    }

    fn keep_zeros(&mut self) -> Result<VectorId, Fault> {
        self.kept.push(vec![0.0; self.of.w0.len()]);
        Ok(VectorId(self.kept.len() - 1))
    }

    fn release(&mut self, VectorId(vector): VectorId) {
        self.kept[vector] = Vec::new();
    }

    fn go(&mut self, VectorId(vector): VectorId, scale: f64) {
        self.set(self.kept[vector].clone());
        self.stretch(scale);
    }

    fn scale(&mut self, VectorId(vector): VectorId, factor: f64) -> Result<(), Fault> {
        self.kept[vector].iter_mut().for_each(|x| *x *= factor);
        Ok(())
    }

    fn combine(
        &mut self,
        VectorId(to): VectorId,
        keep: f64,
        VectorId(from): VectorId,
        factor: f64,
    ) -> Result<(), Fault> {
        let from = self.kept[from].clone();
        self.kept[to].iter_mut().zip(from).for_each(|(x, y)| *x = keep * *x + factor * y);
        Ok(())
    }

    fn product(&mut self, VectorId(a): VectorId, VectorId(b): VectorId) -> Result<f64, Fault> {
        Ok(self.kept[a].iter().zip(&self.kept[b]).map(|(a, b)| a * b).sum())
    }

    fn gradient_with_noise(&mut self, draw: u32, purpose: Purpose) -> Result<f64, Fault> {
        Ok(self.gradient.iter().zip(self.of.noise(draw, purpose)).map(|(g, n)| g * n).sum())
    }
}
