//! `loss` = mean over the examples of -log p(label), in nats.
//!
//! Cost: 1 F, shared with all measures of outputs. Not invariant to the scale of the logits.

use super::{Cost, Description, Findings, Ground, Measure, Parameters, Shortfall};
use crate::scope::Scope;
use clino_domain::Needs;

/// The measure `loss`; the module has formula, source and cost.
pub struct Loss;

static DESCRIPTION: Description = Description {
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
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn cost(&self, _: &Parameters, _: &Ground) -> Cost {
        Cost::default().outputs()
    }

    fn measure(&self, scope: &mut Scope<'_>, _: &Parameters) -> Result<Findings, Shortfall> {
        Ok(Findings::value(scope.outputs()?.loss()))
    }
}
