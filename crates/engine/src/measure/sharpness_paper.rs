//! `sharpness_paper`: perturb, ascend, project as the docstring of the paper's code intends it (Bassi, Ataman, Cho 2024):
//! absolute noise, a raw gradient step, then the ball. For comparison with published numbers only.
//!
//! The noise is far longer than the radius, so that the draw is one random direction of the ball and its spread is of
//! the size of its mean; `sharpness` is the stable form. Cost: 1 F + draws (2 F + B).

use super::shared::ascent::{Ascent, RadiusOf, Region, StepUnit};
use super::shared::draws::{self, MAX_DRAWS, MAX_SECONDS, STDERR};
use super::sharpness::{MOST_ALPHA, findings};
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize,
};
use crate::scope::MeasureScope;
use clino_domain::Needs;

/// The measure `sharpness_paper`; the module has formula, source and cost.
pub struct SharpnessPaper;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "sharpness_paper",
    summary: "The paper's sharpness as its docstring intends it: absolute noise, raw step, projection.",
    formula: "mean of L(w0 + δ) - L(w0); e = noise n, δ = e + η g(w0 + e), pulled back to ‖δ‖ ≤ p with p = α ‖w0‖, or α Σ ‖w0_t‖; projection tensor: ‖δ_t‖ ≤ p for each tensor t",
    source: "Bassi, Ataman, Cho 2024 (arXiv 2404.15928), published code",
    parts: &[("value", "mean rise"), ("radius", "p"), ("displacement", "mean ‖δ‖"), ("base_loss", "L(w0)")],
    cost: "shared F, and draws (2 F + B)",
    rescaling: false,
    invariance: "Moves with a rescaling of layers and with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "noise",
            summary: "Standard deviation of the noise.",
            kind: ParameterKind::Real { default: 0.1, zero: true, most: 1e3 },
        },
        MeasureParameter {
            name: "eta",
            summary: "Factor of the gradient.",
            kind: ParameterKind::Real { default: 0.05, zero: true, most: 1e6 },
        },
        MeasureParameter {
            name: "alpha",
            summary: "Relative radius.",
            kind: ParameterKind::Real { default: 0.05, zero: false, most: MOST_ALPHA },
        },
        MeasureParameter {
            name: "radius",
            summary: "Of the norm of all parameters, or of the sum of the tensors' norms.",
            kind: ParameterKind::Choice(&["global", "sum"]),
        },
        MeasureParameter {
            name: "projection",
            summary: "Of all parameters together, or of each tensor.",
            kind: ParameterKind::Choice(&["global", "tensor"]),
        },
        draws::draws(8),
        STDERR,
        draws::rel_stderr(0.0),
        MAX_DRAWS,
        MAX_SECONDS,
    ],
    standard: false,
};

fn ascent(p: &MeasureParameters) -> Ascent {
    Ascent {
        alpha: p.real("alpha"),
        noise: p.real("noise"),
        step: p.real("eta"),
        steps: 1,
        unit: StepUnit::Absolute,
        radius_of: if p.word("radius") == "sum" { RadiusOf::Sum } else { RadiusOf::Global },
        region: if p.word("projection") == "tensor" { Region::Tensor } else { Region::Global },
    }
}

impl Measure for SharpnessPaper {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, _: &RunSize) -> Cost {
        ascent(p).cost(draws::likely(p) as u32)
    }

    fn memory(&self, p: &MeasureParameters, _: &RunSize) -> MeasureMemory {
        ascent(p).walks().blocks(p).into()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        findings(scope, &ascent(p), p)
    }
}
