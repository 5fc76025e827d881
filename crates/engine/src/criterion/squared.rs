//! (z - y)², the mean over the numbers of a unit.
//!
//! Owns: its formula. May not touch: sums over units.

use super::elements::ElementLoss;

/// Squared error; the module has the formula.
#[derive(Debug, Clone, Copy)]
pub struct SquaredError;

impl ElementLoss for SquaredError {
    const NAME: &'static str = "squared_error";

    fn loss(&self, _: usize, output: f64, target: f64) -> f64 {
        (output - target) * (output - target)
    }

    fn slope(&self, _: usize, output: f64, target: f64) -> f64 {
        2.0 * (output - target)
    }
}
