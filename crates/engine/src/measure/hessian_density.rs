//! `hessian_density`: the spectral density of the Hessian by stochastic Lanczos quadrature: for each run the nodes
//! (eigenvalues) and weights that `steps` of Lanczos' iteration see from a vector of random signs.
//!
//! The first moment of run k is Hutchinson's draw k, so that the trace comes with it; the second is the squared Frobenius
//! norm. Cost: runs * steps products of 2 (F + B), and memory for `steps` vectors. Not invariant to a rescaling of
//! layers.

use super::shared::climb::not_for_want_of_a_gradient;
use super::shared::curvature::{self, DifferenceAlong, PRODUCT};
use super::shared::lanczos::{Lanczos, Tridiagonal};
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, Walks, part,
};
use crate::device::noise::Purpose;
use crate::scope::MeasureScope;
use crate::spectrum::quadrature;
use clino_domain::{Ended, Estimate, Needs, Quadrature, Work};

/// The measure `hessian_density`; the module has formula, source and cost.
pub struct HessianDensity;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "hessian_density",
    summary: "Spectral density of the Hessian: nodes and weights of a quadrature, run by run.",
    formula: "nodes θ_i and weights τ_i of Lanczos' tridiagonal matrix from v/‖v‖, v_i = ±1; tr H ≈ d Σ τ_i θ_i, ‖H‖_F² ≈ d Σ τ_i θ_i²",
    source: "Ghorbani et al. 2019 (arXiv 1901.10159), section 2; Yao et al. 2020 (arXiv 1912.07145)",
    parts: &[("trace", "tr H"), ("frobenius_sq", "‖H‖_F²"), ("frobenius_sq_stderr", "its standard error")],
    cost: "runs * steps products of 2 (F + B)",
    rescaling: false,
    invariance: "Moves with a rescaling of layers and with the scale of the logits.",
    needs: Needs { probe: true, gradient: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "steps",
            summary: "Lanczos steps of a run; each step keeps a vector.",
            kind: ParameterKind::Count { default: 30, least: 1, most: 300 },
        },
        MeasureParameter {
            name: "runs",
            summary: "Vectors of random signs.",
            kind: ParameterKind::Count { default: 4, least: 1, most: 64 },
        },
    ],
    standard: false,
};

impl Measure for HessianDensity {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, _: &RunSize) -> Cost {
        let steps = f64::from(p.count("steps"));
        let runs = f64::from(p.count("runs"));
        // Each new vector is compared with all before it, twice.
        let orthogonal = Work::of(0.0, 0.0, 2.0 * steps + 5.0);
        Cost::own((PRODUCT + orthogonal) * (steps * runs))
    }

    fn vectors(&self, p: &MeasureParameters, run_size: &RunSize) -> u32 {
        p.count("steps").min(run_size.parameters as u32).saturating_add(3)
    }

    fn memory(&self, p: &MeasureParameters, run_size: &RunSize) -> MeasureMemory {
        let steps = p.count("steps").min(u32::try_from(run_size.parameters).unwrap_or(u32::MAX));
        // Beside the basis the two gradients of a product.
        Walks::keeping(steps.saturating_add(2)).draws(p.count("runs")).into()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let position = scope.landscape.position();
        let parameters = position.parameters();
        // There are no more directions than parameters.
        let steps = p.count("steps").min(parameters as u32);
        curvature::admit(position, steps)?;
        let step = curvature::step(position, DifferenceAlong::Krylov);
        let numbers: Vec<u32> = (0..p.count("runs")).collect();
        let found: Vec<Tridiagonal> = scope.explore(&numbers, |point, draw| {
            let from = curvature::unit_noise(point, draw, Purpose::Sign)?;
            let mut lanczos = Lanczos::new(point, from, step);
            while lanczos.advance()? && lanczos.size() < steps as usize {}
            let seen = lanczos.seen.clone();
            lanczos.end(&[])?;
            Ok(seen)
        })?;
        if let Some(run) = found.iter().position(|seen| !seen.is_finite()) {
            return Err(MeasureError::Undefined(format!("the gradients of run {run} are not finite")));
        }
        not_for_want_of_a_gradient(scope, found.iter().flat_map(|seen| seen.diagonal.iter().copied()))?;
        let runs = found.iter().map(|seen| {
            let (nodes, weights) = quadrature(&seen.diagonal, seen.ties())?;
            Ok(Quadrature { nodes, weights })
        });
        let runs: Vec<Quadrature> = runs.collect::<Result<_, MeasureError>>()?;
        let moment = |power: i32| {
            let of = |run: &Quadrature| {
                run.nodes.iter().zip(&run.weights).map(|(x, w)| w * x.powi(power)).sum::<f64>()
                    * parameters as f64
            };
            runs.iter().map(of).collect::<Vec<f64>>()
        };
        let traces = moment(1);
        let squares = Estimate::of(&moment(2));
        let mut findings = Findings::draws(traces, Ended::Draws, Vec::new());
        findings.parts = vec![
            part("trace", findings.value),
            part("frobenius_sq", squares.map(|squares| squares.mean)),
            part("frobenius_sq_stderr", squares.and_then(|squares| squares.stderr)),
        ];
        findings.runs = runs;
        Ok(findings)
    }
}
