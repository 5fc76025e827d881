//! `worst_case`: max L(w0 + T∘u) - L(w0) over ‖u‖_p ≤ rho, T = |w0| or 1 (Andriushchenko et al. 2023), by ascent in u.
//!
//! Step k is 2 rho (1 - k / iters) along the gradient (its sign in a box); the best loss seen counts. Cost: iters
//! (F + B). In the adaptive form invariant to a rescaling of layers; parameters of zero stand still.

use super::shared::climb::{Climb, Pace, Within};
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, Walks, part,
};
use crate::device::metric::ParameterMetric;
use crate::scope::MeasureScope;
use clino_domain::Needs;

/// The measure `worst_case`; the module has formula, source and cost.
pub struct WorstCase;

/// Whether T = |w0| or 1.
pub const ADAPTIVE: MeasureParameter =
    MeasureParameter { name: "adaptive", summary: "T = |w0| instead of 1.", kind: ParameterKind::Flag(true) };

/// Number of ascent steps.
pub const ITERS: MeasureParameter = MeasureParameter {
    name: "iters",
    summary: "Ascent steps.",
    kind: ParameterKind::Count { default: 20, least: 1, most: 10_000 },
};

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "worst_case",
    summary: "Greatest rise of the loss found in a box or ball around w0, scaled by the parameters or not.",
    formula: "max over ‖u‖_p ≤ ρ of L(w0 + T∘u) - L(w0), T = |w0| or 1, by projected ascent in u from 0",
    source: "Andriushchenko et al. 2023 (arXiv 2302.07011), eq. 1",
    parts: &[("value", "greatest rise"), ("rho", "the bound")],
    cost: "shared F + B, and (iters - 1)(F + B) + F",
    rescaling: true,
    invariance: "Adaptive: invariant to a rescaling of layers. Not adaptive: not. Moves with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "p",
            summary: "Norm that bounds u.",
            kind: ParameterKind::Choice(&["linf", "l2"]),
        },
        ADAPTIVE,
        MeasureParameter {
            name: "rho",
            summary: "Bound of u.",
            kind: ParameterKind::Real { default: 0.01, zero: false, most: 1e6 },
        },
        ITERS,
    ],
    standard: false,
};

/// T = |w0| or 1.
pub fn metric(scope: &MeasureScope<'_>, adaptive: bool) -> ParameterMetric {
    match adaptive {
        true => ParameterMetric::linear(1.0, 0.0, scope.landscape.position().slots().len()),
        false => ParameterMetric::Plain,
    }
}

impl Measure for WorstCase {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, _: &RunSize) -> Cost {
        Climb::cost(p.count("iters"))
    }

    fn memory(&self, p: &MeasureParameters, _: &RunSize) -> MeasureMemory {
        match (p.word("p"), p.count("iters")) {
            ("l2", 1) => Walks::STEP.into(),
            _ => Walks::STEPS.into(),
        }
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let metric = metric(scope, p.flag("adaptive"));
        let within = if p.word("p") == "l2" { Within::Ball } else { Within::Box };
        let rho = p.real("rho");
        let steps = p.count("iters");
        let pace = Pace::Falling;
        let highest = Climb { metric, within, rho, steps, pace }.highest(scope)?;
        Ok(Findings::parts(vec![part("value", highest), part("rho", rho)]))
    }
}
