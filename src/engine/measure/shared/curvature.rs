//! Products of the Hessian with vectors, by central differences of the gradient: (g(w0 + h v) - g(w0 - h v)) / 2h.
//!
//! Two gradients and no second derivatives. The error is that of the third derivatives times h² and of the rounding over
//! h. In f64 both are small at ‖h v‖ = 1e-7 ‖w0‖: on the smooth golden cases the relative error is at most 1e-8 along
//! random directions and 2e-7 along the top eigenvector. In f32 no step is good for all: along random directions
//! rounding counts most (1e-4 ‖w0‖: at most 1e-3), along the top eigenvector of a sharp minimum the third derivatives
//! (1e-5 ‖w0‖: at most 2e-3), and Lanczos' vectors lie between. Networks with kinks have no Hessian at the scale of the
//! step: there the difference sees the kinks that it crosses, which derivatives do not.
//!
//! Owns: the step, and Lanczos' iteration. May not touch: what is read off it.

use super::super::Shortfall;
use crate::domain::{Fault, Work};
use crate::engine::landscape::{Kept, Point, Position};
use crate::engine::noise::Purpose;

/// Of a product with a kept vector.
pub const PRODUCT: Work = Work::of(2.0, 2.0, 5.0);

/// Along what the differences go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    /// Random vectors.
    Random,
    /// Vectors of Lanczos' iteration.
    Krylov,
    /// The top eigenvector.
    Top,
}

/// ‖h v‖ of the differences.
pub fn step(position: &dyn Position, along: Along) -> f64 {
    let relative = match along {
        _ if position.epsilon() < 1e-10 => 1e-7,
        Along::Random => 1e-4,
        Along::Krylov => 3e-5,
        Along::Top => 1e-5,
    };
    let norm = position.norms().global();
    relative * if norm > 0.0 { norm } else { 1.0 }
}

/// H v for a vector of length 1.
///
/// # Errors
/// A stop.
pub fn product(point: &mut dyn Point, v: Kept, step: f64) -> Result<Kept, Fault> {
    point.go(v, step);
    point.gradient()?;
    let up = point.keep_gradient();
    point.go(v, -step);
    point.gradient()?;
    let down = point.keep_gradient();
    point.combine((up, 0.5 / step), (down, -0.5 / step))?;
    point.release(down);
    Ok(up)
}

/// A draw of noise, brought to length 1.
///
/// # Errors
/// A lost device.
pub fn unit_noise(point: &mut dyn Point, draw: u32, purpose: Purpose) -> Result<Kept, Fault> {
    let v = point.keep_noise(draw, purpose)?;
    let norm = point.product(v, v)?.sqrt();
    point.scale(v, super::climb::over(1.0, norm))?;
    Ok(v)
}

/// A tridiagonal matrix: H seen from one vector.
#[derive(Debug, Clone, Default)]
pub struct Tridiagonal {
    /// Its diagonal.
    pub diagonal: Vec<f64>,
    /// What stands beside it; one longer than it needs to be: the last is the residual's norm.
    pub beside: Vec<f64>,
}

impl Tridiagonal {
    /// The elements beside the diagonal.
    pub fn beside(&self) -> &[f64] {
        &self.beside[..self.diagonal.len().saturating_sub(1)]
    }

    /// Whether all of it is finite.
    pub fn is_finite(&self) -> bool {
        self.diagonal.iter().chain(&self.beside).all(|x| x.is_finite())
    }
}

/// Below this a residual is rounding, and the iteration has seen all that there is.
const NOTHING: f64 = 1e-12;

/// Lanczos' iteration from a vector of length 1, each new vector orthogonal to all before it (twice, as rounding wants).
/// Ends after `steps`, or when `enough` says so after a step.
///
/// # Errors
/// A stop.
pub fn lanczos(
    point: &mut dyn Point,
    from: Kept,
    (steps, step): (u32, f64),
    mut enough: impl FnMut(&Tridiagonal) -> Result<bool, Fault>,
) -> Result<Tridiagonal, Fault> {
    let mut basis = vec![from];
    let mut found = Tridiagonal::default();
    for j in 0..steps as usize {
        let next = product(point, basis[j], step)?;
        found.diagonal.push(point.product(next, basis[j])?);
        for _ in 0..2 {
            for q in &basis {
                let along = point.product(next, *q)?;
                point.combine((next, 1.0), (*q, -along))?;
            }
        }
        let norm = point.product(next, next)?.sqrt();
        found.beside.push(norm);
        let seen = norm < NOTHING || !norm.is_finite();
        if seen || j + 1 == steps as usize || enough(&found)? {
            break;
        }
        point.scale(next, 1.0 / norm)?;
        basis.push(next);
    }
    Ok(found)
}

/// Vectors that Lanczos' iteration keeps at once, in a model with so many parameters.
pub fn vectors(steps: u32, model: usize) -> u32 {
    (u64::from(steps).min(model as u64) as u32).saturating_add(3)
}

/// Most bytes of a basis.
const MOST_BYTES: f64 = (16u64 << 30) as f64;

/// Refuses a basis of `vectors` that would take more memory than a daemon should.
///
/// # Errors
/// [`Shortfall::Unavailable`] with the sum.
pub fn admit(position: &dyn Position, vectors: u32) -> Result<(), Shortfall> {
    let parameters: usize = position.slots().iter().map(|slot| slot.len).sum();
    let size = if position.epsilon() < 1e-10 { 8.0 } else { 4.0 };
    let bytes = size * parameters as f64 * f64::from(vectors + 3);
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    let gib = |bytes: f64| bytes / (1u64 << 30) as f64;
    Err(Shortfall::Unavailable(format!(
        "{vectors} vectors of {parameters} parameters take {:.1} GiB, more than {:.0}: ask for fewer steps",
        gib(bytes),
        gib(MOST_BYTES)
    )))
}
