//! Binary cross-entropy of scores z before the sigmoid: -p y log σ(z) - (1 - y) log(1 - σ(z)), p the weight of the positive
//! label. The mean over the numbers of a unit.
//!
//! Owns: its formula. May not touch: sums over units.

use super::elements::ElementLoss;
use clino_domain::Fault;

/// Binary cross-entropy; the module has the formula.
#[derive(Debug, Clone, PartialEq)]
pub struct BinaryCrossEntropy {
    /// Of the positive label: one for all, or one for each place along the last axis.
    positive: Vec<f64>,
}

/// log(1 + exp(x)), without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

fn sigmoid(x: f64) -> f64 {
    match x >= 0.0 {
        true => 1.0 / (1.0 + libm::exp(-x)),
        false => libm::exp(x) / (1.0 + libm::exp(x)),
    }
}

impl BinaryCrossEntropy {
    /// With these weights of the positive label for units of `width` numbers; none: 1.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] when the weights do not divide the numbers.
    pub fn of(positive: &[f64], width: usize) -> Result<Self, Fault> {
        if !positive.is_empty() && !width.is_multiple_of(positive.len()) {
            let found = positive.len();
            let description =
                format!("found {found} weights, expected one, or one for each of the {width} scores");
            return Err(Fault::invalid("model.loss.binary_cross_entropy.positive_weights", description));
        }
        Ok(Self { positive: if positive.is_empty() { vec![1.0] } else { positive.to_vec() } })
    }

    fn weight(&self, place: usize) -> f64 {
        self.positive[place % self.positive.len()]
    }
}

impl ElementLoss for BinaryCrossEntropy {
    const NAME: &'static str = "binary_cross_entropy";

    fn loss(&self, place: usize, output: f64, target: f64) -> f64 {
        self.weight(place) * target * softplus(-output) + (1.0 - target) * softplus(output)
    }

    fn slope(&self, place: usize, output: f64, target: f64) -> f64 {
        let positive = sigmoid(output);
        (1.0 - target) * positive - self.weight(place) * target * sigmoid(-output)
    }
}
