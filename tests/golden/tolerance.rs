//! How near a reading must come to the oracle.
#![allow(dead_code, reason = "not every test measures in both precisions")]

use super::table::Class;

/// What is allowed: f32 rounds to 6e-8 and f64 to 1e-16, and a value is what many roundings made of it. A difference
/// of losses also carries the rounding of each loss, hence a floor per unit of loss: one last place of f32 (2^-23). A
/// margin is a difference of two scores, and carries the rounding of scores as large as the largest margin. Differences
/// of gradients carry the third derivatives, and in f32 the rounding over the step. The optimizer of the oracle is
/// another one than ours.
#[derive(Clone, Copy)]
pub struct Tolerance {
    /// As `--precision` has it.
    pub name: &'static str,
    relative: f64,
    losses: f64,
    /// Of a difference of losses, per unit of loss.
    floor: f64,
    curvature: f64,
}

/// In f64.
pub const F64: Tolerance =
    Tolerance { name: "f64", relative: 1e-9, losses: 1e-9, floor: 1e-13, curvature: 1e-6 };
/// In f32.
pub const F32: Tolerance =
    Tolerance { name: "f32", relative: 1e-5, losses: 1e-4, floor: 1.2e-7, curvature: 3e-3 };
const OPTIMIZER: f64 = 0.3;

impl Tolerance {
    /// Of a number that ought to be `wanted`, beside others of which `largest` is the largest, where the loss is `loss`.
    pub fn allows(&self, class: Class, wanted: f64, largest: f64, loss: f64) -> f64 {
        match class {
            Class::Plain => self.relative * wanted.abs(),
            Class::Margin => self.relative * wanted.abs() + self.floor * largest,
            Class::Difference => self.losses * wanted.abs() + self.floor * (loss + wanted.abs()),
            // Both losses are rounded, and little else is left of them.
            Class::Slight => self.losses * wanted.abs() + 2.0 * self.floor * (loss + wanted.abs()),
            // The error of the rise over its slope, where the rise of a draw grows at least as the root of the radius.
            Class::Crossing => 2.0 * self.losses * largest,
            // A slope along a random direction may be far less than others are.
            Class::Curvature => self.curvature * largest,
            // Each product that made the basis carries that error, and the basis all of them.
            Class::Sketched => 6.0 * self.curvature * largest,
            Class::Optimizer => OPTIMIZER * wanted.abs(),
        }
    }
}
