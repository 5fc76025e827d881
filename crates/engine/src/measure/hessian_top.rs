//! `hessian_top`: the greatest eigenvalue of the Hessian, with the least one beside it, by Lanczos' iteration; or the
//! dominant one by power iteration.
//!
//! Lanczos' keeps a vector a step and begins anew from the best of them where they would take more than `max_mib`. It
//! ends when the residual of both ends is below `tol` of them (of an end next to zero: below a thousandth of that of the
//! dominant one). Power iteration keeps three vectors and finds the eigenvalue of the greatest magnitude; where that is
//! negative, it goes on from H less that value to the other end. Where two ends are of one size it finds neither.
//!
//! The residual ‖H v - lambda v‖ is taken of the vector that was found, with a product of its own: it bounds the
//! distance to an eigenvalue, and says whether there is one. Each snapshot begins from the same noise, never from what
//! the last one found: the same snapshot has the same bits. Cost: 2 (F + B) a product. Not invariant to a rescaling of
//! layers.

use super::shared::climb::not_for_want_of_a_gradient;
use super::shared::curvature::{self, DifferenceAlong, MAX_MIB, PRODUCT};
use super::shared::ends::{self, Basis, End, FoundEnds, IterationLimits};
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, Walks, part,
};
use crate::landscape::Position;
use crate::scope::MeasureScope;
use clino_domain::{Needs, Work};

/// The measure `hessian_top`; the module has formula, source and cost.
pub struct HessianTop;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "hessian_top",
    summary: "Greatest and least eigenvalue of the Hessian, each with the residual that bounds its error.",
    formula: "greatest and least Ritz value of Lanczos' iteration from normal noise, each new vector orthogonal to all before it, until both ‖Hv - λv‖ < tol |λ|; method power: v ← Hv/‖Hv‖, λ = v·Hv until it changes by less than tol |λ|",
    source: "Lanczos 1950; Wu and Simon 2000 (thick restart); Yao et al. 2020 (arXiv 1912.07145), section 3.1 (power); Hv by central differences",
    parts: &[
        ("top", "greatest eigenvalue"),
        (
            "residual",
            "‖Hv - λv‖ of the top, which bounds its distance to an eigenvalue; above 1 % of it a remark tells, above 10 % it is undefined",
        ),
        ("iterations", "products with H"),
        ("bottom", "least eigenvalue; not of power iteration that found a positive one"),
        ("bottom_residual", "its residual"),
        ("dominant", "the one of the greatest magnitude"),
        ("dominant_residual", "its residual"),
    ],
    cost: "up to iters + 2 products of 2 (F + B)",
    rescaling: false,
    invariance: "Moves with a rescaling of layers and with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "method",
            summary: "Iteration.",
            kind: ParameterKind::Choice(&["lanczos", "power"]),
        },
        MeasureParameter {
            name: "iters",
            summary: "Maximum products of the iteration, not counting those of the residuals.",
            kind: ParameterKind::Count { default: 100, least: 1, most: 10_000 },
        },
        MeasureParameter {
            name: "tol",
            summary: "Residual relative to the value (with method power: change) at which the iteration \
                     ends.",
            kind: ParameterKind::Real { default: 1e-4, zero: false, most: 1.0 },
        },
        MAX_MIB,
    ],
    standard: false,
};

/// Share of a value above which its residual is told, and above which it is no value.
const SMALL: f64 = 1e-2;
const UNTOLD: f64 = 0.1;

/// What a trained network takes, roughly: the gaps at both ends decide.
const LIKELY: f64 = 16.0;

/// How many vectors Lanczos' iteration may keep.
fn basis(p: &MeasureParameters, parameters: usize, bytes: usize) -> Result<Basis, MeasureError> {
    let most = p.count("iters").min(u32::try_from(parameters).unwrap_or(u32::MAX));
    let room = curvature::room(p, bytes);
    Basis::within(room, most).ok_or_else(|| {
        let need = curvature::mib(Basis::LEAST, bytes);
        MeasureError::Unavailable(format!(
            "Lanczos iteration keeps at least {} vectors, {need:.0} MiB here, more than max_mib {}: set max_mib to \
            {need:.0}, or use method power, which keeps 3",
            Basis::LEAST,
            p.count(MAX_MIB.name),
        ))
    })
}

fn limits(p: &MeasureParameters, position: &dyn Position) -> IterationLimits {
    let [step, last] =
        [DifferenceAlong::Krylov, DifferenceAlong::Top].map(|along| curvature::step(position, along));
    let parameters = position.parameters();
    IterationLimits { iters: p.count("iters"), tol: p.real("tol"), parameters, step, last }
}

impl Measure for HessianTop {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, _: &RunSize) -> Cost {
        let likely = f64::from(p.count("iters")).min(LIKELY);
        let more = if p.word("method") == "power" { 3.0 } else { 2.0 * likely + 5.0 };
        let residuals = PRODUCT + Work::of(0.0, 0.0, likely + 6.0);
        Cost::own((PRODUCT + Work::of(0.0, 0.0, more)) * likely + residuals * 2.0)
    }

    fn vectors(&self, p: &MeasureParameters, run_size: &RunSize) -> u32 {
        match p.word("method") {
            "power" => 3,
            _ => basis(p, run_size.parameters, run_size.vector_bytes).map_or(3, |basis| basis.vectors()),
        }
    }

    fn memory(&self, p: &MeasureParameters, run_size: &RunSize) -> MeasureMemory {
        let basis = basis(p, run_size.parameters, run_size.vector_bytes).ok();
        let Some(basis) = basis.filter(|_| p.word("method") != "power") else {
            return Walks::keeping(3).into();
        };
        let matrix = f64::from(basis.most()).powi(2) * size_of::<f64>() as f64;
        MeasureMemory { lists: 4.0 * matrix, ..Walks::keeping(basis.held()).into() }
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let position = scope.landscape.position();
        let limits = limits(p, position);
        let by_power = p.word("method") == "power";
        let found = if by_power {
            scope.walk(|point| ends::power(point, limits))?
        } else {
            let basis = basis(p, position.parameters(), curvature::vector_bytes(position))?;
            scope.walk(|point| ends::lanczos(point, limits, basis))?
        };
        let ends = found.top.iter().chain(&found.bottom);
        not_for_want_of_a_gradient(scope, ends.flat_map(|end| [end.value, end.residual]))?;
        told(&found)
    }
}

/// Both ends as a reading, or why it is none.
fn told(found: &FoundEnds) -> Result<Findings, MeasureError> {
    let Some(top) = found.top else {
        return Err(MeasureError::Undefined("a gradient near the snapshot is not finite".into()));
    };
    let far = |name: &str, end: End| {
        let End { value, residual } = end;
        let products = found.products;
        let share = 100.0 * found.doubt(&end);
        format!(
            "{name} {value:.4e} has not converged after {products} products: its residual {residual:.1e} is \
            {share:.1} % of it"
        )
    };
    if found.doubt(&top) > UNTOLD {
        let reason = format!("{}; raise iters, or use method lanczos", far("top", top));
        return Err(MeasureError::Undefined(reason));
    }
    let unsure = |end: &End| !found.settled || found.doubt(end) > SMALL;
    let ends = [("top", Some(top)), ("bottom", found.bottom)];
    let doubts = ends.iter().filter_map(|(name, end)| Some(far(name, (*end).filter(unsure)?)));
    let doubts: Vec<String> = doubts.collect();
    let of = |end: Option<End>| [end.map(|end| end.value), end.map(|end| end.residual)];
    let [bottom, bottom_residual] = of(found.bottom);
    let [dominant, dominant_residual] = of(found.dominant());
    let parts = vec![
        part("top", top.value),
        part("residual", top.residual),
        part("iterations", f64::from(found.products)),
        part("bottom", bottom),
        part("bottom_residual", bottom_residual),
        part("dominant", dominant),
        part("dominant_residual", dominant_residual),
    ];
    let remark = (!doubts.is_empty()).then(|| doubts.join("; "));
    Ok(Findings { remark, ..Findings::parts(parts) })
}
