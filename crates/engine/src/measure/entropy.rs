//! `entropy` = mean over the examples of -Σ_c p(c) log p(c), in nats: how unsure the predictions are.
//!
//! Cost: shared F. Needs no labels, but the probe has them. Not invariant to the scale of the logits.

use super::{Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureParameters, RunSize};
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
    needs: Needs { probe: true, classes: true, ..Needs::NONE },
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
        let sum: f64 = outputs.classified().map(|scores| scores.entropy).sum();
        Ok(Findings::value(sum / outputs.units.len() as f64))
    }
}
