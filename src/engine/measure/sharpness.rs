//! `sharpness`: the stable form of perturb, ascend, project (Bassi, Ataman, Cho 2024): with radius p = alpha ‖w0‖,
//! noise of length noise * p, then `steps` times a step of length step * p along the gradient and back into the ball;
//! L(w0 + delta) - L(w0), averaged over `draws`.
//!
//! Cost: 1 F + draws * steps (F + B) + draws F. With one step it is a noise-averaged SAM sharpness at radius p; more
//! steps move it to the worst case. Not invariant to a rescaling of layers that keeps the function.

use super::ascent::{self, Ascent};
use super::{Description, Findings, Kind, Measure, Parameter, Parameters, Shortfall, part};
use crate::domain::Needs;
use crate::engine::landscape::Scope;

/// See the module.
pub struct Sharpness;

/// Largest relative radius: beyond it, nothing of the model is left.
pub const MOST_ALPHA: f64 = 10.0;
/// Most draws of any random measure.
pub const MOST_DRAWS: u32 = 4096;

static DESCRIPTION: Description = Description {
    name: "sharpness",
    summary: "Rise of the loss after a noisy ascent to a relative radius, with its error over draws.",
    source: "Bassi, Ataman, Cho 2024 (arXiv 2404.15928), stable form",
    cost: "1 F + draws (2 F + B)",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        Parameter {
            name: "alpha",
            summary: "Radius relative to the norm of the parameters.",
            kind: Kind::Real { default: 0.001, zero: false, most: MOST_ALPHA },
        },
        Parameter {
            name: "noise",
            summary: "Length of the noise in radii.",
            kind: Kind::Real { default: 0.1, zero: true, most: 100.0 },
        },
        Parameter {
            name: "step",
            summary: "Length of an ascent step in radii.",
            kind: Kind::Real { default: 1.0, zero: true, most: 100.0 },
        },
        Parameter { name: "steps", summary: "Ascent steps.", kind: Kind::Count { default: 1, most: 1000 } },
        Parameter {
            name: "draws",
            summary: "Draws of noise.",
            kind: Kind::Count { default: 8, most: MOST_DRAWS },
        },
    ],
    standard: true,
};

impl Measure for Sharpness {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn measure(&self, scope: &mut Scope<'_>, p: &Parameters) -> Result<Findings, Shortfall> {
        let ascent = Ascent::stable(p.real("alpha"), p.real("noise"), p.real("step"), p.count("steps"));
        findings(scope, &ascent, p.count("draws"))
    }
}

/// The draws of an ascent with the parts that all sharpnesses of this family report.
pub fn findings(scope: &mut Scope<'_>, ascent: &Ascent, draws: u32) -> Result<Findings, Shortfall> {
    let drawn = ascent::draw(scope, ascent, draws)?;
    let parts = vec![
        part("value", drawn.mean()),
        part("radius", drawn.radius),
        part("displacement", drawn.displacement()),
        part("base_loss", drawn.base_loss),
    ];
    Ok(Findings::draws(drawn.rises(), parts))
}
