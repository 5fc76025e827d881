//! `accuracy` = share of the examples whose greatest score is that of their label; the first of equal scores counts.
//!
//! Cost: shared F. A step function: its resolution is one over the number of examples.

use super::{Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureParameters, RunSize};
use crate::scope::MeasureScope;
use clino_domain::Needs;

/// The measure `accuracy`; the module has formula, source and cost.
pub struct Accuracy;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "accuracy",
    summary: "Share of the examples that are classified correctly.",
    formula: "share of the examples with argmax_c p(c) = y_i",
    source: "definition",
    parts: &[],
    cost: "shared F",
    rescaling: true,
    invariance: "Invariant to whatever keeps the predictions.",
    needs: Needs { probe: true, classes: true, ..Needs::NONE },
    parameters: &[],
    standard: true,
};

impl Measure for Accuracy {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, _: &RunSize) -> Cost {
        Cost::default().outputs()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, _: &MeasureParameters) -> Result<Findings, MeasureError> {
        let outputs = scope.outputs()?;
        if outputs.classified().any(|scores| !scores.ordered) {
            return Err(MeasureError::Undefined("a logit is NaN".into()));
        }
        Ok(Findings::value(outputs.accuracy()))
    }
}
