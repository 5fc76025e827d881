//! `param_norm` = ‖w‖₂ over all parameters, and of each tensor; with it the greatest |w|.
//!
//! Cost: 1 P. Not invariant to a rescaling of layers that keeps the function.

use super::{Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureParameters, RunSize, part};
use crate::scope::MeasureScope;
use clino_domain::{Needs, TensorParts, TensorStatistics};

/// The measure `param_norm`; the module has formula, source and cost.
pub struct ParamNorm;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "param_norm",
    summary: "l2 norm and greatest magnitude of all parameters, and of each tensor.",
    formula: "‖w0‖₂, max |w0|",
    source: "definition",
    parts: &[("norm", "‖w0‖₂; also by tensor"), ("max", "the greatest |w0_i|")],
    cost: "1 P",
    rescaling: false,
    invariance: "Moves with a rescaling of layers.",
    needs: Needs::NONE,
    parameters: &[],
    standard: true,
};

impl Measure for ParamNorm {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, _: &RunSize) -> Cost {
        Cost::default()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, _: &MeasureParameters) -> Result<Findings, MeasureError> {
        let statistics = scope.landscape.position().statistics();
        let square: f64 = statistics.iter().map(|t| t.w.square).sum();
        let largest = statistics.iter().map(|t| t.largest).fold(0.0, f64::max);
        let tensor = |t: &TensorStatistics| TensorParts {
            tensor: t.name.clone(),
            parts: vec![part("norm", t.w.square.sqrt()), part("max", t.largest)],
        };
        let mut findings = Findings::parts(vec![part("norm", square.sqrt()), part("max", largest)]);
        findings.tensors = statistics.iter().map(tensor).collect();
        Ok(findings)
    }
}
