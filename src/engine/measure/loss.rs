//! `loss` = mean over the examples of -log p(label), in nats.
//!
//! Cost: 1 F, shared with all measures of outputs. Not invariant to the scale of the logits.

use super::{Description, Findings, Measure, Parameters, Shortfall};
use crate::domain::Needs;
use crate::engine::landscape::Scope;

/// See the module.
pub struct Loss;

static DESCRIPTION: Description = Description {
    name: "loss",
    summary: "Mean cross-entropy in nats, evaluation mode.",
    source: "definition",
    cost: "1 F",
    needs: Needs { probe: true, ..Needs::NONE },
    parameters: &[],
    standard: true,
};

impl Measure for Loss {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn measure(&self, scope: &mut Scope<'_>, _: &Parameters) -> Result<Findings, Shortfall> {
        Ok(Findings::value(scope.outputs()?.loss()))
    }
}
