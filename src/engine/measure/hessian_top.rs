//! `hessian_top`: the dominant eigenvalue of the Hessian, by power iteration or by Lanczos' iteration.
//!
//! Power iteration ends when the value changes by less than `tol`, and finds the eigenvalue of the greatest magnitude;
//! Lanczos' ends when the residual is below `tol` times the value, finds the greatest one and the least beside it in
//! fewer products, and keeps a vector for each. The residual ‖H v - lambda v‖ bounds the distance to an eigenvalue.
//! Cost: 2 (F + B) a product. Not invariant to a rescaling of layers.

use super::shared::curvature::{self, Along, PRODUCT, Tridiagonal};
use super::{Cost, Description, Findings, Ground, Kind, Measure, Parameter, Parameters, Shortfall, part};
use crate::domain::{Fault, Needs, Work};
use crate::engine::landscape::Point;
use crate::engine::noise::Purpose;
use crate::engine::scope::Scope;
use crate::engine::spectrum::quadrature;

/// See the module.
pub struct HessianTop;

static DESCRIPTION: Description = Description {
    name: "hessian_top",
    summary: "Dominant eigenvalue of the Hessian, with the residual that bounds its error.",
    formula: "v ← Hv/‖Hv‖ from normal noise, λ = v·Hv until it changes by less than tol |λ|; or the greatest Ritz value of Lanczos' iteration",
    source: "Yao et al. 2020 (arXiv 1912.07145), section 3.1; Hv by central differences",
    parts: &[
        ("top", "the eigenvalue"),
        ("residual", "‖Hv - λv‖, which bounds its error"),
        ("iterations", "products with H"),
        ("bottom", "least Ritz value; method lanczos"),
    ],
    cost: "up to iters products of 2 (F + B)",
    rescaling: false,
    invariance: "Moves with a rescaling of layers and with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        Parameter { name: "method", summary: "Iteration.", kind: Kind::Choice(&["power", "lanczos"]) },
        Parameter {
            name: "iters",
            summary: "Most products.",
            kind: Kind::Count { default: 100, least: 1, most: 10_000 },
        },
        Parameter {
            name: "tol",
            summary: "Relative change, or residual, at which it ends.",
            kind: Kind::Real { default: 1e-3, zero: false, most: 1.0 },
        },
    ],
    standard: false,
};

/// What an iteration found.
struct Found {
    top: f64,
    bottom: Option<f64>,
    iterations: u32,
    residual: f64,
    settled: bool,
}

fn power(point: &mut dyn Point, (iters, tol): (u32, f64), step: f64) -> Result<Found, Fault> {
    let mut v = curvature::unit_noise(point, 0, Purpose::Gauss)?;
    let mut found = Found { top: f64::INFINITY, bottom: None, iterations: 0, residual: 0.0, settled: false };
    while found.iterations < iters && !found.settled {
        let next = curvature::product(point, v, step)?;
        let (value, square) = (point.product(v, next)?, point.product(next, next)?);
        found.settled = square == 0.0 || !square.is_finite() || (value - found.top).abs() < tol * value.abs();
        found.residual = (square - value * value).max(0.0).sqrt();
        (found.top, found.iterations) = (value, found.iterations + 1);
        point.scale(next, super::shared::climb::over(1.0, square.sqrt()))?;
        point.release(v);
        v = next;
    }
    Ok(found)
}

/// The greatest and least Ritz value, and the residual of the greatest.
fn ritz(matrix: &Tridiagonal) -> Result<(f64, f64, f64), Fault> {
    if !matrix.is_finite() {
        return Ok((f64::NAN, f64::NAN, f64::NAN));
    }
    // The last element of an eigenvector is the first of the matrix turned round.
    let turn = |xs: &[f64]| xs.iter().rev().copied().collect::<Vec<_>>();
    let (nodes, weights) = quadrature(&turn(&matrix.diagonal), &turn(matrix.beside()))?;
    let (Some(top), Some(bottom), Some(weight)) = (nodes.last(), nodes.first(), weights.last()) else {
        return Err(Fault::internal("an iteration without a step"));
    };
    Ok((*top, *bottom, matrix.beside.last().unwrap_or(&0.0) * weight.sqrt()))
}

fn lanczos(point: &mut dyn Point, (iters, tol): (u32, f64), step: f64) -> Result<Found, Fault> {
    let from = curvature::unit_noise(point, 0, Purpose::Gauss)?;
    let enough = |matrix: &Tridiagonal| {
        let (top, _, residual) = ritz(matrix)?;
        Ok(residual <= tol * top.abs())
    };
    let matrix = curvature::lanczos(point, from, (iters, step), enough)?;
    let (top, bottom, residual) = ritz(&matrix)?;
    let iterations = matrix.diagonal.len() as u32;
    let settled = iterations < iters || residual <= tol * top.abs();
    Ok(Found { top, bottom: Some(bottom), iterations, residual, settled })
}

impl Measure for HessianTop {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn cost(&self, p: &Parameters, _: &Ground) -> Cost {
        // What trained networks took: the gap below the top decides.
        let likely = f64::from(p.count("iters")).min(8.0);
        let more = Work::of(0.0, 0.0, if p.word("method") == "power" { 3.0 } else { 2.0 * likely + 5.0 });
        Cost::own((PRODUCT + more) * likely)
    }

    fn vectors(&self, p: &Parameters, model: usize) -> u32 {
        if p.word("method") == "power" { 3 } else { curvature::vectors(p.count("iters"), model) }
    }

    fn measure(&self, scope: &mut Scope<'_>, p: &Parameters) -> Result<Findings, Shortfall> {
        let (limits, position) = ((p.count("iters"), p.real("tol")), scope.landscape.position());
        let step = curvature::step(position, Along::Top);
        let by_power = p.word("method") == "power";
        if !by_power {
            curvature::admit(position, limits.0)?;
        }
        let found = scope.walk(|point| match by_power {
            true => power(point, limits, step),
            false => lanczos(point, limits, step),
        })?;
        let mut parts = vec![part("top", found.top), part("residual", found.residual)];
        parts.push(part("iterations", f64::from(found.iterations)));
        parts.extend(found.bottom.map(|bottom| part("bottom", bottom)));
        let remark = (!found.settled).then(|| format!("not settled after {} products", found.iterations));
        Ok(Findings { remark, ..Findings::parts(parts) })
    }
}
