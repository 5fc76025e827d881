//! Perturb, ascend, project: the draw that every sharpness of this family is made of.
//!
//! Bassi, Ataman, Cho 2024 (arXiv 2404.15928): w = w0 + noise; then w + step * gradient, pulled back into a ball around
//! w0; the sharpness is the loss there less the loss at w0. Here w0 is never changed, evaluation mode holds throughout,
//! the radius comes from the clean weights, and noise is named by (seed, draw) so that anyone can repeat it.
//!
//! Owns: one draw and the memory of finished ones. May not touch: which draws a measure wants.

use super::climb::{base_loss, not_for_want_of_a_gradient};
pub use crate::device::ascent::{AscentJob, Reached, Region, StepUnit};
use crate::device::noise::Purpose;
use crate::device::norms::Norms;
use crate::measure::cost::Common;
use crate::measure::{Cost, MeasureError, Walks};
use crate::scope::{AscentKey, AscentResult, MeasureScope};
use clino_domain::Work;

/// Where the radius comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RadiusOf {
    /// One radius for all parameters: alpha ‖w0‖.
    Global,
    /// alpha Σ ‖w0_t‖ over the tensors t.
    Sum,
}

/// How a draw is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ascent {
    /// Radius relative to the norm of the parameters.
    pub alpha: f64,
    /// Size of the noise.
    pub noise: f64,
    /// Size of a step.
    pub step: f64,
    /// Number of ascent steps.
    pub steps: u32,
    /// Of noise and step.
    pub unit: StepUnit,
    /// What the radius of the ball is relative to.
    pub radius_of: RadiusOf,
    /// Region of the displacement.
    pub region: Region,
}

impl Ascent {
    /// The stable form with the default noise (0.1), step (1.0) and number of steps (1): noise and step are fractions of
    /// the radius, one ball around all parameters.
    pub fn at_radius(alpha: f64) -> Self {
        let unit = StepUnit::Radius;
        let radius_of = RadiusOf::Global;
        let region = Region::Global;
        Self { alpha, noise: 0.1, step: 1.0, steps: 1, unit, radius_of, region }
    }

    fn key(&self, draw: u32) -> AscentKey {
        let numbers = [self.alpha, self.noise, self.step, 0.0].map(f64::to_bits);
        let choices = [self.steps, self.unit as u32, self.radius_of as u32, self.region as u32, 0];
        AscentKey { numbers, choices, draw }
    }

    /// The radius of the ball: a length in parameter space. Of several balls: of the one that they fit in.
    pub fn radius(&self, weights: &Norms) -> f64 {
        self.alpha
            * match self.radius_of {
                RadiusOf::Global => weights.global(),
                RadiusOf::Sum => weights.sum(),
            }
    }

    fn radii(&self, weights: &Norms) -> Vec<f64> {
        match self.region {
            Region::Layer => weights.squares.iter().map(|square| self.alpha * square.sqrt()).collect(),
            _ => vec![self.radius(weights); weights.squares.len()],
        }
    }

    fn order<'a>(&self, draw: u32, radii: &'a [f64]) -> AscentJob<'a> {
        let Self { noise, step, steps, unit, region, .. } = *self;
        AscentJob { draw, noise, step, steps, unit, region, radii }
    }

    /// How its draws move.
    pub fn walks(&self) -> Walks {
        if self.steps > 1 { Walks::STEPS } else { Walks::STEP }
    }

    /// What a draw takes.
    pub fn work(&self) -> Work {
        let steps = f64::from(self.steps);
        Work::of(steps + 1.0, steps, 3.0 * steps + 1.0)
    }

    /// What draws take: those that another measure makes as well are made once.
    pub fn cost(&self, draws: u32) -> Cost {
        let mut cost = Cost::default().outputs();
        for draw in 0..draws {
            cost = cost.with(Common::Ascent(self.key(draw)), self.work());
            if self.unit == StepUnit::Radius {
                cost = cost.with(Common::Noise(draw, Purpose::Gauss), Work::of(0.0, 0.0, 1.0));
            }
        }
        cost
    }
}

/// Draws of one ascent, with what they have in common.
pub struct AscentDraws {
    /// Results of all draws, in draw order.
    pub samples: Vec<AscentResult>,
    /// Radius of the ball.
    pub radius: f64,
    /// The loss at w0, before any perturbation.
    pub base_loss: f64,
}

impl AscentDraws {
    /// The rises in draw order.
    pub fn rises(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.rise).collect()
    }

    /// Mean rise of the loss over the draws.
    pub fn mean(&self) -> f64 {
        self.rises().iter().sum::<f64>() / self.samples.len() as f64
    }

    /// Mean norm of the displacement.
    pub fn displacement(&self) -> f64 {
        self.samples.iter().map(|sample| sample.displacement).sum::<f64>() / self.samples.len() as f64
    }
}

/// Makes draws, or takes them from the memory of this snapshot.
///
/// # Errors
/// Undefined when the radius is zero, the base loss is not finite, or nothing rises because the gradient is zero.
pub fn draw(
    scope: &mut MeasureScope<'_>,
    ascent: &Ascent,
    draws: &[u32],
) -> Result<AscentDraws, MeasureError> {
    let base_loss = base_loss(scope)?;
    let weights = scope.landscape.position().norms();
    let radius = ascent.radius(weights);
    let radii = ascent.radii(weights);
    if radius == 0.0 {
        return Err(MeasureError::Undefined("the radius is zero because all parameters are zero".into()));
    }
    let known = |k: &u32| scope.cache.ascents.contains_key(&ascent.key(*k));
    let missing: Vec<u32> = draws.iter().filter(|k| !known(k)).copied().collect();
    let made = scope.explore(&missing, |point, k| {
        let Reached { loss, displacement } = point.carry_out(&ascent.order(k, &radii))?;
        Ok(AscentResult { rise: loss - base_loss, displacement })
    })?;
    scope.cache.ascents.extend(missing.iter().map(|k| ascent.key(*k)).zip(made));
    let samples: Vec<AscentResult> = draws.iter().map(|k| scope.cache.ascents[&ascent.key(*k)]).collect();
    not_for_want_of_a_gradient(scope, samples.iter().map(|sample| sample.rise))?;
    Ok(AscentDraws { samples, radius, base_loss })
}

/// The draws of an ascent that this snapshot remembers at other radii, as (alpha, mean rise), by rising radius.
pub fn remembered(scope: &MeasureScope<'_>, ascent: &Ascent, draws: u32) -> Vec<(f64, f64)> {
    let alphas =
        scope.cache.ascents.keys().filter(|key| key.draw == 0).map(|key| f64::from_bits(key.numbers[0]));
    let mean = |alpha: f64| {
        let at = Ascent { alpha, ..*ascent };
        let samples = (0..draws).map(|k| scope.cache.ascents.get(&at.key(k)).map(|sample| sample.rise));
        let rises: Option<Vec<f64>> = samples.collect();
        Some((alpha, rises?.iter().sum::<f64>() / f64::from(draws)))
    };
    let mut found: Vec<(f64, f64)> = alphas.filter_map(mean).collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.dedup_by_key(|(alpha, _)| *alpha);
    found
}
