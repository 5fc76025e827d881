//! Huber's loss: d²/2 within δ and δ (|d| - δ/2) beyond, d = z - y; smooth: the same divided by δ (|d| where δ is 0). The mean
//! over the numbers of a unit. Source: Huber 1964.
//!
//! Owns: its formula. May not touch: sums over units.

use super::elements::ElementLoss;

/// Huber's loss; the module has the formula.
#[derive(Debug, Clone, Copy)]
pub struct Huber {
    /// Where it becomes linear.
    pub delta: f64,
    /// Whether it is divided by delta.
    pub smooth: bool,
}

impl Huber {
    /// What the loss that is linear with slope 1 beyond δ is multiplied by.
    fn scale(&self) -> f64 {
        if self.smooth { 1.0 } else { self.delta }
    }
}

impl ElementLoss for Huber {
    const NAME: &'static str = "huber";

    fn loss(&self, _: usize, output: f64, target: f64) -> f64 {
        let d = (output - target).abs();
        let near = d < self.delta;
        self.scale() * if near { d * d / (2.0 * self.delta) } else { d - self.delta / 2.0 }
    }

    fn slope(&self, _: usize, output: f64, target: f64) -> f64 {
        let d = output - target;
        // At 0 the derivative of |d| is 0, as in PyTorch.
        let steep = if d == 0.0 { 0.0 } else { d.signum() };
        self.scale() * if d.abs() < self.delta { d / self.delta } else { steep }
    }
}
