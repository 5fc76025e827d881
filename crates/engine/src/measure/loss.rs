//! `loss` = mean over the examples of -log p(label), in nats.
//!
//! Cost: 1 F, shared with all measures of outputs. Not invariant to the scale of the logits.

use super::{Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureParameters, RunSize};
use crate::scope::MeasureScope;
use clino_domain::Needs;

/// The measure `loss`; the module has formula, source and cost.
pub struct Loss;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "loss",
    summary: "Mean cross-entropy in nats, evaluation mode.",
    formula: "mean_i -log p(y_i)",
    source: "definition",
    parts: &[],
    cost: "1 F",
    rescaling: true,
    invariance: "Invariant to whatever keeps the function; moves with the scale of the logits.",
    needs: Needs { probe: true, ..Needs::NONE },
    parameters: &[],
    standard: true,
};

impl Measure for Loss {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, _: &RunSize) -> Cost {
        Cost::default().outputs()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, _: &MeasureParameters) -> Result<Findings, MeasureError> {
        Ok(Findings::value(scope.outputs()?.loss()))
    }
}
