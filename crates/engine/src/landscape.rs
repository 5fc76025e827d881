//! What a measure sees: a loss over parameters near one snapshot, never a model or a device.
//!
//! Owns: the traits of a landscape and of a point that moves over it. May not touch: how a loss or a perturbation is
//! computed; `Quadratic` in the tests is a landscape with known answers.

use crate::device::ascent::{AscentJob, Reached};
use crate::device::metric::ParameterMetric;
use crate::device::noise::Purpose;
use crate::device::norms::Norms;
use crate::device::slot::Slot;
use crate::outputs::{CheckedRows, Outputs};
use crate::spectrum::Spectrum;
use clino_domain::{Fault, TensorStatistics};
use std::ops::Range;
use std::sync::Arc;

/// The loss of one probe group around the parameters w0 of one snapshot.
pub trait Landscape {
    /// What is told of w0 itself.
    fn position(&self) -> &dyn Position;

    /// What is known of every unit at w0: of every example, or token with a label.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    fn outputs(&mut self) -> Result<Arc<Outputs>, Fault>;

    /// Losses of a few of the examples at w0, which rise, and if asked for the norms of the gradient of their mean. Nothing of
    /// it is kept or counted.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    fn rows(&mut self, rows: &[usize], with_gradient: bool) -> Result<CheckedRows, Fault>;

    /// The gradient at w0 of the loss of this group, or of the group named `of`: computed once and kept, until that of
    /// another group is asked for. From then on points find it ready.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    fn slope(&mut self, of: Option<&str>) -> Result<GradientSummary, Fault>;

    /// Runs `job` for each of the draws, each on a point of its own that starts at w0; several at a time. What a job
    /// finds is the same whatever the number of threads.
    ///
    /// # Errors
    /// The first fault of a job; `Cancelled` if a stop was requested.
    fn visit(&mut self, draws: &[u32], job: Job<'_>) -> Result<(), Fault>;

    /// Which units belong to each example, for those that have one.
    fn examples(&self) -> Vec<Range<usize>>;

    /// A number for every unit, in the order of the outputs: of its content, and another for each of equal ones. In another
    /// order of the examples each has the same.
    fn keys(&self) -> Vec<u64>;

    /// ‖gradient at w0 of the mean loss‖² of each part of the examples.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    fn squares(&mut self, parts: &[ExampleShare]) -> Result<Vec<f64>, Fault>;

    /// The same beside the product of that gradient with the one of all examples of the group.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    fn squares_and_products(&mut self, parts: &[ExampleShare]) -> Result<Vec<[f64; 2]>, Fault>;

    /// Sum of the outputs under squared parameters and an input of ones (Neyshabur et al. 2015); `None` where it means
    /// nothing: for all but ReLU networks.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    fn path_norm(&mut self) -> Result<Option<f64>, Fault>;

    /// Singular values of every matrix, in the order of the slots; made once a snapshot.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested; if the initialization cannot be read back.
    fn spectra(&self, of: Matrices) -> Result<Arc<Vec<Spectrum>>, Fault>;
}

/// What is told of the parameters w0 by themselves.
pub trait Position: Sync {
    /// The tensors that are not tied to another, in the order of the names' bytes.
    fn slots(&self) -> &[Slot];

    /// How many parameters these have.
    fn parameters(&self) -> usize {
        self.slots().iter().map(|slot| slot.len).sum()
    }

    /// l2 norms of the tensors.
    fn norms(&self) -> &Norms;

    /// Statistics of every tensor, alone and against what it is compared with.
    fn statistics(&self) -> &[TensorStatistics];

    /// Relative round-off of the arithmetic: 2^-52 or 2^-23.
    fn epsilon(&self) -> f64;

    /// A uniform number in (0, 1) for the example with this key, another for each draw.
    fn uniform(&self, draw: u32, example: u64) -> f64;

    /// The place of the example with this key in an order of chance.
    fn place(&self, example: u64) -> u64;

    /// Σ log(floor² + slope² (w - init)²) over the elements of each tensor; `None` without an initialization.
    ///
    /// # Errors
    /// If the initialization cannot be read back.
    fn log_sums(&self, slope: f64, floor: f64) -> Result<Option<Vec<f64>>, Fault>;
}

/// The matrices whose singular values are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matrices {
    /// The weight matrices W themselves.
    Weights,
    /// W - W at initialization; none without an initialization.
    Moves,
}

/// A part of the units of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExampleShare {
    /// Which of them, by their places among the outputs.
    pub examples: Vec<usize>,
    /// Another class in the place of their own.
    pub label: Option<usize>,
}

/// A loss and the l2 norms by tensor of its gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientSummary {
    /// Mean loss of the examples.
    pub loss: f64,
    /// Of the gradient, in the coordinates of the point.
    pub norms: Norms,
}

/// What is seen at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PointView {
    /// Mean loss of the examples; may be non-finite.
    pub loss: f64,
    /// Share of right predictions; NaN where outputs are no scores of classes.
    pub accuracy: f64,
}

/// What happens on a point in one draw.
pub type Job<'a> = &'a (dyn Fn(&mut dyn Point, u32) -> Result<(), Fault> + Sync);

/// A direction at w0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    /// The gradient that [`Landscape::slope`] keeps.
    Gradient,
    /// w0 less the previous snapshot.
    Update,
}

/// A movable point w = w0 + T∘u; w0 itself never changes. It starts with u = 0 and T = 1.
pub trait Point: Vectors {
    /// From now on u is counted in `metric`. Back at w0.
    fn measure_in(&mut self, metric: ParameterMetric);

    /// l2 norms by tensor of a draw of noise.
    ///
    /// # Errors
    /// If the device is lost.
    fn noise_norms(&mut self, draw: u32, purpose: Purpose) -> Result<Norms, Fault>;

    /// u = scale * noise, a scale for each tensor.
    fn perturb(&mut self, draw: u32, purpose: Purpose, scales: &[f64]);

    /// u = the direction, in plain coordinates; false when there is none.
    ///
    /// # Errors
    /// When the previous snapshot cannot be read back.
    fn follow(&mut self, along: Along) -> Result<bool, Fault>;

    /// u = Σ coefficient * (the filter-normalized direction of a draw).
    fn on_plane(&mut self, terms: &[(u32, f64)]);

    /// u · v of the filter-normalized directions of two draws.
    ///
    /// # Errors
    /// If the device is lost.
    fn plane_product(&mut self, draws: [u32; 2]) -> Result<f64, Fault>;

    /// u = scale * the u that was set by the last of the other calls.
    fn stretch(&mut self, scale: f64);

    /// u = factor * u, a factor for each tensor.
    fn shrink(&mut self, factors: &[f64]);

    /// Computes loss and gradient along u at the point.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    fn gradient(&mut self) -> Result<GradientSummary, Fault>;

    /// u = u + scale * (the last gradient), a scale for each tensor; returns the l2 norms of u. Uses the gradient up.
    ///
    /// # Errors
    /// If the device is lost.
    fn ascend(&mut self, scales: &[f64]) -> Result<Norms, Fault>;

    /// u = u + step * sign(the last gradient), pulled back to |u| ≤ bound.
    ///
    /// # Errors
    /// If the device is lost.
    fn ascend_in_box(&mut self, step: f64, bound: f64) -> Result<(), Fault>;

    /// Carries out an order from w0, in plain coordinates.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    fn carry_out(&mut self, order: &AscentJob<'_>) -> Result<Reached, Fault>;

    /// Looks at the loss there.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested.
    fn look(&mut self) -> Result<PointView, Fault>;
}

/// A vector over all parameters that a point keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorId(pub(super) usize);

/// Vectors over all parameters that a point keeps beside u. They go with the point. What computes may fail with a lost
/// device.
pub trait Vectors {
    /// Keeps the last gradient. Uses it up.
    fn keep_gradient(&mut self) -> VectorId;

    /// Keeps a draw of noise.
    ///
    /// # Errors
    /// If the device is lost.
    fn keep_noise(&mut self, draw: u32, purpose: Purpose) -> Result<VectorId, Fault>;

    /// Keeps a vector of zeros.
    ///
    /// # Errors
    /// If the device is lost.
    fn keep_zeros(&mut self) -> Result<VectorId, Fault>;

    /// Gives a vector's room back.
    fn release(&mut self, vector: VectorId);

    /// u = scale * vector.
    fn go(&mut self, vector: VectorId, scale: f64);

    /// vector = factor * vector.
    ///
    /// # Errors
    /// If the device is lost.
    fn scale(&mut self, vector: VectorId, factor: f64) -> Result<(), Fault>;

    /// to = keep * to + factor * from, another vector.
    ///
    /// # Errors
    /// If the device is lost.
    fn combine(&mut self, to: VectorId, keep: f64, from: VectorId, factor: f64) -> Result<(), Fault>;

    /// a · b.
    ///
    /// # Errors
    /// If the device is lost.
    fn product(&mut self, a: VectorId, b: VectorId) -> Result<f64, Fault>;

    /// The last gradient · noise.
    ///
    /// # Errors
    /// If the device is lost.
    fn gradient_with_noise(&mut self, draw: u32, purpose: Purpose) -> Result<f64, Fault>;
}
