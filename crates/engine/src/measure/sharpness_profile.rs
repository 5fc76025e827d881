//! `sharpness_profile`: the stable sharpness over a ladder of relative radii, with the same draws at each.
//!
//! One number at one radius is not enough: above a radius that depends on the model it saturates, and the order of
//! models turns over between rungs. The value, and its draws, are those of the last rung. Cost: rungs * draws (2 F + B).

use super::shared::ascent::{self, Ascent};
use super::shared::reach;
use super::sharpness::MOST_ALPHA;
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize,
};
use crate::scope::MeasureScope;
use clino_domain::{Ended, Estimate, Needs, Rung, Work};

/// The measure `sharpness_profile`; the module has formula, source and cost.
pub struct SharpnessProfile;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "sharpness_profile",
    summary: "Stable sharpness over a ladder of relative radii, the same draws at each.",
    formula: "sharpness(α) for each rung α, with the draws 0, 1, … at each; value: the last rung",
    source: "Bassi, Ataman, Cho 2024 (arXiv 2404.15928), stable form",
    parts: &[],
    cost: "shared F, and rungs * draws (2 F + B), less what sharpness made",
    rescaling: false,
    invariance: "Moves with a rescaling of layers, as the radius does, and with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "alphas",
            summary: "Relative radii.",
            kind: ParameterKind::Ladder { default: &[0.0005, 0.001, 0.002, 0.005, 0.01], most: MOST_ALPHA },
        },
        MeasureParameter {
            name: "draws",
            summary: "Draws of noise, the same at each radius.",
            kind: ParameterKind::Count { default: 4, least: 1, most: super::shared::draws::MOST },
        },
    ],
    standard: false,
};

impl Measure for SharpnessProfile {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, _: &RunSize) -> Cost {
        let rungs = p.ladder("alphas").iter().map(|alpha| Ascent::at_radius(*alpha).cost(p.count("draws")));
        Cost { own: Work::NONE, shared: rungs.flat_map(|cost| cost.shared).collect() }
    }

    fn memory(&self, p: &MeasureParameters, _: &RunSize) -> MeasureMemory {
        Ascent::at_radius(1.0).walks().draws(p.count("draws")).into()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let draws: Vec<u32> = (0..p.count("draws")).collect();
        let parameters = scope.landscape.position().parameters();
        let mut rungs = Vec::<Rung>::new();
        let mut interval = None;
        for alpha in p.ladder("alphas") {
            let ascent = Ascent::at_radius(*alpha);
            let drawn = ascent::draw(scope, &ascent, &draws)?;
            interval = reach::interval(&drawn, &ascent, parameters);
            let draws = drawn.rises();
            if draws.iter().any(|x| !x.is_finite()) {
                return Err(MeasureError::Undefined(format!("the loss overflows at alpha {alpha}")));
            }
            let stderr = Estimate::of(&draws).and_then(|estimate| estimate.stderr);
            rungs.push(Rung { alpha: *alpha, value: drawn.mean(), draws, stderr });
        }
        let last = rungs.last().map(|rung| rung.draws.clone()).unwrap_or_default();
        Ok(Findings { rungs, interval, ..Findings::draws(last, Ended::Draws, Vec::new()) })
    }
}
