//! Products of the Hessian with vectors, by central differences of the gradient: (g(w0 + h v) - g(w0 - h v)) / 2h.
//!
//! Two gradients and no second derivatives. The error is that of the third derivatives times h² and of the rounding over
//! h. In f64 both are small at ‖h v‖ = 1e-7 ‖w0‖: on the smooth golden cases the relative error is at most 1e-8 along
//! random directions and 2e-7 along the top eigenvector. In f32 no step is good for all: along random directions
//! rounding counts most (1e-4 ‖w0‖: at most 1e-3), along the top eigenvector of a sharp minimum the third derivatives
//! (1e-5 ‖w0‖: at most 2e-3), and Lanczos' vectors lie between. Networks with kinks have no Hessian at the scale of the
//! step: there the difference sees the kinks that it crosses, which derivatives do not.
//!
//! Owns: the step, products, and what vectors may take of the memory. May not touch: what is read off them.

use super::super::{MeasureError, MeasureParameter, MeasureParameters, ParameterKind};
use crate::device::noise::Purpose;
use crate::landscape::{Point, Position, VectorId};
use clino_domain::{Fault, Work};

/// Of a product with a kept vector.
pub const PRODUCT: Work = Work::of(2.0, 2.0, 5.0);

/// Along what the differences go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceAlong {
    /// Vectors drawn at random.
    Random,
    /// Vectors of Lanczos' iteration.
    Krylov,
    /// The eigenvector of the largest eigenvalue.
    Top,
}

/// ‖h v‖ of the differences.
pub fn step(position: &dyn Position, along: DifferenceAlong) -> f64 {
    let relative = match along {
        _ if position.epsilon() < 1e-10 => 1e-7,
        DifferenceAlong::Random => 1e-4,
        DifferenceAlong::Krylov => 3e-5,
        DifferenceAlong::Top => 1e-5,
    };
    let norm = position.norms().global();
    relative * if norm > 0.0 { norm } else { 1.0 }
}

/// H v for a vector of length 1.
///
/// # Errors
/// `Cancelled` if a stop was requested.
pub fn product(point: &mut dyn Point, v: VectorId, step: f64) -> Result<VectorId, Fault> {
    point.go(v, step);
    point.gradient()?;
    let up = point.keep_gradient();
    point.go(v, -step);
    point.gradient()?;
    let down = point.keep_gradient();
    point.combine(up, 0.5 / step, down, -0.5 / step)?;
    point.release(down);
    Ok(up)
}

/// A draw of noise, brought to length 1.
///
/// # Errors
/// If the device is lost.
pub fn unit_noise(point: &mut dyn Point, draw: u32, purpose: Purpose) -> Result<VectorId, Fault> {
    let v = point.keep_noise(draw, purpose)?;
    let norm = point.product(v, v)?.sqrt();
    point.scale(v, super::climb::over(1.0, norm))?;
    Ok(v)
}

/// The most memory of the vectors that a measure of the Hessian keeps.
pub const MAX_MIB: MeasureParameter = MeasureParameter {
    name: "max_mib",
    summary: "Maximum MiB of vectors, each as long as the parameters, that are kept at once.",
    kind: ParameterKind::Count { default: 4096, least: 1, most: 16_384 },
};

/// Bytes of a MiB.
const MIB: f64 = (1u64 << 20) as f64;

/// How many vectors of this many bytes there is room for.
pub fn room(p: &MeasureParameters, bytes: usize) -> u32 {
    (f64::from(p.count(MAX_MIB.name)) * MIB / bytes.max(1) as f64) as u32
}

/// Bytes of a vector over all parameters.
pub fn vector_bytes(position: &dyn Position) -> usize {
    position.parameters() * if position.epsilon() < 1e-10 { 8 } else { 4 }
}

/// MiB that this many vectors take, rounded up.
pub fn mib(vectors: u32, bytes: usize) -> f64 {
    (f64::from(vectors) * bytes as f64 / MIB).ceil()
}

/// Most bytes of a basis that is not bounded by [`MAX_MIB`].
const MOST_BYTES: f64 = (16u64 << 30) as f64;

/// Refuses a basis of `vectors` that would take more memory than a daemon should.
///
/// # Errors
/// [`MeasureError::Unavailable`] with the sum.
pub fn admit(position: &dyn Position, vectors: u32) -> Result<(), MeasureError> {
    let bytes = vector_bytes(position) as f64 * f64::from(vectors + 3);
    if bytes <= MOST_BYTES {
        return Ok(());
    }
    let gib = |bytes: f64| bytes / (1u64 << 30) as f64;
    Err(MeasureError::Unavailable(format!(
        "{vectors} vectors of {} parameters take {:.1} GiB, more than {:.0}: use fewer steps",
        position.parameters(),
        gib(bytes),
        gib(MOST_BYTES)
    )))
}
