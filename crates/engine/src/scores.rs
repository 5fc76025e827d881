//! What is read off the scores of classes of one unit.
//!
//! Owns: cross-entropy, margins and entropy, in f64. May not touch: where scores come from, losses that are not of classes.

/// What is read off the scores of one unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoreStatistics {
    /// Whether the greatest score is that of the label; the first of equal ones counts.
    pub right: bool,
    /// Score of the label less the best other score.
    pub logit_margin: f64,
    /// The same of the probabilities.
    pub probability_margin: f64,
    /// Entropy of the probabilities, in nats.
    pub entropy: f64,
    /// Whether no score is NaN.
    pub ordered: bool,
    /// Whether every score is finite.
    pub finite: bool,
}

impl ScoreStatistics {
    /// Of a unit's scores.
    pub fn of(scores: &[f64], label: usize) -> Self {
        let best = best_other(scores, label);
        let total = log_sum_exp(scores);
        Self {
            right: greatest(scores) == label,
            logit_margin: scores[label] - best,
            probability_margin: libm::exp(scores[label] - total) - libm::exp(best - total),
            entropy: entropy(scores, total),
            ordered: !scores.iter().any(|z| z.is_nan()),
            finite: scores.iter().all(|z| z.is_finite()),
        }
    }
}

/// -Σ_c p(c) log p(c), with log Σ exp of the scores.
fn entropy(scores: &[f64], total: f64) -> f64 {
    let term = |z: &f64| {
        let p = libm::exp(z - total);
        // p log p goes to 0 with p, also where log p is no longer finite.
        if p == 0.0 { 0.0 } else { p * (total - z) }
    };
    scores.iter().map(term).sum()
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
    fn certain_and_unsure() {
        let entropy = |scores: &[f64]| ScoreStatistics::of(scores, 0).entropy;
        assert_eq!(entropy(&[0.0, -1e6, -1e6]), 0.0);
        assert!((entropy(&[2.0; 8]) - 8f64.ln()).abs() < 1e-15);
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
