//! `asam`: L(w0 + rho T² g / ‖T g‖) - L(w0) with T = |w0| + eta (Kwon et al. 2021).
//!
//! As in the authors' code, T = 1 for tensors whose name has no `weight` in it; with scope `all` every tensor is scaled
//! (as in the implementation most used), with scope `layer` each tensor is a ball of its own. Cost: shared F and F + B,
//! and 1 F. Invariant to a rescaling of layers with scope `all` and eta 0, nearly so with the defaults.

use super::shared::climb::{self, SCOPES};
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, Walks,
};
use crate::device::metric::ParameterMetric;
use crate::scope::MeasureScope;
use clino_domain::Needs;

/// The measure `asam`; the module has formula, source and cost.
pub struct Asam;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "asam",
    summary: "Rise of the loss one step along the gradient, counted in units of each weight's size.",
    formula: "L(w0 + ρ T² g/‖T g‖) - L(w0), T = |w0| + η for weights and 1 for the rest; scope all: for every tensor; scope layer: in each tensor by itself",
    source: "Kwon et al. 2021 (arXiv 2102.11600), eq. 3, and their code",
    parts: &[],
    cost: "shared F + B, and F",
    rescaling: false,
    invariance: "Exactly invariant to a rescaling of layers with scope all and η = 0; with the defaults biases and η move it a little. Moves with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "rho",
            summary: "Length of the step in units of T.",
            kind: ParameterKind::Real { default: 0.5, zero: false, most: 1e6 },
        },
        MeasureParameter {
            name: "eta",
            summary: "Added to |w|.",
            kind: ParameterKind::Real { default: 0.01, zero: true, most: 1e6 },
        },
        SCOPES,
    ],
    standard: false,
};

impl Measure for Asam {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, _: &MeasureParameters, _: &RunSize) -> Cost {
        climb::step_cost()
    }

    fn memory(&self, _: &MeasureParameters, _: &RunSize) -> MeasureMemory {
        Walks::STEP.into()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let eta = p.real("eta");
        let word = p.word("scope");
        let terms = scope.landscape.position().slots().iter().map(|slot| {
            let scaled = word == "all" || slot.name.contains("weight");
            if scaled { [1.0, eta] } else { [0.0, 1.0] }
        });
        let metric = ParameterMetric::Linear(terms.collect());
        climb::step(scope, metric, p.real("rho"), word == "layer").map(Findings::value)
    }
}
