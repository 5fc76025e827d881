//! `sharpness`: the stable form of perturb, ascend, project (Bassi, Ataman, Cho 2024): with radius p = alpha ‖w0‖,
//! noise of length noise * p, then `steps` times a step of length step * p along the gradient and back into the ball;
//! L(w0 + delta) - L(w0), averaged over `draws`.
//!
//! With scope `layer` each tensor has a ball of its own, of radius alpha ‖w0_t‖. Cost: 1 F + draws * steps (F + B) +
//! draws F. With one step it is a noise-averaged SAM sharpness at radius p; more steps move it to the worst case. Not
//! invariant to a rescaling of layers that keeps the function; with scope `layer` it is.

use super::shared::ascent::{self, Ascent, Region};
use super::shared::climb::SCOPE;
use super::shared::draws::{self, MAX_DRAWS, MAX_SECONDS, STDERR};
use super::shared::reach;
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, part,
};
use crate::scope::MeasureScope;
use clino_domain::Needs;

/// The measure `sharpness`; the module has formula, source and cost.
pub struct Sharpness;

/// Largest relative radius: beyond it, nothing of the model is left.
pub const MOST_ALPHA: f64 = 10.0;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "sharpness",
    summary: "Rise of the loss after a noisy ascent to a relative radius, with its error over draws.",
    formula: "mean of L(w0 + δ) - L(w0); p = α ‖w0‖, δ = noise p n/‖n‖, then steps times δ ← δ + step p g/‖g‖ and back to ‖δ‖ ≤ p; scope layer: the same in each tensor t with p_t = α ‖w0_t‖",
    source: "Bassi, Ataman, Cho 2024 (arXiv 2404.15928), stable form",
    parts: &[("value", "mean rise"), ("radius", "p"), ("displacement", "mean ‖δ‖"), ("base_loss", "L(w0)")],
    cost: "shared F, and draws (steps (F + B) + F)",
    rescaling: false,
    invariance: "Scope global: moves with a rescaling of layers, as the radius does. Scope layer: invariant. Moves with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "alpha",
            summary: "Radius relative to the norm of the parameters.",
            kind: ParameterKind::Real { default: 0.001, zero: false, most: MOST_ALPHA },
        },
        MeasureParameter {
            name: "noise",
            summary: "Length of the noise in radii.",
            kind: ParameterKind::Real { default: 0.1, zero: true, most: 100.0 },
        },
        MeasureParameter {
            name: "step",
            summary: "Length of an ascent step in radii.",
            kind: ParameterKind::Real { default: 1.0, zero: true, most: 100.0 },
        },
        MeasureParameter {
            name: "steps",
            summary: "Ascent steps.",
            kind: ParameterKind::Count { default: 1, least: 1, most: 1000 },
        },
        SCOPE,
        draws::draws(8),
        STDERR,
        draws::rel_stderr(0.0),
        MAX_DRAWS,
        MAX_SECONDS,
    ],
    standard: true,
};

fn ascent(p: &MeasureParameters) -> Ascent {
    Ascent {
        noise: p.real("noise"),
        step: p.real("step"),
        steps: p.count("steps"),
        region: if p.word("scope") == "layer" { Region::Layer } else { Region::Global },
        ..Ascent::at_radius(p.real("alpha"))
    }
}

impl Measure for Sharpness {
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

/// The draws of an ascent with the parts that all sharpnesses of this family report.
pub fn findings(
    scope: &mut MeasureScope<'_>,
    ascent: &Ascent,
    p: &MeasureParameters,
) -> Result<Findings, MeasureError> {
    let made = draws::make(scope, p, |scope, draws| Ok(ascent::draw(scope, ascent, draws)?.rises()))?;
    let all: Vec<u32> = (0..made.values.len() as u32).collect();
    let drawn = ascent::draw(scope, ascent, &all)?;
    let parts = vec![
        part("value", drawn.mean()),
        part("radius", drawn.radius),
        part("displacement", drawn.displacement()),
        part("base_loss", drawn.base_loss),
    ];
    let parameters = scope.landscape.position().parameters();
    let interval = reach::interval(&drawn, ascent, parameters);
    Ok(Findings { interval, ..Findings::draws(made.values, made.ended, parts) })
}
