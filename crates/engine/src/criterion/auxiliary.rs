//! A loss with scalars of the batch that are added to it, such as the balance of a router's experts: ℓᵢ + Σ_k w_k s_k, so that
//! each batch counts by the weight of its units.
//!
//! Owns: its formula. May not touch: sums over units.

use super::{Criterion, Target};
use crate::scores::ScoreStatistics;
use clino_domain::graph::AuxiliaryLoss;
use std::sync::Arc;

/// A loss and what is added; the scalars stand behind the outputs of each unit.
pub struct WithAuxiliary {
    own: Arc<dyn Criterion>,
    weights: Vec<f64>,
}

impl WithAuxiliary {
    /// `own` with these scalars.
    pub fn new(own: Arc<dyn Criterion>, auxiliary: &[AuxiliaryLoss]) -> Self {
        Self { own, weights: auxiliary.iter().map(|one| one.weight).collect() }
    }

    fn own<'a>(&self, outputs: &'a [f64]) -> &'a [f64] {
        &outputs[..outputs.len() - self.weights.len()]
    }
}

impl Criterion for WithAuxiliary {
    fn name(&self) -> &'static str {
        self.own.name()
    }

    fn loss(&self, outputs: &[f64], target: Target<'_>) -> f64 {
        let own = self.own(outputs);
        let added = self.weights.iter().zip(&outputs[own.len()..]).map(|(weight, scalar)| weight * scalar);
        self.own.loss(own, target) + added.sum::<f64>()
    }

    fn own_loss(&self, outputs: &[f64], target: Target<'_>) -> f64 {
        self.own.loss(self.own(outputs), target)
    }

    fn slopes(&self, outputs: &[f64], target: Target<'_>, slopes: &mut [f64]) {
        let own = self.own(outputs);
        let (of_own, of_added) = slopes.split_at_mut(own.len());
        self.own.slopes(own, target, of_own);
        of_added.copy_from_slice(&self.weights);
    }

    fn weight_by_target(&self, target: Target<'_>) -> Option<f64> {
        self.own.weight_by_target(target)
    }

    fn weight(&self, outputs: &[f64], target: Target<'_>) -> f64 {
        self.own.weight(self.own(outputs), target)
    }

    fn chosen(&self, outputs: &[f64]) -> usize {
        self.own.chosen(self.own(outputs))
    }

    fn statistics(&self, outputs: &[f64], target: Target<'_>) -> Option<ScoreStatistics> {
        self.own.statistics(self.own(outputs), target)
    }

    fn no_classes(&self) -> Option<String> {
        self.own.no_classes()
    }

    fn no_likelihood(&self) -> Option<String> {
        Some("the loss has auxiliary terms".into())
    }
}
