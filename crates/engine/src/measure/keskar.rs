//! `keskar`: 100 (max L(w0 + z) - L(w0)) / (1 + L(w0)) over |z_i| ≤ eps (|w0_i| + 1) (Keskar et al. 2017), by sign
//! ascent in the same box.
//!
//! The paper maximizes with ten iterations of L-BFGS-B, so that its numbers depend on that optimizer. Here a box is
//! climbed by signs, without its memory of twenty vectors: even steps of 4 eps / iters come about as far as it does,
//! longer ones further. The + 1 mixes absolute and relative scale: not invariant to a
//! rescaling of layers. Cost: iters (F + B).

use super::shared::climb::{Climb, Pace, Within, base_loss};
use super::worst_case::ITERS;
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, Walks,
};
use crate::device::metric::ParameterMetric;
use crate::scope::MeasureScope;
use clino_domain::Needs;

/// The measure `keskar`; the module has formula, source and cost.
pub struct Keskar;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "keskar",
    summary: "Greatest relative rise of the loss in a small box around w0, in per cent.",
    formula: "100 (max over |z_i| ≤ ε(|w0_i| + 1) of L(w0 + z) - L(w0)) / (1 + L(w0)), by sign ascent",
    source: "Keskar et al. 2017 (arXiv 1609.04836), metric 2.1, full space",
    parts: &[],
    cost: "shared F + B, and (iters - 1)(F + B) + F",
    rescaling: false,
    invariance: "Moves with a rescaling of layers, because of the + 1.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "eps",
            summary: "Half the side of the box.",
            kind: ParameterKind::Real { default: 1e-3, zero: false, most: 1e3 },
        },
        ITERS,
    ],
    standard: false,
};

impl Measure for Keskar {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, _: &RunSize) -> Cost {
        Climb::cost(p.count("iters"))
    }

    fn memory(&self, _: &MeasureParameters, _: &RunSize) -> MeasureMemory {
        Walks::STEPS.into()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let metric = ParameterMetric::linear(1.0, 1.0, scope.landscape.position().slots().len());
        let rho = p.real("eps");
        let steps = p.count("iters");
        let pace = Pace::Even;
        let rise = Climb { metric, within: Within::Box, rho, steps, pace }.highest(scope)?;
        Ok(Findings::value(100.0 * rise / (1.0 + base_loss(scope)?)))
    }
}
