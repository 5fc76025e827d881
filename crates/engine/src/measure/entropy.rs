//! `entropy` = mean over the examples of -Σ_c p(c) log p(c), in nats: how unsure the predictions are.
//!
//! Cost: shared F. Needs no labels, but the probe has them. Not invariant to the scale of the logits.

use super::{Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureParameters, RunSize};
use crate::outputs::log_sum_exp;
use crate::scope::MeasureScope;
use clino_domain::Needs;

/// The measure `entropy`; the module has formula, source and cost.
pub struct Entropy;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "entropy",
    summary: "Mean entropy of the predicted distributions, in nats.",
    formula: "mean_i -Σ_c p(c) log p(c)",
    source: "definition",
    parts: &[],
    cost: "shared F",
    rescaling: true,
    invariance: "Invariant to whatever keeps the function; moves with the scale of the logits.",
    needs: Needs { probe: true, ..Needs::NONE },
    parameters: &[],
    standard: true,
};

impl Measure for Entropy {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, _: &RunSize) -> Cost {
        Cost::default().outputs()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, _: &MeasureParameters) -> Result<Findings, MeasureError> {
        let outputs = scope.outputs()?;
        let sum: f64 = outputs.examples().map(|(row, _)| entropy(row)).sum();
        Ok(Findings::value(sum / outputs.labels.len() as f64))
    }
}

fn entropy(row: &[f64]) -> f64 {
    let total = log_sum_exp(row);
    let term = |z: &f64| {
        let p = libm::exp(z - total);
        // p log p goes to 0 with p, also where log p is no longer finite.
        if p == 0.0 { 0.0 } else { p * (total - z) }
    };
    row.iter().map(term).sum()
}

#[cfg(test)]
mod tests {
    use super::entropy;

    #[test]
    fn certain_and_unsure() {
        assert_eq!(entropy(&[0.0, -1e6, -1e6]), 0.0);
        assert!((entropy(&[2.0; 8]) - 8f64.ln()).abs() < 1e-15);
    }
}
