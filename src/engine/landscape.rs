//! What a measure sees: a loss over parameters near one snapshot, never a model or a device.
//!
//! Owns: the traits, outputs and losses, what measures of one snapshot share. May not touch: how a loss or
//! a perturbation is computed; `Quadratic` in the tests is a landscape with known answers.

use super::noise::Purpose;
use super::norms::Norms;
use crate::domain::{Fault, TensorStatistics};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The loss of one probe group around the parameters w0 of one snapshot.
pub trait Landscape {
    /// Every example's scores at w0.
    ///
    /// # Errors
    /// A stop.
    fn outputs(&mut self) -> Result<Arc<Outputs>, Fault>;

    /// l2 norms of the tensors of w0.
    fn weight_norms(&self) -> &Norms;

    /// Statistics of every tensor of w0, alone and against what it is compared with.
    fn statistics(&self) -> &[TensorStatistics];

    /// Runs `job` for each of the draws, each on a point of its own that starts at w0; several at a time, the
    /// results in the order of `draws` and the same whatever the number of threads.
    ///
    /// # Errors
    /// The first fault of a job, or a stop.
    fn explore(&mut self, draws: &[u32], job: Job<'_>) -> Result<Vec<Sample>, Fault>;
}

/// What happens on a point in one draw.
pub type Job<'a> = &'a (dyn Fn(&mut dyn Point, u32) -> Result<Sample, Fault> + Sync);

/// A movable point w = w0 + delta; w0 itself never changes.
pub trait Point {
    /// l2 norms by tensor of a draw of noise.
    fn noise_norms(&mut self, draw: u32, purpose: Purpose) -> Arc<Norms>;

    /// delta = scale * noise.
    fn perturb(&mut self, draw: u32, purpose: Purpose, scale: f64);

    /// Computes the gradient of the loss at the point; returns its l2 norms by tensor.
    ///
    /// # Errors
    /// A stop.
    fn gradient(&mut self) -> Result<Norms, Fault>;

    /// delta = delta + scale * (the last gradient); returns the l2 norms of delta by tensor. Uses the gradient up.
    fn ascend(&mut self, scale: f64) -> Norms;

    /// delta = factor * delta, a factor for each tensor.
    fn shrink(&mut self, factors: &[f64]);

    /// Mean loss of the examples at the point; may be non-finite.
    ///
    /// # Errors
    /// A stop.
    fn loss(&mut self) -> Result<f64, Fault>;
}

/// Result of one draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Loss at the end of the draw less the loss at w0.
    pub rise: f64,
    /// l2 norm of delta at the end.
    pub displacement: f64,
}

/// Scores of every example of a group at w0.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outputs {
    /// [examples, classes], row-major.
    pub logits: Vec<f64>,
    /// [examples].
    pub labels: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
}

impl Outputs {
    /// The rows of the logits with their labels.
    pub fn examples(&self) -> impl Iterator<Item = (&[f64], usize)> + '_ {
        self.logits.chunks_exact(self.classes).zip(self.labels.iter().copied())
    }

    /// Mean cross-entropy in nats.
    pub fn loss(&self) -> f64 {
        self.examples().map(|(row, label)| cross_entropy(row, label)).sum::<f64>() / self.labels.len() as f64
    }
}

/// Cross-entropy of one row of logits, in nats.
pub fn cross_entropy(row: &[f64], label: usize) -> f64 {
    log_sum_exp(row) - row[label]
}

/// log Σ exp(row), shifted by the greatest score.
pub fn log_sum_exp(row: &[f64]) -> f64 {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + libm::log(row.iter().map(|z| libm::exp(z - top)).sum::<f64>())
}

/// How an ascent is done; with the draw it names its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AscentKey {
    /// Bits of the numbers that define it.
    pub numbers: [u64; 4],
    /// Discrete choices.
    pub choices: [u32; 5],
    /// Number of the draw.
    pub draw: u32,
}

/// What measures of one snapshot on one group have in common.
#[derive(Debug, Default)]
pub struct Memo {
    /// The base forward.
    pub outputs: Option<Arc<Outputs>>,
    /// Finished ascents: `sharpness`, its profile and the flat radius meet on the same radii and draws.
    pub ascents: HashMap<AscentKey, Sample>,
}

/// Numbers that one snapshot leaves for the next one of its run, such as where a search may begin.
#[derive(Debug, Clone, Default)]
pub struct Hints(pub BTreeMap<String, f64>);

/// A landscape with what its measures share.
pub struct Scope<'a> {
    /// The loss around this snapshot.
    pub landscape: &'a mut dyn Landscape,
    /// Shared between the measures of this snapshot on this group.
    pub memo: &'a mut Memo,
    /// Left by the run's last snapshot, for this one to leave to the next.
    pub hints: &'a mut Hints,
    /// Key of this group among the hints.
    pub group: String,
}

impl Scope<'_> {
    /// Scores at w0, computed once a snapshot.
    ///
    /// # Errors
    /// A stop.
    pub fn outputs(&mut self) -> Result<Arc<Outputs>, Fault> {
        if self.memo.outputs.is_none() {
            self.memo.outputs = Some(self.landscape.outputs()?);
        }
        Ok(self.memo.outputs.clone().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_survives_large_scores() {
        assert!((cross_entropy(&[1e4, 0.0], 1) - 1e4).abs() < 1e-9);
        assert!((cross_entropy(&[0.0, 0.0, 0.0, 0.0], 2) - 4f64.ln()).abs() < 1e-15);
    }
}
