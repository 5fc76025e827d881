//! What differs between devices: where vectors over all parameters lie, and who computes with them.
//!
//! A perturbation is written once, against this trait; [`host::Host`] is the CPU and the specification. Nothing here waits for
//! a device but what returns numbers to the host: [`Backend::loss`], [`Backend::norms`], [`Backend::number`],
//! [`Backend::product`], [`Backend::look`] and their like.
//!
//! Owns: the trait, and what a perturbation and a backend tell each other. May not touch: measures, who walks where.

#[cfg(feature = "cuda")]
pub mod cuda;
pub mod host;

use crate::criterion::Target;
use crate::device::ascent::AscentJob;
use crate::device::metric::ParameterMetric;
use crate::device::noise::{Draw, Purpose};
use crate::device::norms::Norms;
use crate::landscape::{GradientSummary, PointView};
use crate::network::Passes;
use crate::network::batch::Batch;
use crate::weights::PreparedSnapshot;
use clino_domain::{Checkpoint, Fault};
use std::ops::Range;

/// The gradient at w0 of some groups.
pub struct Base<B: Backend> {
    /// Its loss and norms.
    pub slope: GradientSummary,
    /// Itself, where every worker finds it.
    pub vector: B::Base,
}

/// What every perturbation on a group shares.
pub struct GroupContext<'a, B: Backend> {
    /// The snapshot that is perturbed.
    pub prepared: &'a PreparedSnapshot<B::Element>,
    /// Which groups of the run the batches are; `None` for other cuts of them.
    #[allow(dead_code, reason = "for backends that keep batches on a device")]
    pub of: Option<&'a Range<usize>>,
    /// The batches of the group, in order.
    pub batches: &'a [&'a Batch],
    /// The gradient at w0 that was asked for last, and whether it is that of this group.
    pub base: Option<(&'a Base<B>, bool)>,
    /// Ends all work early when it is raised.
    pub stop: &'a dyn Checkpoint,
}

impl<B: Backend> Clone for GroupContext<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for GroupContext<'_, B> {}

impl<B: Backend> GroupContext<'_, B> {
    /// Units of the group: examples, or tokens with a label.
    pub fn units(&self) -> usize {
        self.batches.iter().map(|batch| batch.units()).sum()
    }
}

/// Which parameters a network is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The snapshot's own parameters, w0.
    Start,
    /// Those that were placed last.
    Point,
}

/// A direction in parameter space: noise or a stored vector.
pub enum DirectionSource<'a, B: Backend> {
    /// Made as it is needed.
    Noise(Draw),
    /// As it lies there.
    Vector(&'a B::Vector),
}

/// A scale for each slot, in the coordinates of a metric.
pub struct Scaled<'a, B: Backend> {
    /// One scale for each slot.
    pub scales: &'a B::Scales,
    /// T of the metric, as the backend stores it.
    pub unit: &'a B::Unit,
}

/// A vector, and what its slots are multiplied with; the vector is borrowed as `V`.
pub struct Times<'a, B: Backend, V> {
    /// One factor for each slot.
    pub factors: &'a B::Scales,
    /// The vector that the factors multiply.
    pub vector: V,
}

/// The snapshot of a backend's perturbations.
pub type On<'a, B> = &'a PreparedSnapshot<<B as Backend>::Element>;

/// One worker's device. Every function may fail with a lost device or for want of memory, on the host never.
pub trait Backend: Sized + Send {
    /// Number type of the vectors: f32 or f64.
    type Element: Passes;
    /// A flat vector with one element for each parameter.
    type Vector: Send + Sync;
    /// A number for each slot.
    type Scales: Send;
    /// T of a metric.
    type Unit: Send;
    /// Squares of l2 norms by slot.
    type Squares: Send;
    /// The losses of a gradient's examples.
    type Losses;
    /// One number, as the backend stores it.
    type Number;
    /// A gradient at w0 that all workers read.
    type Base: Send + Sync;

    /// Brings a number for each slot there.
    fn scales(&self, scales: &[f64]) -> Result<Self::Scales, Fault>;

    /// Copies T of a metric to the device.
    fn unit(&self, metric: &ParameterMetric) -> Result<Self::Unit, Fault>;

    /// A vector of zeros.
    fn vector(&self, on: On<'_, Self>) -> Result<Self::Vector, Fault>;

    /// Brings a vector there.
    fn write(&self, to: &mut Self::Vector, from: &[Self::Element]) -> Result<(), Fault>;

    /// Lays a gradient at w0 where all workers find it; `alone` when this is the only one.
    fn share(&self, gradient: Self::Vector, alone: bool) -> Result<Self::Base, Fault>;

    /// to = a gradient that was shared.
    fn take_up(&self, from: &Self::Base, to: &mut Self::Vector) -> Result<(), Fault>;

    /// Its memory, for the next one.
    fn reclaim(&self, base: Self::Base) -> Option<Self::Vector>;

    /// The point becomes w0 + T∘(scale * the direction).
    fn place(
        &mut self,
        on: On<'_, Self>,
        u: DirectionSource<'_, Self>,
        by: Scaled<'_, Self>,
    ) -> Result<(), Fault>;

    /// The point becomes w0 + Σ coefficient * (the filter-normalized direction of a draw), in one pass; false where it
    /// has to be made of a vector.
    fn place_on_plane(&mut self, _: On<'_, Self>, _terms: &[(u32, f64)]) -> Result<bool, Fault> {
        Ok(false)
    }

    /// out = the gradient of the mean loss.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested, among others.
    fn gradient(
        &mut self,
        context: GroupContext<'_, Self>,
        at: At,
        out: &mut Self::Vector,
    ) -> Result<Self::Losses, Fault>;

    /// The mean of the losses, copied to the host.
    fn loss(&self, losses: Self::Losses) -> Result<f64, Fault>;

    /// Mean loss and accuracy, which is NaN where the outputs are no scores of classes.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested, among others.
    fn look(&mut self, context: GroupContext<'_, Self>, at: At) -> Result<PointView, Fault>;

    /// Calls `with(outputs, target)` for every unit at w0, in order.
    ///
    /// # Errors
    /// `Cancelled` if a stop was requested, among others.
    fn each_unit(
        &mut self,
        context: GroupContext<'_, Self>,
        with: &mut dyn FnMut(&[f64], Target<'_>),
    ) -> Result<(), Fault>;

    /// out = the noise of a draw.
    fn noise(&self, on: On<'_, Self>, out: &mut Self::Vector, draw: Draw) -> Result<(), Fault>;

    /// Squares of a draw's noise; made once a snapshot.
    fn noise_squares(
        &mut self,
        on: On<'_, Self>,
        draw: u32,
        purpose: Purpose,
    ) -> Result<Self::Squares, Fault>;

    /// Squares of a vector.
    fn squares(&self, on: On<'_, Self>, x: &Self::Vector) -> Result<Self::Squares, Fault>;

    /// g = T∘g; its squares.
    fn to_metric(
        &self,
        on: On<'_, Self>,
        g: &mut Self::Vector,
        unit: &Self::Unit,
    ) -> Result<Self::Squares, Fault>;

    /// x = factor * x + scale * noise, or without noise; its squares.
    fn scale_and_perturb(
        &self,
        on: On<'_, Self>,
        x: &mut Self::Vector,
        factors: &Self::Scales,
        noise: Option<(Draw, &Self::Scales)>,
    ) -> Result<Self::Squares, Fault>;

    /// x = x times its factors + y times its factors; its squares.
    fn combine(
        &self,
        on: On<'_, Self>,
        x: Times<'_, Self, &mut Self::Vector>,
        y: Times<'_, Self, &Self::Vector>,
    ) -> Result<Self::Squares, Fault>;

    /// The scalar product x · y.
    fn product(&self, on: On<'_, Self>, x: &Self::Vector, y: &Self::Vector) -> Result<f64, Fault>;

    /// The scalar product of x and the noise of a draw.
    fn product_with_noise(&self, on: On<'_, Self>, x: &Self::Vector, draw: Draw) -> Result<f64, Fault>;

    /// u = u + step * sign(g), pulled back to |u| ≤ bound.
    fn climb_box(
        &self,
        on: On<'_, Self>,
        u: &mut Self::Vector,
        g: &Self::Vector,
        size: [f64; 2],
    ) -> Result<(), Fault>;

    /// u = u + coefficient * (the filter-normalized direction of a draw).
    fn add_direction(
        &mut self,
        on: On<'_, Self>,
        u: &mut Self::Vector,
        draw: u32,
        coefficient: f64,
    ) -> Result<(), Fault>;

    /// Squares as norms, on the host.
    fn norms(&self, squares: Self::Squares) -> Result<Norms, Fault>;

    /// What brings a vector with these squares to `size` in the order's unit.
    fn steps(
        &self,
        order: &AscentJob<'_>,
        size: f64,
        squares: &Self::Squares,
        radii: &Self::Scales,
    ) -> Result<Self::Scales, Fault>;

    /// What pulls a displacement with these squares back into the order's balls, and its norm afterwards.
    fn project(
        &self,
        order: &AscentJob<'_>,
        squares: &Self::Squares,
        radii: &Self::Scales,
    ) -> Result<(Self::Scales, Self::Number), Fault>;

    /// A number, on the host.
    fn number(&self, number: Self::Number) -> Result<f64, Fault>;
}
