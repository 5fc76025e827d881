//! `hessian_trace`: tr H by Hutchinson's estimator, the mean of v·Hv over vectors v of random signs.
//!
//! By default it goes on until its standard error is a twentieth of it: stopping when the running mean hardly moves,
//! as is usual, ends too early. v·Hv is the difference of two slopes along v, so that no vector is kept. Cost: draws
//! products of 2 (F + B). Not invariant to a rescaling of layers.

use super::shared::curvature::{self, Along};
use super::shared::draws::{self, MAX_DRAWS, MAX_SECONDS, STDERR};
use super::{Cost, Description, Findings, Ground, Measure, Parameters, Shortfall, part};
use crate::domain::{Fault, Needs, Work};
use crate::engine::landscape::Point;
use crate::engine::noise::Purpose;
use crate::engine::scope::Scope;

/// See the module.
pub struct HessianTrace;

static DESCRIPTION: Description = Description {
    name: "hessian_trace",
    summary: "Trace of the Hessian by random signs, until its standard error is small enough.",
    formula: "mean of v·Hv, v_i = ±1; v·Hv = v·(g(w0 + h v) - g(w0 - h v))/2h",
    source: "Hutchinson 1990; Yao et al. 2020 (arXiv 1912.07145), section 3.2",
    parts: &[("trace", "tr H"), ("mean_eigenvalue", "tr H/d")],
    cost: "draws products of 2 (F + B)",
    rescaling: false,
    invariance: "Moves with a rescaling of layers and with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[draws::draws(0), STDERR, draws::rel_stderr(0.05), MAX_DRAWS, MAX_SECONDS],
    standard: false,
};

fn draw(point: &mut dyn Point, draw: u32, (h, tensors): (f64, usize)) -> Result<f64, Fault> {
    let slope = |point: &mut dyn Point| {
        point.gradient()?;
        point.gradient_with_noise(draw, Purpose::Sign)
    };
    point.perturb(draw, Purpose::Sign, &vec![h; tensors]);
    let up = slope(point)?;
    point.stretch(-h);
    let down = slope(point)?;
    Ok((up - down) / (2.0 * h))
}

impl Measure for HessianTrace {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn cost(&self, p: &Parameters, _: &Ground) -> Cost {
        Cost::own(Work::of(2.0, 2.0, 6.0) * draws::likely(p))
    }

    fn measure(&self, scope: &mut Scope<'_>, p: &Parameters) -> Result<Findings, Shortfall> {
        let position = scope.landscape.position();
        let parameters: usize = position.slots().iter().map(|slot| slot.len).sum();
        let (h, tensors) =
            (curvature::step(position, Along::Random) / (parameters as f64).sqrt(), position.slots().len());
        let made = draws::make(scope, p, |scope, draws| {
            Ok(scope.explore(draws, |point, number| draw(point, number, (h, tensors)))?)
        })?;
        let mut findings = Findings::draws(made.values, made.ended, Vec::new());
        let mean = findings.value.map(|trace| trace / parameters as f64);
        findings.parts = vec![part("trace", findings.value), part("mean_eigenvalue", mean)];
        Ok(findings)
    }
}
