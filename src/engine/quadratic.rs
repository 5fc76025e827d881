//! A landscape with known answers: L(w0 + d) = base + g · d + ½ d · diag(h) d, over two tensors.
//!
//! Owns: the ground on which every measure is proved before it meets a network. May not touch: measures.

use super::device::cpu;
use super::landscape::{Job, Landscape, Outputs, Point, Sample};
use super::network::layout::Slot;
use super::noise::{Draw, Purpose};
use super::norms::Norms;
use crate::domain::{Against, Fault, Moments, Move, TensorStatistics};
use std::sync::Arc;

/// See the module. The first `split` parameters are tensor `a`, the others tensor `b`.
#[derive(Clone)]
pub struct Quadratic {
    pub w0: Vec<f64>,
    pub init: Option<Vec<f64>>,
    pub previous: Option<Vec<f64>>,
    pub slope: Vec<f64>,
    pub curvature: Vec<f64>,
    pub split: usize,
    pub seed: u64,
    pub logits: Outputs,
    norms: Norms,
    statistics: Vec<TensorStatistics>,
}

impl Quadratic {
    pub fn new(w0: Vec<f64>, slope: Vec<f64>, curvature: Vec<f64>) -> Self {
        let split = w0.len() / 2;
        // One example, whose two scores give the base loss log 2.
        let logits = Outputs { logits: vec![0.0, 0.0], labels: vec![1], classes: 2 };
        let (norms, statistics, init, previous) = (Norms::default(), Vec::new(), None, None);
        let mut new =
            Self { w0, init, previous, slope, curvature, split, seed: 7, logits, norms, statistics };
        new.norms = cpu::norms(&new.slots(), &new.w0);
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

    pub fn slots(&self) -> Vec<Slot> {
        let n = self.w0.len();
        let slot = |name: &str, offset, len, rank| Slot { name: name.into(), offset, len, rank };
        vec![slot("a", 0, self.split, 0), slot("b", self.split, n - self.split, 1)]
    }

    /// The noise of a draw over all parameters.
    pub fn noise(&self, index: u32, purpose: Purpose) -> Vec<f64> {
        let draw = Draw { seed: self.seed, index, purpose };
        let mut all = vec![0.0; self.w0.len()];
        for slot in self.slots() {
            all[slot.range()].copy_from_slice(&draw.vector(slot.rank, slot.len));
        }
        all
    }
}

fn moments_of(xs: impl Iterator<Item = f64>) -> Moments {
    xs.fold(Moments::default(), |m, x| m.join(Moments { count: 1.0, mean: x, spread: 0.0, square: x * x }))
}

impl Quadratic {
    /// To be called when a reference was set.
    pub fn compare(&mut self) {
        let one = |slot: Slot| {
            let w = &self.w0[slot.range()];
            let of = |reference: &Option<Vec<f64>>| reference.as_ref().map(|all| all[slot.range()].to_vec());
            let (init, previous) = (of(&self.init), of(&self.previous));
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
                name: slot.name,
                ..TensorStatistics::default()
            }
        };
        self.statistics = self.slots().into_iter().map(one).collect();
    }
}

impl Landscape for Quadratic {
    fn outputs(&mut self) -> Result<Arc<Outputs>, Fault> {
        Ok(Arc::new(self.logits.clone()))
    }

    fn weight_norms(&self) -> &Norms {
        &self.norms
    }

    fn statistics(&self) -> &[TensorStatistics] {
        &self.statistics
    }

    fn explore(&mut self, draws: &[u32], job: Job<'_>) -> Result<Vec<Sample>, Fault> {
        let n = self.w0.len();
        let at =
            |draw: &u32| job(&mut Place { of: self, delta: vec![0.0; n], gradient: vec![0.0; n] }, *draw);
        draws.iter().map(at).collect()
    }
}

struct Place<'a> {
    of: &'a Quadratic,
    delta: Vec<f64>,
    gradient: Vec<f64>,
}

impl Point for Place<'_> {
    fn noise_norms(&mut self, draw: u32, purpose: Purpose) -> Arc<Norms> {
        Arc::new(cpu::norms(&self.of.slots(), &self.of.noise(draw, purpose)))
    }

    fn perturb(&mut self, draw: u32, purpose: Purpose, scale: f64) {
        self.delta = self.of.noise(draw, purpose).iter().map(|n| scale * n).collect();
    }

    fn gradient(&mut self) -> Result<Norms, Fault> {
        let terms = self.delta.iter().zip(&self.of.slope).zip(&self.of.curvature);
        self.gradient = terms.map(|((d, g), h)| g + h * d).collect();
        Ok(cpu::norms(&self.of.slots(), &self.gradient))
    }

    fn ascend(&mut self, scale: f64) -> Norms {
        self.delta.iter_mut().zip(&self.gradient).for_each(|(d, g)| *d += scale * g);
        cpu::norms(&self.of.slots(), &self.delta)
    }

    fn shrink(&mut self, factors: &[f64]) {
        cpu::scale(&self.of.slots(), &mut self.delta, factors);
    }

    fn loss(&mut self) -> Result<f64, Fault> {
        Ok(self.of.base() + self.of.rise(&self.delta))
    }
}
