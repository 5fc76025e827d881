//! `param_variance`: population variance (ddof 0) of all parameters pooled, of each tensor, and of w - w_init.
//!
//! The paper (Bassi, Ataman, Cho 2024) names "variance in parameters" without a definition in its code; these are the
//! candidates. The pooled one mixes LayerNorm gains (about 1) with weights, hence the tensors. Cost: 1 P.

use super::{Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureParameters, RunSize, part};
use crate::scope::MeasureScope;
use clino_domain::{Moments, Needs, TensorParts, TensorStatistics};

/// The measure `param_variance`; the module has formula, source and cost.
pub struct ParamVariance;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "param_variance",
    summary: "Variance of the parameters and of their move from initialization, pooled and by tensor.",
    formula: "mean (w - mean w)² over all parameters, and of w - w_init",
    source: "Bassi, Ataman, Cho 2024 (arXiv 2404.15928)",
    parts: &[("w", "of the parameters; also by tensor"), ("delta", "of w - w_init; also by tensor")],
    cost: "1 P",
    rescaling: false,
    invariance: "Moves with a rescaling of layers.",
    needs: Needs { init_if_given: true, ..Needs::NONE },
    parameters: &[],
    standard: true,
};

impl Measure for ParamVariance {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, _: &RunSize) -> Cost {
        Cost::default()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, _: &MeasureParameters) -> Result<Findings, MeasureError> {
        let statistics = scope.landscape.position().statistics();
        let pooled = |moments: fn(&TensorStatistics) -> Option<Moments>| {
            let all = statistics.iter().filter_map(moments).reduce(Moments::join)?;
            Some(all.variance())
        };
        let w = pooled(|t| Some(t.w));
        let delta = pooled(|t| t.init.map(|init| init.delta));
        let mut findings = Findings::parts(vec![part("w", w), part("delta", delta)]);
        findings.tensors = statistics
            .iter()
            .map(|t| TensorParts {
                tensor: t.name.clone(),
                parts: vec![
                    part("w", t.w.variance()),
                    part("delta", t.init.map(|init| init.delta.variance())),
                ],
            })
            .collect();
        Ok(findings)
    }
}
