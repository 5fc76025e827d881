//! What is lost on a unit, which is an example or a token: from its outputs and its target to a loss and its slopes.
//!
//! The loss of several units is Σ aᵢ ℓᵢ / Σ aᵢ with their weights a, numerator and denominator summed over all batches.
//! Owns: formulas of single units, in f64. May not touch: where outputs come from, sums over units. A new loss is one file
//! and one line of [`of`].

mod auxiliary;
mod binary;
mod cross_entropy;
mod elements;
mod given;
mod huber;
mod squared;

pub use cross_entropy::CrossEntropy;

use crate::scores::{ScoreStatistics, greatest};
use clino_domain::Fault;
use clino_domain::graph::{LossKind, LossSpec};
use std::sync::Arc;

/// What the outputs of a unit are held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target<'a> {
    /// The right class.
    Class(usize),
    /// Numbers; none where the outputs are losses.
    Values(&'a [f64]),
}

impl<'a> Target<'a> {
    /// The class, where it is one.
    pub fn class(self) -> Option<usize> {
        match self {
            Self::Class(class) => Some(class),
            Self::Values(_) => None,
        }
    }

    /// The numbers; none of a class.
    pub fn values(self) -> &'a [f64] {
        match self {
            Self::Class(_) => &[],
            Self::Values(values) => values,
        }
    }
}

/// A loss on single units.
pub trait Criterion: Send + Sync {
    /// What protocol and messages call it.
    fn name(&self) -> &'static str;

    /// The loss of a unit.
    fn loss(&self, outputs: &[f64], target: Target<'_>) -> f64;

    /// The same without what is added for a whole batch.
    fn own_loss(&self, outputs: &[f64], target: Target<'_>) -> f64 {
        self.loss(outputs, target)
    }

    /// Writes the derivative of that loss along the outputs to `slopes`, which is as long as they are.
    fn slopes(&self, outputs: &[f64], target: Target<'_>, slopes: &mut [f64]);

    /// Weight of a unit in the mean, where its target tells it; `None` where only its outputs do.
    fn weight_by_target(&self, _: Target<'_>) -> Option<f64> {
        Some(1.0)
    }

    /// Weight of a unit in the mean.
    fn weight(&self, _outputs: &[f64], target: Target<'_>) -> f64 {
        self.weight_by_target(target).unwrap_or(1.0)
    }

    /// The class that scores choose: the first of the greatest.
    fn chosen(&self, outputs: &[f64]) -> usize {
        greatest(outputs)
    }

    /// What is read off scores of classes; `None` where the outputs are none.
    fn statistics(&self, _outputs: &[f64], _target: Target<'_>) -> Option<ScoreStatistics> {
        None
    }

    /// Why a measure of classes means nothing; `None` where the outputs are scores of classes.
    fn no_classes(&self) -> Option<String> {
        Some(format!("the loss {} has no classes", self.name()))
    }

    /// Why a measure of the distribution of the label means nothing; `None` where the loss is its negative logarithm and all
    /// units weigh the same.
    fn no_likelihood(&self) -> Option<String> {
        self.no_classes()
    }
}

/// The criterion of a loss on a graph whose units have `width` outputs.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming the field of the loss.
pub fn of(loss: &LossSpec, width: usize) -> Result<Arc<dyn Criterion>, Fault> {
    let own: Arc<dyn Criterion> = match &loss.kind {
        LossKind::CrossEntropy(entropy) => Arc::new(CrossEntropy::of(entropy, width)?),
        LossKind::SquaredError => Arc::new(squared::SquaredError),
        LossKind::Huber { delta, smooth } => Arc::new(huber::Huber { delta: *delta, smooth: *smooth }),
        LossKind::BinaryCrossEntropy { positive_weights } => {
            Arc::new(binary::BinaryCrossEntropy::of(positive_weights, width)?)
        }
        LossKind::Given { weights } => Arc::new(given::Given { weighted: weights.is_some() }),
    };
    Ok(match loss.auxiliary.is_empty() {
        true => own,
        false => Arc::new(auxiliary::WithAuxiliary::new(own, &loss.auxiliary)),
    })
}

#[cfg(test)]
mod tests;
