//! Scores of examples, and what is read off them.
//!
//! Owns: cross-entropy and the choice of a class, in f64. May not touch: where scores come from.

/// Scores of every example of a group at w0.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outputs {
    /// Logits, [examples, classes], row-major.
    pub logits: Vec<f64>,
    /// Class of each example, [examples].
    pub labels: Vec<usize>,
    /// Number of classes of the model.
    pub classes: usize,
}

impl Outputs {
    /// The rows of the logits with their labels.
    pub fn examples(&self) -> impl Iterator<Item = (&[f64], usize)> + '_ {
        self.logits.chunks_exact(self.classes).zip(self.labels.iter().copied())
    }

    /// Mean cross-entropy in nats.
    pub fn loss(&self) -> f64 {
        self.examples().map(|(row, label)| cross_entropy(row, label)).sum::<f64>() / self.labels.len() as f64
    }

    /// Share of the examples whose greatest score is that of their label.
    pub fn accuracy(&self) -> f64 {
        let right = self.examples().filter(|(row, label)| greatest(row) == *label).count();
        right as f64 / self.labels.len() as f64
    }

    /// Probabilities of each example's classes.
    pub fn probabilities(&self) -> impl Iterator<Item = Vec<f64>> + '_ {
        self.examples().map(|(row, _)| {
            let total = log_sum_exp(row);
            row.iter().map(|z| libm::exp(z - total)).collect()
        })
    }

    /// Score of the label less the best other score, for every example.
    pub fn logit_margins(&self) -> Vec<f64> {
        self.examples().map(|(row, label)| row[label] - best_other(row, label)).collect()
    }
}

/// Cross-entropy of one row of logits, in nats.
pub fn cross_entropy(row: &[f64], label: usize) -> f64 {
    log_sum_exp(row) - row[label]
}

/// log Σ exp(row), shifted by the greatest score.
pub fn log_sum_exp(row: &[f64]) -> f64 {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + libm::log(row.iter().map(|z| libm::exp(z - top)).sum::<f64>())
}

/// The class with the greatest score: the first of equal ones.
pub fn greatest(row: &[f64]) -> usize {
    row.iter().enumerate().fold(0, |best, (class, z)| if *z > row[best] { class } else { best })
}

/// The best score of another class than `label`.
pub fn best_other(row: &[f64], label: usize) -> f64 {
    let others = row.iter().enumerate().filter(|(class, _)| *class != label);
    others.map(|(_, z)| *z).fold(f64::NEG_INFINITY, f64::max)
}

/// The max(1, n / 10)-th smallest: Jiang et al.'s tenth percentile.
pub fn tenth_percentile(margins: &[f64]) -> f64 {
    let mut sorted = margins.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() / 10).max(1) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_survives_large_scores() {
        assert!((cross_entropy(&[1e4, 0.0], 1) - 1e4).abs() < 1e-9);
        assert!((cross_entropy(&[0.0, 0.0, 0.0, 0.0], 2) - 4f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn the_first_of_equal_scores_counts() {
        assert_eq!(greatest(&[1.0, 3.0, 3.0]), 1);
    }

    #[test]
    fn a_percentile_of_few_is_the_least() {
        assert_eq!(tenth_percentile(&[3.0, 1.0, 2.0]), 1.0);
        assert_eq!(tenth_percentile(&(0..30).rev().map(f64::from).collect::<Vec<_>>()), 2.0);
    }
}
