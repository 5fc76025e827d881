//! Cross-entropy of classes, in nats: -Σ_c q(c) log softmax(z)(c) with q the label, smoothed: (1 - s) at the label and s/C
//! everywhere. With weights of classes each term has that of its class, and a unit that of its label, as in PyTorch.
//!
//! Owns: its formula. May not touch: which labels count.

use super::{Criterion, Target};
use crate::scores::{ScoreStatistics, cross_entropy, log_sum_exp};
use clino_domain::{Fault, graph};

/// Cross-entropy of classes; the module has the formula.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CrossEntropy {
    smoothing: f64,
    /// Of each class; none: 1 each.
    weights: Vec<f64>,
}

impl CrossEntropy {
    /// That of a specification for so many classes.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] for another number of weights than of classes, and for weights that no mean can
    /// be made with.
    pub fn of(spec: &graph::CrossEntropy, classes: usize) -> Result<Self, Fault> {
        let weights = spec.class_weights.clone();
        let wrong = |found: String| {
            let expected = format!(
                "{classes} of them, one for each class of the output, 0 or more; more than 0 beside smoothing"
            );
            let description = format!("found {found}, expected {expected}");
            Err(Fault::invalid("model.loss.cross_entropy.class_weights", description))
        };
        let sound =
            |weight: &f64| weight.is_finite() && (*weight > 0.0 || (*weight == 0.0 && spec.smoothing == 0.0));
        if !weights.is_empty() && weights.len() != classes {
            return wrong(format!("{} weights", weights.len()));
        }
        if let Some(weight) = weights.iter().find(|weight| !sound(weight)) {
            return wrong(weight.to_string());
        }
        Ok(Self { smoothing: spec.smoothing, weights })
    }

    fn of_class(&self, class: usize) -> f64 {
        self.weights.get(class).copied().unwrap_or(1.0)
    }

    fn is_plain(&self) -> bool {
        self.smoothing == 0.0 && self.weights.is_empty()
    }

    /// Share of each class in the target, for a unit of weight 1.
    fn share(&self, class: usize, label: usize, classes: usize) -> f64 {
        if self.of_class(label) == 0.0 {
            return 0.0;
        }
        let own = if class == label { 1.0 - self.smoothing } else { 0.0 };
        let spread = self.smoothing / classes as f64;
        (own * self.of_class(label) + spread * self.of_class(class)) / self.of_class(label)
    }

    fn label(target: Target<'_>) -> usize {
        target.class().unwrap_or(0)
    }
}

impl Criterion for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn loss(&self, scores: &[f64], target: Target<'_>) -> f64 {
        let label = Self::label(target);
        if self.is_plain() {
            return cross_entropy(scores, label);
        }
        let total = log_sum_exp(scores);
        let term = |(class, z): (usize, &f64)| match self.share(class, label, scores.len()) {
            // A class without a share counts nothing, however unlikely it is.
            0.0 => 0.0,
            share => share * (total - z),
        };
        scores.iter().enumerate().map(term).sum()
    }

    fn slopes(&self, scores: &[f64], target: Target<'_>, slopes: &mut [f64]) {
        let label = Self::label(target);
        let total = log_sum_exp(scores);
        let classes = scores.len();
        let all: f64 = match self.is_plain() {
            true => 1.0,
            false => (0..classes).map(|class| self.share(class, label, classes)).sum(),
        };
        for (class, (slope, z)) in slopes.iter_mut().zip(scores).enumerate() {
            let share = match self.is_plain() {
                true => f64::from(u8::from(class == label)),
                false => self.share(class, label, classes),
            };
            *slope = all * libm::exp(z - total) - share;
        }
    }

    fn weight_by_target(&self, target: Target<'_>) -> Option<f64> {
        Some(self.of_class(Self::label(target)))
    }

    fn statistics(&self, scores: &[f64], target: Target<'_>) -> Option<ScoreStatistics> {
        Some(ScoreStatistics::of(scores, Self::label(target)))
    }

    fn no_classes(&self) -> Option<String> {
        None
    }

    fn no_likelihood(&self) -> Option<String> {
        (!self.is_plain()).then(|| "the loss has smoothed labels or weights of classes".into())
    }
}
