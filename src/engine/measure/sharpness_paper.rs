//! `sharpness_paper`: perturb, ascend, project as the docstring of the paper's code intends it (Bassi, Ataman, Cho 2024):
//! absolute noise, a raw gradient step, then the ball. For comparison with published numbers only.
//!
//! The noise is far longer than the radius, so that the draw is one random direction of the ball and its spread is of
//! the size of its mean; `sharpness` is the stable form. Cost: 1 F + draws (2 F + B).

use super::ascent::{Ascent, Projection, RadiusOf, Unit};
use super::sharpness::{MOST_ALPHA, MOST_DRAWS, findings};
use super::{Description, Findings, Kind, Measure, Parameter, Parameters, Shortfall};
use crate::domain::Needs;
use crate::engine::landscape::Scope;

/// See the module.
pub struct SharpnessPaper;

static DESCRIPTION: Description = Description {
    name: "sharpness_paper",
    summary: "The paper's sharpness as its docstring intends it: absolute noise, raw step, projection.",
    source: "Bassi, Ataman, Cho 2024 (arXiv 2404.15928), published code",
    cost: "1 F + draws (2 F + B)",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        Parameter {
            name: "noise",
            summary: "Standard deviation of the noise.",
            kind: Kind::Real { default: 0.1, zero: true, most: 1e3 },
        },
        Parameter {
            name: "eta",
            summary: "Factor of the gradient.",
            kind: Kind::Real { default: 0.05, zero: true, most: 1e6 },
        },
        Parameter {
            name: "alpha",
            summary: "Relative radius.",
            kind: Kind::Real { default: 0.05, zero: false, most: MOST_ALPHA },
        },
        Parameter {
            name: "radius",
            summary: "Of the norm of all parameters, or of the sum of the tensors' norms.",
            kind: Kind::Choice(&["global", "sum"]),
        },
        Parameter {
            name: "projection",
            summary: "Of all parameters together, or of each tensor.",
            kind: Kind::Choice(&["global", "tensor"]),
        },
        Parameter {
            name: "draws",
            summary: "Draws of noise.",
            kind: Kind::Count { default: 8, most: MOST_DRAWS },
        },
    ],
    standard: false,
};

impl Measure for SharpnessPaper {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn measure(&self, scope: &mut Scope<'_>, p: &Parameters) -> Result<Findings, Shortfall> {
        let radius_of = if p.word("radius") == "sum" { RadiusOf::Sum } else { RadiusOf::Global };
        let projection =
            if p.word("projection") == "tensor" { Projection::Tensor } else { Projection::Global };
        let ascent = Ascent {
            alpha: p.real("alpha"),
            noise: p.real("noise"),
            step: p.real("eta"),
            steps: 1,
            unit: Unit::Absolute,
            radius_of,
            projection,
        };
        findings(scope, &ascent, p.count("draws"))
    }
}
