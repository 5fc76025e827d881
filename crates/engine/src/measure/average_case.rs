//! `average_case`: E L(w0 + rho T∘n) - L(w0), T = |w0| or 1, n standard normal or uniform on [-1, 1] in each coordinate
//! (Andriushchenko et al. 2023).
//!
//! Antithetic draws are the mean over n and -n: for small rho that takes the slope out, which is most of the spread. With
//! scope `layer` each tensor's noise is brought to the length rho ‖T_t‖. Cost: draws F, twice that when antithetic.

use super::cost::Common;
use super::shared::climb::{SCOPE, base_loss, over, some_size};
use super::shared::draws::{self, MAX_DRAWS, MAX_SECONDS, STDERR};
use super::worst_case::{ADAPTIVE, metric};
use super::{
    Cost, Findings, Measure, MeasureDescription, MeasureError, MeasureMemory, MeasureParameter,
    MeasureParameters, ParameterKind, RunSize, Walks, part,
};
use crate::device::metric::ParameterMetric;
use crate::device::noise::Purpose;
use crate::landscape::Point;
use crate::scope::MeasureScope;
use clino_domain::{Fault, Needs, Work};

/// The measure `average_case`; the module has formula, source and cost.
pub struct AverageCase;

static DESCRIPTION: MeasureDescription = MeasureDescription {
    name: "average_case",
    summary: "Mean rise of the loss under random perturbations, scaled by the parameters or not, with its error.",
    formula: "E L(w0 + ρ T∘n) - L(w0), T = |w0| or 1, n normal (l2) or uniform on [-1, 1] (linf); antithetic: ½(L(w0 + ρ T∘n) + L(w0 - ρ T∘n)) - L(w0); scope layer: ρ ‖T_t‖ n_t/‖n_t‖ in each tensor t",
    source: "Andriushchenko et al. 2023 (arXiv 2302.07011), eq. 2",
    parts: &[("value", "mean rise"), ("rho", "size of the noise")],
    cost: "shared F, and draws F, or 2 draws F when antithetic",
    rescaling: true,
    invariance: "Adaptive: invariant to a rescaling of layers. Not adaptive: not. Moves with the scale of the logits.",
    needs: Needs { probe: true, ..Needs::NONE },
    parameters: &[
        MeasureParameter {
            name: "p",
            summary: "Noise: normal or uniform.",
            kind: ParameterKind::Choice(&["l2", "linf"]),
        },
        ADAPTIVE,
        MeasureParameter {
            name: "rho",
            summary: "Size of the noise in each coordinate.",
            kind: ParameterKind::Real { default: 0.1, zero: false, most: 1e6 },
        },
        ANTITHETIC,
        SCOPE,
        draws::draws(8),
        STDERR,
        draws::rel_stderr(0.0),
        MAX_DRAWS,
        MAX_SECONDS,
    ],
    standard: false,
};

const ANTITHETIC: MeasureParameter = antithetic(true);

/// Whether a draw is the mean over n and -n.
pub const fn antithetic(default: bool) -> MeasureParameter {
    MeasureParameter {
        name: "antithetic",
        summary: "Mean over n and -n in each draw.",
        kind: ParameterKind::Flag(default),
    }
}

/// What a draw is.
pub struct Throw {
    /// The metric in which the noise is measured.
    pub metric: ParameterMetric,
    /// The distribution of the noise: normal or uniform.
    pub purpose: Purpose,
    /// Of the noise, by tensor.
    pub sizes: Vec<f64>,
    /// Whether the sizes are lengths.
    pub normalized: bool,
    /// Whether -n is looked at as well.
    pub antithetic: bool,
}

impl Throw {
    /// The cost of `draws` draws; `antithetic` ones look at two points each.
    pub fn cost(draws: f64, antithetic: bool) -> Cost {
        let looks = if antithetic { 2.0 } else { 1.0 };
        Cost::own(Work::of(looks * draws, 0.0, looks * draws)).outputs()
    }

    fn loss(&self, point: &mut dyn Point, draw: u32) -> Result<f64, Fault> {
        point.measure_in(self.metric.clone());
        let scales = match self.normalized {
            true => {
                let norms = point.noise_norms(draw, self.purpose)?;
                let pairs = self.sizes.iter().zip(&norms.squares);
                pairs.map(|(size, square)| over(*size, square.sqrt())).collect()
            }
            false => self.sizes.clone(),
        };
        point.perturb(draw, self.purpose, &scales);
        let up = point.look()?.loss;
        if !self.antithetic {
            return Ok(up);
        }
        point.shrink(&vec![-1.0; scales.len()]);
        Ok(0.5 * (up + point.look()?.loss))
    }

    /// Mean losses of draws.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    pub fn losses(&self, scope: &mut MeasureScope<'_>, draws: &[u32]) -> Result<Vec<f64>, MeasureError> {
        Ok(scope.explore(draws, |point, draw| self.loss(point, draw))?)
    }
}

fn purpose(p: &MeasureParameters) -> Purpose {
    if p.word("p") == "l2" { Purpose::Gauss } else { Purpose::Uniform }
}

fn throw(scope: &MeasureScope<'_>, p: &MeasureParameters) -> Throw {
    let rho = p.real("rho");
    let adaptive = p.flag("adaptive");
    let normalized = p.word("scope") == "layer";
    let position = scope.landscape.position();
    let length = |slot: usize| match adaptive {
        true => position.norms().squares[slot].sqrt(),
        false => (position.slots()[slot].len as f64).sqrt(),
    };
    let tensors = position.slots().len();
    let sizes = match normalized {
        true => (0..tensors).map(|slot| rho * length(slot)).collect(),
        false => vec![rho; tensors],
    };
    let metric = if normalized { ParameterMetric::Plain } else { metric(scope, adaptive) };
    Throw { metric, purpose: purpose(p), sizes, normalized, antithetic: p.flag("antithetic") }
}

impl Measure for AverageCase {
    fn description(&self) -> &'static MeasureDescription {
        &DESCRIPTION
    }

    fn cost(&self, p: &MeasureParameters, _: &RunSize) -> Cost {
        let draws = draws::likely(p);
        let cost = Throw::cost(draws, p.flag("antithetic"));
        if p.word("scope") == "global" {
            return cost;
        }
        let norms = |cost: Cost, draw| cost.with(Common::Noise(draw, purpose(p)), Work::of(0.0, 0.0, 1.0));
        (0..draws as u32).fold(cost, norms)
    }

    fn memory(&self, p: &MeasureParameters, _: &RunSize) -> MeasureMemory {
        Walks::LOOK.blocks(p).into()
    }

    fn measure(&self, scope: &mut MeasureScope<'_>, p: &MeasureParameters) -> Result<Findings, MeasureError> {
        let base = base_loss(scope)?;
        if p.flag("adaptive") {
            some_size(scope)?;
        }
        let throw = throw(scope, p);
        let made = draws::make(scope, p, |scope, draws| {
            Ok(throw.losses(scope, draws)?.into_iter().map(|loss| loss - base).collect())
        })?;
        let mut findings = Findings::draws(made.values, made.ended, Vec::new());
        findings.parts = vec![part("value", findings.value), part("rho", p.real("rho"))];
        Ok(findings)
    }
}
