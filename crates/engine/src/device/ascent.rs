//! Perturb, ascend, project, as one order: so that a device can do it without asking back in between.
//!
//! Owns: the form of the order, the lengths of its steps and the way back into its balls. May not touch: who carries it
//! out, where radii come from.

use crate::device::norms::Norms;

/// Unit of the noise and of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepUnit {
    /// As they are: `noise * n`, `step * g`.
    Absolute,
    /// Fractions of the radius: `noise * p * n / ‖n‖`, `step * p * g / ‖g‖`.
    Radius,
}

/// What is held in which ball.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// All parameters as one vector.
    Global,
    /// Each tensor in a ball of the one radius.
    Tensor,
    /// Each tensor in a ball of its own radius; noise and step are fractions of that.
    Layer,
}

/// One draw: u = noise; then, for each step, u = u + step * gradient, pulled back into a ball around w0.
#[derive(Debug, Clone, Copy)]
pub struct AscentJob<'a> {
    /// Number of the draw that the noise belongs to.
    pub draw: u32,
    /// Size of the noise, in `unit`.
    pub noise: f64,
    /// Size of a step.
    pub step: f64,
    /// Number of steps after the noise.
    pub steps: u32,
    /// Unit of the sizes of noise and step.
    pub unit: StepUnit,
    /// What is held in which ball.
    pub region: Region,
    /// Radius of each tensor's ball; of the one ball, repeated.
    pub radii: &'a [f64],
}

/// Where a draw has come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reached {
    /// The loss at the end of the draw.
    pub loss: f64,
    /// l2 norm of u; 0 without steps.
    pub displacement: f64,
}

/// a / b, and 0 where b is 0: where the gradient vanishes there is nowhere to ascend to.
pub fn over(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

impl AscentJob<'_> {
    /// What brings a vector with these norms to `size` in the order's unit.
    pub fn scales(&self, size: f64, norms: &Norms) -> Vec<f64> {
        let global = norms.global();
        let of = |(radius, square): (&f64, &f64)| match (self.unit, self.region) {
            (StepUnit::Absolute, _) => size,
            (StepUnit::Radius, Region::Layer) => over(size * radius, square.sqrt()),
            (StepUnit::Radius, _) => over(size * radius, global),
        };
        self.radii.iter().zip(&norms.squares).map(of).collect()
    }

    /// What pulls a displacement with these norms back, and its norm afterwards.
    pub fn pull(&self, norms: &Norms) -> (Vec<f64>, f64) {
        let pull = |norm: f64, radius: f64| if norm < radius { 1.0 } else { over(radius, norm) };
        let factors: Vec<f64> = match self.region {
            Region::Global => self.radii.iter().map(|radius| pull(norms.global(), *radius)).collect(),
            _ => norms.squares.iter().zip(self.radii).map(|(s, radius)| pull(s.sqrt(), *radius)).collect(),
        };
        let left = norms.squares.iter().zip(&factors).map(|(square, f)| square * f * f).sum::<f64>();
        (factors, left.sqrt())
    }
}
