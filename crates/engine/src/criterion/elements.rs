//! Losses that are the mean of the same function over the numbers of a unit.
//!
//! Owns: that mean. May not touch: the function.

use super::{Criterion, Target};

/// A function of one output and what it is held against.
pub trait ElementLoss: Send + Sync {
    /// What protocol and messages call it.
    const NAME: &'static str;

    /// The loss of the number at this place of a unit.
    fn loss(&self, place: usize, output: f64, target: f64) -> f64;

    /// Its derivative along the output.
    fn slope(&self, place: usize, output: f64, target: f64) -> f64;
}

impl<L: ElementLoss> Criterion for L {
    fn name(&self) -> &'static str {
        L::NAME
    }

    fn loss(&self, outputs: &[f64], target: Target<'_>) -> f64 {
        let pairs = outputs.iter().zip(target.values()).enumerate();
        let sum: f64 = pairs.map(|(place, (z, y))| ElementLoss::loss(self, place, *z, *y)).sum();
        sum / outputs.len() as f64
    }

    fn slopes(&self, outputs: &[f64], target: Target<'_>, slopes: &mut [f64]) {
        let count = outputs.len() as f64;
        let pairs = outputs.iter().zip(target.values());
        for (place, (slope, (z, y))) in slopes.iter_mut().zip(pairs).enumerate() {
            *slope = self.slope(place, *z, *y) / count;
        }
    }
}
