//! Perturb, ascend, project: the draw that every sharpness of this family is made of.
//!
//! Bassi, Ataman, Cho 2024 (arXiv 2404.15928): w = w0 + noise; then w + step * gradient, pulled back into a ball around
//! w0; the sharpness is the loss there less the loss at w0. Here w0 is never changed, evaluation mode holds throughout,
//! the radius comes from the clean weights, and noise is named by (seed, draw) so that anyone can repeat it.
//!
//! Owns: one draw and the memory of finished ones. May not touch: which draws a measure wants.

use super::Shortfall;
use crate::domain::Fault;
use crate::engine::landscape::{AscentKey, Point, Sample, Scope};
use crate::engine::noise::Purpose;
use crate::engine::norms::Norms;

/// Unit of the noise and of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// As they are: `noise * n`, `step * g`.
    Absolute,
    /// Fractions of the radius: `noise * p * n / ‖n‖`, `step * p * g / ‖g‖`.
    Radius,
}

/// Where the radius comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RadiusOf {
    /// alpha ‖w0‖.
    Global,
    /// alpha Σ ‖w0_t‖ over the tensors t.
    Sum,
}

/// What is pulled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projection {
    /// All parameters as one vector.
    Global,
    /// Each tensor on its own.
    Tensor,
}

/// How a draw is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ascent {
    /// Relative radius.
    pub alpha: f64,
    /// Size of the noise.
    pub noise: f64,
    /// Size of a step.
    pub step: f64,
    /// Number of steps.
    pub steps: u32,
    /// Of noise and step.
    pub unit: Unit,
    /// Of the ball.
    pub radius_of: RadiusOf,
    /// Of the displacement.
    pub projection: Projection,
}

impl Ascent {
    /// The stable form: noise and step are fractions of the radius, one ball around all parameters.
    pub fn stable(alpha: f64, noise: f64, step: f64, steps: u32) -> Self {
        let (unit, radius_of, projection) = (Unit::Radius, RadiusOf::Global, Projection::Global);
        Self { alpha, noise, step, steps, unit, radius_of, projection }
    }

    /// The stable form with the default noise (0.1), step (1.0) and number of steps (1).
    pub fn at_radius(alpha: f64) -> Self {
        Self::stable(alpha, 0.1, 1.0, 1)
    }

    fn key(&self, draw: u32) -> AscentKey {
        let numbers = [self.alpha, self.noise, self.step, 0.0].map(f64::to_bits);
        let choices = [self.steps, self.unit as u32, self.radius_of as u32, self.projection as u32, 0];
        AscentKey { numbers, choices, draw }
    }

    /// The radius of the ball: a length in parameter space.
    pub fn radius(&self, weights: &Norms) -> f64 {
        self.alpha
            * match self.radius_of {
                RadiusOf::Global => weights.global(),
                RadiusOf::Sum => weights.sum(),
            }
    }

    fn draw(&self, point: &mut dyn Point, draw: u32, (radius, base): (f64, f64)) -> Result<Sample, Fault> {
        let noise = match self.unit {
            Unit::Absolute => self.noise,
            Unit::Radius => over(self.noise * radius, point.noise_norms(draw, Purpose::Gauss).global()),
        };
        point.perturb(draw, Purpose::Gauss, noise);
        let mut displacement = 0.0;
        for _ in 0..self.steps {
            let gradient = point.gradient()?.global();
            let step = match self.unit {
                Unit::Absolute => self.step,
                Unit::Radius => over(self.step * radius, gradient),
            };
            let norms = point.ascend(step);
            displacement = self.project(point, &norms, radius);
        }
        Ok(Sample { rise: point.loss()? - base, displacement })
    }

    /// Pulls delta back into the ball; returns its norm afterwards.
    fn project(&self, point: &mut dyn Point, norms: &Norms, radius: f64) -> f64 {
        let pull = |norm: f64| if norm < radius { 1.0 } else { over(radius, norm) };
        let factors: Vec<f64> = match self.projection {
            Projection::Global => vec![pull(norms.global()); norms.squares.len()],
            Projection::Tensor => norms.squares.iter().map(|square| pull(square.sqrt())).collect(),
        };
        if factors.iter().any(|factor| *factor != 1.0) {
            point.shrink(&factors);
        }
        norms.squares.iter().zip(&factors).map(|(square, f)| square * f * f).sum::<f64>().sqrt()
    }
}

/// a / b, and 0 where b is 0: where the gradient vanishes there is nowhere to ascend to.
fn over(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// Draws of one ascent, with what they have in common.
pub struct Drawn {
    /// In draw order.
    pub samples: Vec<Sample>,
    /// Of the ball.
    pub radius: f64,
    /// At w0.
    pub base_loss: f64,
}

impl Drawn {
    /// The rises in draw order.
    pub fn rises(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.rise).collect()
    }

    /// Mean rise.
    pub fn mean(&self) -> f64 {
        self.rises().iter().sum::<f64>() / self.samples.len() as f64
    }

    /// Mean norm of the displacement.
    pub fn displacement(&self) -> f64 {
        self.samples.iter().map(|sample| sample.displacement).sum::<f64>() / self.samples.len() as f64
    }
}

/// Makes the draws 0..`count`, or takes them from the memory of this snapshot.
///
/// # Errors
/// Undefined when the radius is zero or the base loss is not finite.
pub fn draw(scope: &mut Scope<'_>, ascent: &Ascent, count: u32) -> Result<Drawn, Shortfall> {
    let base_loss = scope.outputs()?.loss();
    if !base_loss.is_finite() {
        return Err(Shortfall::Undefined(format!("the loss of the snapshot is {base_loss}")));
    }
    let radius = ascent.radius(scope.landscape.weight_norms());
    if radius == 0.0 {
        return Err(Shortfall::Undefined("the radius is zero, because all parameters are".into()));
    }
    let missing: Vec<u32> =
        (0..count).filter(|k| !scope.memo.ascents.contains_key(&ascent.key(*k))).collect();
    let job = |point: &mut dyn Point, k: u32| ascent.draw(point, k, (radius, base_loss));
    let made = scope.landscape.explore(&missing, &job)?;
    scope.memo.ascents.extend(missing.iter().map(|k| ascent.key(*k)).zip(made));
    let samples = (0..count).map(|k| scope.memo.ascents[&ascent.key(k)]).collect();
    Ok(Drawn { samples, radius, base_loss })
}
