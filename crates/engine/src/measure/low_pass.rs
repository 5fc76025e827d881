//! `low_pass`: E L(w0 + sigma n), the loss under a Gaussian filter (Bisla et al. 2022). It is the loss itself, not a
//! difference; less L(w0) it is about sigma²/2 tr H for smooth activations.
//!
//! Cost: draws F, twice that when antithetic. Not invariant to a rescaling of layers.

use super::average_case::{Throw, antithetic};
use super::shared::climb::base_loss;
use super::shared::draws::{self, MAX_DRAWS, MAX_SECONDS, STDERR};
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, Walks, part,
};
use crate::device::metric::ParameterMetric;
use crate::device::noise::Purpose;
use crate::scope::MeasureScope;
use clino_domain::Needs;

/// The measure `low_pass`; the module has formula, source and cost.
pub struct LowPass;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "low_pass",
    summary: "Mean loss under Gaussian noise on all parameters, with its error.",
    formula: "E L(w0 + σ n), n ~ N(0, I)",
    source: "Bisla et al. 2022 (arXiv 2201.08025), eq. 2",
    parts: &[("value", "mean loss"), ("rise", "less L(w0)")],
    cost: "draws F, or 2 draws F when antithetic",
    rescaling: false,
    invariance: "Moves with a rescaling of layers and with the scale of the logits.",
    needs: Needs { probe: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "sigma",
            summary: "Standard deviation of the noise.",
            kind: ParameterKind::Real { default: 0.01, zero: false, most: 1e6 },
        },
        antithetic(false),
        draws::draws(8),
        STDERR,
        draws::rel_stderr(0.0),
        MAX_DRAWS,
        MAX_SECONDS,
    ],
    standard: false,
};

impl Measure for LowPass {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, _: &RunSize) -> Cost {
        Throw::cost(draws::likely(p), p.flag("antithetic"))
    }

    fn memory(&self, p: &MeasureParameters, _: &RunSize) -> MeasureMemory {
        Walks::LOOK.blocks(p).into()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let base = base_loss(scope)?;
        let sizes = vec![p.real("sigma"); scope.landscape.position().slots().len()];
        let metric = ParameterMetric::Plain;
        let purpose = Purpose::Gauss;
        let antithetic = p.flag("antithetic");
        let throw = Throw { metric, purpose, sizes, normalized: false, antithetic };
        let made = draws::make(scope, p, |scope, draws| throw.losses(scope, draws))?;
        let mut findings = Findings::draws(made.values, made.ended, Vec::new());
        let rise = findings.value.map(|value| value - base);
        findings.parts = vec![part("value", findings.value), part("rise", rise)];
        Ok(findings)
    }
}
