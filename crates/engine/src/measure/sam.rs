//! `sam`: L(w0 + rho g / ‖g‖) - L(w0), the rise along the gradient (Foret et al. 2021).
//!
//! With scope `layer` each tensor is a ball of its own: rho g_t / ‖g_t‖. Cost: shared F and F + B, and 1 F. To first
//! order it is rho ‖g‖, so it vanishes at exact minima. Not invariant to a rescaling of layers.

use super::shared::climb::{self, SCOPE};
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, Walks,
};
use crate::device::metric::ParameterMetric;
use crate::scope::MeasureScope;
use clino_domain::Needs;

/// The measure `sam`; the module has formula, source and cost.
pub struct Sam;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "sam",
    summary: "Rise of the loss one step of length rho along the gradient.",
    formula: "L(w0 + ρ g/‖g‖) - L(w0); scope layer: ρ g_t/‖g_t‖ in each tensor t",
    source: "Foret et al. 2021 (arXiv 2010.01412), eq. 2",
    parts: &[],
    cost: "shared F + B, and F",
    rescaling: false,
    invariance: "Moves with a rescaling of layers and with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "rho",
            summary: "Length of the step.",
            kind: ParameterKind::Real { default: 0.05, zero: false, most: 1e6 },
        },
        SCOPE,
    ],
    standard: false,
};

impl Measure for Sam {
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
        climb::step(scope, ParameterMetric::Plain, p.real("rho"), p.word("scope") == "layer")
            .map(Findings::value)
    }
}
