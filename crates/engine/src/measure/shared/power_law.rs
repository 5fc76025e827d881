//! A power law fitted to eigenvalues: density ~ x^-alpha above a lower end, by maximum likelihood, with the lower end at
//! which the Kolmogorov-Smirnov distance is least (Clauset et al. 2009).
//!
//! Owns: the fit. May not touch: whose eigenvalues they are.

/// A power law fitted to a tail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerLaw {
    /// Exponent of the law.
    pub alpha: f64,
    /// Smallest value of the fitted tail.
    pub from: f64,
    /// Kolmogorov-Smirnov distance above it.
    pub distance: f64,
}

/// The best law for numbers in falling order; zeros are left out. `None` where no tail has two different numbers.
pub fn fit(falling: &[f64]) -> Option<PowerLaw> {
    let mut logs: Vec<f64> = falling.iter().filter(|x| **x > 0.0).map(|x| x.ln()).collect();
    logs.reverse();
    let mut best: Option<PowerLaw> = None;
    for i in 0..logs.len().saturating_sub(1) {
        let tail = &logs[i..];
        let n = tail.len() as f64;
        let total: f64 = tail.iter().map(|x| x - tail[0]).sum();
        if total <= 0.0 {
            continue;
        }
        let alpha = 1.0 + n / total;
        let gap = |(k, x): (usize, &f64)| (1.0 - ((1.0 - alpha) * (x - tail[0])).exp() - k as f64 / n).abs();
        let distance = tail.iter().enumerate().map(gap).fold(0.0, f64::max);
        if best.is_none_or(|best| distance < best.distance) {
            best = Some(PowerLaw { alpha, from: tail[0].exp(), distance });
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_law_give_it_back() {
        let n = 400;
        let x: Vec<f64> = (0..n).map(|i| ((f64::from(i) + 0.5) / f64::from(n)).powf(-1.0 / 1.5)).collect();
        let law = fit(&x).expect("a law");
        assert!((law.alpha - 2.5).abs() < 0.05, "{law:?}");
        assert_eq!(fit(&[2.0, 2.0, 2.0, 0.0]), None);
        assert_eq!(fit(&[]), None);
    }
}
