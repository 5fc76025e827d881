//! `hessian_trace`: tr H by Hutch++: exactly over a subspace that holds most of it, and by random signs over the rest.
//!
//! The mean of v·Hv over vectors v of random signs (Hutchinson) is off by the square root of twice the squares of H's
//! elements beside the diagonal: a few large eigenvalues make it slow. Hutch++ (Meyer et al. 2021) takes the trace over
//! an orthonormal basis Q of the large ones as it is, tr QᵀHQ, and draws only in what is orthogonal to them. Here Q is the
//! basis of Lanczos' iteration from a normal vector (Chen and Hallman 2023): it finds the large eigenvalues in fewer
//! products than a product with a random block does, and tr QᵀHQ comes with it, so that a sketch of s vectors takes s
//! products, not 2 s. Given Q every draw is unbiased and independent: their mean is the value, their standard error its.
//!
//! By default draws go on until the standard error is a hundredth of the trace: stopping when the running mean hardly
//! moves, as is usual, ends too early. Hutchinson's draws keep no vector: v·Hv is the difference of two slopes along v.
//! They are taken where the sketch does not fit into `max_mib`, and the reading says so. Cost: sketch and draws products
//! of 2 (F + B). Not invariant to a rescaling of layers.

use super::shared::climb::{not_for_want_of_a_gradient, over};
use super::shared::curvature::{self, DifferenceAlong, MAX_MIB, PRODUCT};
use super::shared::draws::{self, MAX_SECONDS, Made, STDERR};
use super::shared::lanczos::Lanczos;
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, Walks, part,
};
use crate::device::noise::Purpose;
use crate::landscape::{Point, VectorId};
use crate::scope::MeasureScope;
use clino_domain::{Fault, Needs, Work};

/// The measure `hessian_trace`; the module has formula, source and cost.
pub struct HessianTrace;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "hessian_trace",
    summary: "Trace of the Hessian: over a sketch of its large eigenvalues exactly, over the rest by random signs, until the standard error is small enough.",
    formula: "tr QᵀHQ + mean of u·Hu, u = v - QQᵀv, v_i = ±1; Q the basis of sketch steps of Lanczos' iteration from normal noise; method hutchinson: mean of v·Hv; v·Hv = v·(g(w0 + h v) - g(w0 - h v))/2h",
    source: "Meyer et al. 2021 (arXiv 2010.09649), algorithm 1, with the sketch of Chen and Hallman 2023 (arXiv 2205.01736); Hutchinson 1990; Yao et al. 2020 (arXiv 1912.07145), section 3.2",
    parts: &[
        ("trace", "tr H"),
        ("mean_eigenvalue", "tr H/d"),
        ("sketched", "tr QᵀHQ, without an error over draws; 0 without a sketch"),
        ("products", "products with H"),
    ],
    cost: "sketch + draws products of 2 (F + B)",
    rescaling: false,
    invariance: "Moves with a rescaling of layers and with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "method",
            summary: "Estimator.",
            kind: ParameterKind::Choice(&["hutch++", "hutchinson"]),
        },
        MeasureParameter {
            name: "sketch",
            summary: "Vectors of the sketch; each needs a product and is kept.",
            kind: ParameterKind::Count { default: 32, least: 1, most: 300 },
        },
        MAX_MIB,
        draws::draws(0),
        STDERR,
        draws::rel_stderr(0.01),
        // On trained encoders of 2^17 parameters a hundredth took 24 to 80 draws beside the sketch.
        draws::max_draws(128),
        MAX_SECONDS,
    ],
    standard: false,
};

/// v·Hv of random signs v, for a number of tensors.
fn hutchinson(point: &mut dyn Point, draw: u32, h: f64, tensors: usize) -> Result<f64, Fault> {
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

/// ‖h v‖ along the vectors of the sketch, and along those of the draws.
#[derive(Clone, Copy)]
struct Steps {
    sketch: f64,
    draws: f64,
}

/// An orthonormal basis, and the trace over it.
struct Sketch {
    basis: Vec<VectorId>,
    trace: f64,
}

fn sketch(point: &mut dyn Point, vectors: usize, steps: Steps) -> Result<Sketch, Fault> {
    let from = curvature::unit_noise(point, 0, Purpose::Gauss)?;
    let mut lanczos = Lanczos::new(point, from, steps.sketch);
    while lanczos.advance()? && lanczos.size() < vectors {}
    let trace = lanczos.seen.diagonal.iter().sum();
    Ok(Sketch { basis: lanczos.into_basis(), trace })
}

impl Sketch {
    /// The trace over the basis, and u·Hu of what is left of random signs beside it.
    fn draw(&self, point: &mut dyn Point, draw: u32, steps: Steps) -> Result<f64, Fault> {
        let u = point.keep_noise(draw, Purpose::Sign)?;
        for q in &self.basis {
            let along = point.product(u, *q)?;
            point.combine(u, 1.0, *q, -along)?;
        }
        let square = point.product(u, u)?;
        point.scale(u, over(1.0, square.sqrt()))?;
        let product = curvature::product(point, u, steps.draws)?;
        let along = point.product(u, product)?;
        point.release(product);
        point.release(u);
        Ok(self.trace + square * along)
    }
}

/// What was drawn, and over what.
struct TraceDraws {
    made: Made,
    sketched: f64,
    vectors: usize,
}

fn by_hutchinson(scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<TraceDraws, MeasureError> {
    let position = scope.landscape.position();
    let length = (position.parameters() as f64).sqrt();
    let h = curvature::step(position, DifferenceAlong::Random) / length;
    let tensors = position.slots().len();
    let made = draws::make(scope, p, |scope, draws| {
        Ok(scope.explore(draws, |point, number| hutchinson(point, number, h, tensors))?)
    })?;
    Ok(TraceDraws { made, sketched: 0.0, vectors: 0 })
}

fn by_sketch(scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<TraceDraws, MeasureError> {
    let position = scope.landscape.position();
    let vectors = (p.count("sketch") as usize).min(position.parameters());
    let [sketch_step, draws] =
        [DifferenceAlong::Krylov, DifferenceAlong::Random].map(|along| curvature::step(position, along));
    let steps = Steps { sketch: sketch_step, draws };
    let clock = scope.clock;
    Ok(scope.walk(|point| {
        let sketch = sketch(point, vectors, steps)?;
        let mut values: Vec<f64> = Vec::new();
        let ended = loop {
            match draws::next(p, &values, clock) {
                Ok(numbers) => {
                    for number in numbers {
                        values.push(sketch.draw(point, number, steps)?);
                    }
                }
                Err(ended) => break ended,
            }
        };
        Ok(TraceDraws { made: Made { values, ended }, sketched: sketch.trace, vectors: sketch.basis.len() })
    })?)
}

/// Vectors that a sketch keeps at once: beside itself a draw and what its product takes.
fn kept(p: &MeasureParameters, parameters: usize) -> u32 {
    p.count("sketch").min(u32::try_from(parameters).unwrap_or(u32::MAX)) + 3
}

/// How the draws are made.
enum TraceMethod {
    Sketch,
    /// As asked for, or with the reason why not as asked for.
    Hutchinson(Option<String>),
}

fn way(p: &MeasureParameters, parameters: usize, bytes: usize) -> TraceMethod {
    let vectors = kept(p, parameters);
    if p.word("method") == "hutchinson" {
        return TraceMethod::Hutchinson(None);
    }
    if vectors <= curvature::room(p, bytes) {
        return TraceMethod::Sketch;
    }
    let sketch = p.count("sketch");
    let most = p.count(MAX_MIB.name);
    let need = curvature::mib(vectors, bytes);
    TraceMethod::Hutchinson(Some(format!(
        "with Hutchinson's draws alone: a sketch of {sketch} keeps {vectors} vectors, {need:.0} MiB here, \
        more than max_mib {most}"
    )))
}

impl Measure for HessianTrace {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, run_size: &RunSize) -> Cost {
        let draws = draws::likely(p);
        if let TraceMethod::Hutchinson(_) = way(p, run_size.parameters, run_size.vector_bytes) {
            return Cost::own(Work::of(2.0, 2.0, 6.0) * draws);
        }
        let sketch = f64::from(kept(p, run_size.parameters) - 3);
        // Each new vector is compared with all before it, twice; each draw with all of them, once.
        let grow = (PRODUCT + Work::of(0.0, 0.0, 2.0 * sketch + 5.0)) * sketch;
        Cost::own(grow + (PRODUCT + Work::of(0.0, 0.0, 2.0 * sketch + 4.0)) * draws)
    }

    fn vectors(&self, p: &MeasureParameters, run_size: &RunSize) -> u32 {
        match way(p, run_size.parameters, run_size.vector_bytes) {
            TraceMethod::Hutchinson(_) => 0,
            TraceMethod::Sketch => kept(p, run_size.parameters),
        }
    }

    fn memory(&self, p: &MeasureParameters, run_size: &RunSize) -> MeasureMemory {
        match way(p, run_size.parameters, run_size.vector_bytes) {
            TraceMethod::Hutchinson(_) => Walks::SLOPE.blocks(p).into(),
            TraceMethod::Sketch => Walks::keeping(kept(p, run_size.parameters)).into(),
        }
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let position = scope.landscape.position();
        let parameters = position.parameters();
        let way = way(p, parameters, curvature::vector_bytes(position));
        let TraceDraws { made, sketched, vectors } = match way {
            TraceMethod::Hutchinson(_) => by_hutchinson(scope, p)?,
            TraceMethod::Sketch => by_sketch(scope, p)?,
        };
        not_for_want_of_a_gradient(scope, made.values.iter().copied())?;
        let products = vectors + made.values.len();
        let mut findings = Findings::draws(made.values, made.ended, Vec::new());
        let mean = findings.value.map(|trace| trace / parameters as f64);
        findings.parts = vec![
            part("trace", findings.value),
            part("mean_eigenvalue", mean),
            part("sketched", sketched),
            part("products", products as f64),
        ];
        if let TraceMethod::Hutchinson(remark) = way {
            findings.remark = remark;
        }
        Ok(findings)
    }
}
