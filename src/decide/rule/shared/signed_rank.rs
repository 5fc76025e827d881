//! Wilcoxon's signed-rank test of paired differences.
//!
//! Owns: ranks, ties, zeros, the null distribution. May not touch: what is paired.
//!
//! As SciPy has it with `zero_method="zsplit"` and `method="auto"`: zeros are ranked and count half for either side; the
//! distribution is exact for at most 50 differences without ties and zeros, and for at most 13 with them; else normal,
//! with ties taken off the variance and no correction for continuity.

use crate::decide::statistics::normal_tail;

const MOST_EXACT: usize = 50;
const MOST_EXACT_TIES: usize = 13;

/// P(the sum of the ranks of positive differences is at least this one) if either sign is as likely. The differences must
/// be finite and at least one.
pub fn greater(differences: &[f64]) -> f64 {
    let n = differences.len();
    let (ranks, ties) = ranks(differences);
    let signed = ranks.iter().zip(differences);
    // In quarters, in which everything is whole.
    let weight =
        |(rank, d): (&f64, &f64)| if *d > 0.0 { 4.0 * rank } else { 2.0 * rank * f64::from(*d == 0.0) };
    let observed: f64 = signed.map(weight).sum();
    let plain = ties == 0.0 && differences.iter().all(|d| *d != 0.0);
    if n <= MOST_EXACT_TIES || (plain && n <= MOST_EXACT) {
        return exact(&ranks, differences, observed);
    }
    let n = n as f64;
    let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - ties / 2.0) / 24.0;
    normal_tail((observed / 4.0 - n * (n + 1.0) * 0.25) / libm::sqrt(variance))
}

/// Mean ranks of the magnitudes, and Σ (t³ - t) over their ties.
fn ranks(differences: &[f64]) -> (Vec<f64>, f64) {
    let mut order: Vec<usize> = (0..differences.len()).collect();
    order.sort_by(|a, b| differences[*a].abs().total_cmp(&differences[*b].abs()));
    let mut ranks = vec![0.0; differences.len()];
    let mut ties = 0.0;
    let mut done = 0;
    for tied in order.chunk_by(|a, b| differences[*a].abs() == differences[*b].abs()) {
        let t = tied.len() as f64;
        for place in tied {
            ranks[*place] = done as f64 + (t + 1.0) / 2.0;
        }
        ties += t * t * t - t;
        done += tied.len();
    }
    (ranks, ties)
}

/// Over all 2ⁿ signs. A zero counts half whatever its sign.
fn exact(ranks: &[f64], differences: &[f64], observed: f64) -> f64 {
    let zero = |(rank, d): (&f64, &f64)| 2.0 * rank * f64::from(*d == 0.0);
    let fixed: f64 = ranks.iter().zip(differences).map(zero).sum();
    let free = ranks.iter().zip(differences).filter(|(_, d)| **d != 0.0);
    let mut chances = vec![1.0];
    // In halves: sums of the ranks of those that are not zero.
    for rank in free.map(|(rank, _)| (2.0 * rank) as usize) {
        let mut next = vec![0.0; chances.len() + rank];
        for (sum, chance) in chances.iter().enumerate() {
            next[sum] += chance * 0.5;
            next[sum + rank] += chance * 0.5;
        }
        chances = next;
    }
    let least = ((observed - fixed) / 2.0) as usize;
    let (below, from) = chances.split_at(least.min(chances.len()));
    // The shorter tail is summed, as SciPy does; all these chances are whole multiples of 2⁻ⁿ, so nothing is lost.
    if from.len() <= below.len() { from.iter().sum() } else { 1.0 - below.iter().sum::<f64>() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_samples_are_counted_out() {
        // All positive: only 1 of 2ⁿ sign patterns is as extreme.
        assert_eq!(greater(&[1.0, 2.0, 3.0]), 0.125);
        assert_eq!(greater(&[-1.0, -2.0, -3.0]), 1.0);
        // Ranks 1, 2, 3 with signs -, +, +: W = 5; sums of at least 5: {2,3}, {1,2,3}.
        assert_eq!(greater(&[-0.1, 0.2, 0.3]), 0.25);
        // Ties: ranks 1.5, 1.5, 3; W = 4.5 of sums {0, 1.5, 1.5, 3, 3, 4.5, 4.5, 6}.
        assert_eq!(greater(&[1.0, -1.0, 2.0]), 0.375);
        // A zero is rank 1 and always a half: W = 0.5 + 2 + 3 is the greatest of four equally likely sums.
        assert_eq!(greater(&[0.0, 1.0, 2.0]), 0.25);
        assert_eq!(greater(&[0.0, 0.0]), 1.0);
    }

    #[test]
    fn large_samples_are_normal() {
        // Without ties: W = n(n + 1)/2, mean a half of it, variance n(n + 1)(2n + 1)/24.
        let n = 60.0f64;
        let z = (n * (n + 1.0) / 4.0) / (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt();
        let rising: Vec<f64> = (1..=60).map(f64::from).collect();
        assert!((greater(&rising) - normal_tail(z)).abs() < 1e-15);
        // All tied: every rank is (n + 1)/2 and the variance n (n + 1)²/16.
        let same = vec![1.0; 20];
        let z = (20.0 * 21.0 / 4.0) / (20.0 * 21.0 * 21.0 / 16.0f64).sqrt();
        assert!((greater(&same) - normal_tail(z)).abs() < 1e-15);
    }

    #[test]
    fn ties_and_zeros_are_scipys() {
        // scipy.stats.wilcoxon(d, alternative="greater", zero_method="zsplit").pvalue, SciPy 1.17.1: all signs of 12 and of
        // 13 pairs, the normal distribution of 14, and 10 without ties.
        let twelve = [1.0, -1.0, 2.0, 3.0, -2.0, 2.0, 0.0, 4.0, 1.0, 1.0, -3.0, 5.0];
        assert_eq!(greater(&twelve), 0.080_566_406_25);
        let thirteen = [0.5, 0.5, -0.5, 1.0, 1.5, 1.5, -1.0, 2.0, 2.0, 0.0, 2.5, 3.0, -0.5];
        assert_eq!(greater(&thirteen), 0.012_695_312_5);
        let fourteen = [&twelve[..], &[2.0, 2.0]].concat();
        assert!((greater(&fourteen) - 0.033_283_991_038_766_81).abs() < 1e-14);
        assert_eq!(greater(&[0.3, -0.1, 0.7, 1.2, -0.4, 0.9, 1.5, -0.2, 2.0, 0.05]), 0.041_992_187_5);
    }
}
