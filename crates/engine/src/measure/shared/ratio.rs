//! A ratio of two estimates by the jackknife, with Fieller's interval.
//!
//! Owns: the arithmetic. May not touch: what is divided by what.

use clino_domain::Interval;
use clino_domain::reading::LEVEL;
use clino_domain::student::two_sided;

/// Two estimates of the same data with their spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Above and below the line.
    pub of: [f64; 2],
    /// Their variances and, in the middle, their covariance.
    spread: [f64; 3],
    /// Parts that were left out in turn, less one.
    freedom: usize,
}

impl Ratio {
    /// Of the estimates from everything, and those without each of at least two parts in turn.
    pub fn jackknife(of: [f64; 2], without: &[[f64; 2]]) -> Self {
        let n = without.len() as f64;
        let mean = [0, 1].map(|i| without.iter().map(|pair| pair[i]).sum::<f64>() / n);
        let sum = |i: usize, k: usize| {
            without.iter().map(|pair| (pair[i] - mean[i]) * (pair[k] - mean[k])).sum::<f64>()
        };
        let spread = [sum(0, 0), sum(0, 1), sum(1, 1)].map(|sum| sum * (n - 1.0) / n);
        Self { of, spread, freedom: without.len() - 1 }
    }

    /// Standard error of the lower one.
    pub fn below_stderr(&self) -> f64 {
        self.spread[2].sqrt()
    }

    /// Whether the lower one is told from zero at the level of intervals: else the ratio has no bound.
    pub fn is_told(&self) -> bool {
        self.of[1] > two_sided(LEVEL, self.freedom) * self.below_stderr()
    }

    /// Value of the ratio.
    pub fn value(&self) -> f64 {
        self.of[0] / self.of[1]
    }

    /// Its standard error, to first order.
    pub fn stderr(&self) -> f64 {
        let ratio = self.value();
        let [above, both, below] = self.spread;
        (above - 2.0 * ratio * both + ratio * ratio * below).max(0.0).sqrt() / self.of[1].abs()
    }

    /// All r for which above - r below is not told from zero (Fieller 1954): no mean of a skewed ratio is taken.
    /// `None` where they have no bound.
    pub fn interval(&self) -> Option<Interval> {
        let t = two_sided(LEVEL, self.freedom);
        let [above, below] = self.of;
        let [va, both, vb] = self.spread.map(|variance| t * t * variance);
        let square = below * below - vb;
        let middle = above * below - both;
        let rest = above * above - va;
        let root = (middle * middle - square * rest).max(0.0).sqrt();
        let [low, high] = [(middle - root) / square, (middle + root) / square];
        self.is_told().then_some(Interval { low, high, level: LEVEL })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Means of pairs: the jackknife gives the usual variances of means.
    fn of_means(pairs: &[[f64; 2]]) -> Ratio {
        let n = pairs.len() as f64;
        let sum = [0, 1].map(|i| pairs.iter().map(|pair| pair[i]).sum::<f64>());
        let without: Vec<[f64; 2]> =
            pairs.iter().map(|pair| [0, 1].map(|i| (sum[i] - pair[i]) / (n - 1.0))).collect();
        Ratio::jackknife(sum.map(|sum| sum / n), &without)
    }

    #[test]
    fn of_means_it_is_what_is_known_of_means() {
        let found = of_means(&[[1.0, 2.0], [3.0, 2.5], [2.0, 1.5], [4.0, 2.0]]);
        assert_eq!(found.of, [2.5, 2.0]);
        // Sample variances 5/3 and 1/6 over 4, covariance of (-1.5, 0), (0.5, 0.5), (-0.5, -0.5), (1.5, 0): 1/6 over 4.
        let wanted = [5.0 / 12.0, 1.0 / 24.0, 1.0 / 24.0];
        assert!(found.spread.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-14), "{found:?}");
        assert!((found.value() - 1.25).abs() < 1e-15);
        let stderr = (wanted[0] - 2.5 * wanted[1] + 1.5625 * wanted[2]).sqrt() / 2.0;
        assert!((found.stderr() - stderr).abs() < 1e-14);
        // At both ends the difference is as far from zero as t says.
        let interval = found.interval().expect("told");
        assert!(interval.low < 1.25 && 1.25 < interval.high);
        for r in [interval.low, interval.high] {
            let variance = wanted[0] - 2.0 * r * wanted[1] + r * r * wanted[2];
            assert!(((2.5 - 2.0 * r).abs() - 3.182_446_305 * variance.sqrt()).abs() < 1e-7);
        }
    }

    #[test]
    fn what_is_divided_by_noise_has_no_bound() {
        let found = of_means(&[[1.0, 2.0], [3.0, -2.5], [2.0, 1.5], [4.0, 2.0]]);
        assert!(!found.is_told());
        assert_eq!(found.interval(), None);
        assert!(!of_means(&[[1.0, -2.0], [1.0, -2.1], [1.0, -1.9]]).is_told(), "a negative one is none");
    }
}
