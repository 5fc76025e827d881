//! `sharpness_profile`: the stable sharpness over a ladder of relative radii, with the same draws at each.
//!
//! One number at one radius is not enough: above a radius that depends on the model it saturates, and the order of
//! models turns over between rungs. The value is the mean of the last rung. Cost: rungs * draws (2 F + B).

use super::ascent::{self, Ascent};
use super::sharpness::{MOST_ALPHA, MOST_DRAWS};
use super::{Description, Findings, Kind, Measure, Parameter, Parameters, Shortfall};
use crate::domain::{Estimate, Needs, Rung};
use crate::engine::landscape::Scope;

/// See the module.
pub struct SharpnessProfile;

static DESCRIPTION: Description = Description {
    name: "sharpness_profile",
    summary: "Stable sharpness over a ladder of relative radii, the same draws at each.",
    source: "Bassi, Ataman, Cho 2024 (arXiv 2404.15928), stable form",
    cost: "rungs * draws (2 F + B)",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        Parameter {
            name: "alphas",
            summary: "Relative radii.",
            kind: Kind::Ladder { default: &[0.0005, 0.001, 0.002, 0.005, 0.01], most: MOST_ALPHA },
        },
        Parameter {
            name: "draws",
            summary: "Draws of noise, the same at each radius.",
            kind: Kind::Count { default: 2, most: MOST_DRAWS },
        },
    ],
    standard: false,
};

impl Measure for SharpnessProfile {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn measure(&self, scope: &mut Scope<'_>, p: &Parameters) -> Result<Findings, Shortfall> {
        let mut rungs = Vec::new();
        for alpha in p.ladder("alphas") {
            let drawn = ascent::draw(scope, &Ascent::at_radius(*alpha), p.count("draws"))?;
            let draws = drawn.rises();
            if draws.iter().any(|x| !x.is_finite()) {
                return Err(Shortfall::Undefined(format!("the loss overflows at alpha {alpha}")));
            }
            let stderr = Estimate::of(&draws).and_then(|estimate| estimate.stderr);
            rungs.push(Rung { alpha: *alpha, value: drawn.mean(), draws, stderr });
        }
        Ok(Findings { value: rungs.last().map(|rung| rung.value), rungs, ..Findings::default() })
    }
}
