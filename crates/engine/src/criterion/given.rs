//! Losses that the graph has made: the output of a unit is its loss, and its weight if there are weights.
//!
//! Owns: its formula. May not touch: sums over units.

use super::{Criterion, Target};

/// Losses of the graph.
#[derive(Debug, Clone, Copy)]
pub struct Given {
    /// Whether a weight stands behind each loss.
    pub weighted: bool,
}

impl Criterion for Given {
    fn name(&self) -> &'static str {
        "given"
    }

    fn loss(&self, outputs: &[f64], _: Target<'_>) -> f64 {
        outputs[0]
    }

    fn slopes(&self, _: &[f64], _: Target<'_>, slopes: &mut [f64]) {
        slopes.fill(0.0);
        slopes[0] = 1.0;
    }

    fn weight_by_target(&self, _: Target<'_>) -> Option<f64> {
        (!self.weighted).then_some(1.0)
    }

    fn weight(&self, outputs: &[f64], _: Target<'_>) -> f64 {
        if self.weighted { outputs[1] } else { 1.0 }
    }
}
