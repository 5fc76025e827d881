//! Ascent from w0 in the coordinates of a metric: w = w0 + T∘u, where every constraint on u is a plain ball or box.
//!
//! One normalized step is SAM and ASAM; many of them, pulled back, are the worst case and Keskar's measure. For the
//! ellipsoid ‖delta / T‖ ≤ rho this is the steepest way, which ascent in delta with a Euclidean projection is not.
//!
//! Owns: steps and pulling back. May not touch: which metric and radius a measure wants.

pub use crate::device::ascent::over;
use crate::device::metric::ParameterMetric;
use crate::device::norms::Norms;
use crate::landscape::Point;
use crate::measure::{Cost, MeasureError, MeasureParameter, ParameterKind};
use crate::scope::MeasureScope;
use clino_domain::{Fault, Work};

/// Whether all parameters are one vector or each tensor is its own.
pub const SCOPE: MeasureParameter = MeasureParameter {
    name: "scope",
    summary: "All parameters as one vector, or each tensor by itself.",
    kind: ParameterKind::Choice(&["global", "layer"]),
};

/// The same, and all tensors in one metric.
pub const SCOPES: MeasureParameter = MeasureParameter {
    name: "scope",
    summary: "Weights scaled and all parameters as one vector, each tensor by itself, or all tensors scaled.",
    kind: ParameterKind::Choice(&["global", "layer", "all"]),
};

/// What brings a vector with these norms to the length `size`: as a whole, or each tensor by itself.
pub fn normalizing(norms: &Norms, size: f64, by_tensor: bool) -> Vec<f64> {
    match by_tensor {
        true => norms.squares.iter().map(|square| over(size, square.sqrt())).collect(),
        false => vec![over(size, norms.global()); norms.squares.len()],
    }
}

/// The loss at w0.
///
/// # Errors
/// Undefined when it is not finite.
pub fn base_loss(scope: &mut MeasureScope<'_>) -> Result<f64, MeasureError> {
    let loss = scope.outputs()?.loss();
    match loss.is_finite() {
        true => Ok(loss),
        false => Err(MeasureError::Undefined(format!("the loss of the snapshot is {loss}"))),
    }
}

/// What is told where nothing leads up: 0 would be read as flat.
pub fn no_gradient(which: &str) -> MeasureError {
    let reason = format!(
        "{which} is zero, so there is no direction to follow: a saturated softmax or a network that is constant \
        there, not flatness"
    );
    MeasureError::Undefined(reason)
}

/// Refuses units in which nothing moves.
///
/// # Errors
/// Undefined when all parameters are zero.
pub fn some_size(scope: &MeasureScope<'_>) -> Result<(), MeasureError> {
    if scope.landscape.position().norms().global() > 0.0 {
        return Ok(());
    }
    let reason =
        "all parameters are zero, so a step relative to their size moves nothing, which is not flatness";
    Err(MeasureError::Undefined(reason.into()))
}

/// Refuses a zero that comes of a gradient that is zero.
///
/// # Errors
/// Undefined when the gradient at w0 is zero and `found` has nothing but zeros.
pub fn not_for_want_of_a_gradient(
    scope: &mut MeasureScope<'_>,
    found: impl IntoIterator<Item = f64>,
) -> Result<(), MeasureError> {
    if found.into_iter().any(|x| x != 0.0) || scope.slope()?.norms.global() != 0.0 {
        return Ok(());
    }
    Err(no_gradient("the gradient"))
}

/// The work of one [`step`].
pub fn step_cost() -> Cost {
    Cost::own(Work::of(1.0, 0.0, 4.0)).outputs().slope()
}

/// The rise of the loss after a step u = rho T g / ‖T g‖.
///
/// # Errors
/// Undefined when the base loss is not finite, or the gradient is not or is zero.
pub fn step(
    scope: &mut MeasureScope<'_>,
    metric: ParameterMetric,
    rho: f64,
    by_tensor: bool,
) -> Result<f64, MeasureError> {
    let base = base_loss(scope)?;
    finite(scope.slope()?.norms.global())?;
    let rise = scope.walk(|point| {
        point.measure_in(metric.clone());
        let slope = point.gradient()?;
        if slope.norms.global() == 0.0 {
            return Ok(None);
        }
        point.ascend(&normalizing(&slope.norms, rho, by_tensor))?;
        Ok(Some(point.look()?.loss - base))
    })?;
    rise.ok_or_else(|| no_gradient(named(&metric)))
}

/// The gradient, as what it is in a metric.
fn named(metric: &ParameterMetric) -> &'static str {
    if *metric == ParameterMetric::Plain {
        "the gradient"
    } else {
        "T∘g, the gradient scaled by the weights,"
    }
}

fn finite(norm: f64) -> Result<(), MeasureError> {
    match norm.is_finite() {
        true => Ok(()),
        false => Err(MeasureError::Undefined("the gradient is not finite".into())),
    }
}

/// What u is held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// A ball: ‖u‖₂ ≤ rho.
    Ball,
    /// A box: |u_i| ≤ rho for every i.
    Box,
}

/// How long steps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Step k is 2 rho (1 - k / steps).
    Falling,
    /// Each is 4 rho / steps: in all, twice across.
    Even,
}

/// Added to a norm before it divides.
const LEAST: f64 = 1e-12;

/// An ascent of many steps.
#[derive(Debug, Clone)]
pub struct Climb {
    /// Metric in which u is measured.
    pub metric: ParameterMetric,
    /// Region that u must stay in.
    pub within: Within,
    /// Size of the region, rho.
    pub rho: f64,
    /// Number of ascent steps.
    pub steps: u32,
    /// Length of each step.
    pub pace: Pace,
}

impl Climb {
    /// The work of [`Climb::highest`] with this number of steps.
    pub fn cost(steps: u32) -> Cost {
        let more = f64::from(steps) - 1.0;
        // The loss after a step comes with the gradient of the next one.
        Cost::own(Work::of(more + 1.0, more, 3.0 * f64::from(steps) + 1.0)).outputs().slope()
    }

    /// The greatest rise seen after any step, at least 0.
    ///
    /// # Errors
    /// Undefined when a loss on the way is not finite, or the gradient at its beginning is zero.
    pub fn highest(&self, scope: &mut MeasureScope<'_>) -> Result<f64, MeasureError> {
        let base = base_loss(scope)?;
        scope.slope()?;
        let losses = scope.walk(|point| self.losses(point))?;
        if losses.is_empty() {
            return Err(no_gradient(named(&self.metric)));
        }
        match losses.iter().position(|loss| !loss.is_finite()) {
            None => Ok(losses.into_iter().fold(base, f64::max) - base),
            Some(step) => {
                let reason = format!("the loss is {} after {} steps", losses[step], step + 1);
                Err(MeasureError::Undefined(reason))
            }
        }
    }

    fn size(&self, k: u32) -> f64 {
        let steps = f64::from(self.steps);
        match self.pace {
            Pace::Falling => 2.0 * self.rho * (1.0 - f64::from(k) / steps),
            Pace::Even => 4.0 * self.rho / steps,
        }
    }

    /// The losses after each step; none where there is no way to begin.
    fn losses(&self, point: &mut dyn Point) -> Result<Vec<f64>, Fault> {
        let mut losses = Vec::new();
        point.measure_in(self.metric.clone());
        for k in 0..self.steps {
            let slope = point.gradient()?;
            if k == 0 && slope.norms.global() == 0.0 {
                return Ok(losses);
            }
            if k > 0 {
                losses.push(slope.loss);
            }
            if !slope.norms.global().is_finite() {
                losses.push(f64::NAN);
                return Ok(losses);
            }
            let size = self.size(k);
            match self.within {
                Within::Box => point.ascend_in_box(size, self.rho)?,
                Within::Ball => {
                    let tensors = slope.norms.squares.len();
                    let norms = point.ascend(&vec![size / (slope.norms.global() + LEAST); tensors])?;
                    let pull = over(self.rho, norms.global()).min(1.0);
                    point.shrink(&vec![pull; tensors]);
                }
            }
        }
        losses.push(point.look()?.loss);
        Ok(losses)
    }
}
