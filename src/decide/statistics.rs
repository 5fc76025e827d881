//! Quantiles, tails of distributions and trends, as rules need them.
//!
//! Owns: their formulas. May not touch: what is concluded from them.
//!
//! Elementary functions come from `libm`, so that every machine gives the same bits.

pub use clino_domain::student::tail as student_tail;

/// Percentile `q` (0 to 100) of numbers in rising order, interpolated linearly; the arithmetic is that of NumPy, to the
/// last bit. NaN of no numbers.
pub fn percentile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = last as f64 * (q / 100.0);
    let below = place.floor();
    if place >= last as f64 {
        return sorted[last];
    }
    let a = sorted[below as usize];
    let b = sorted[below as usize + 1];
    let t = place - below;
    let gap = b - a;
    if t >= 0.5 { b - gap * (1.0 - t) } else { a + gap * t }
}

/// P(Z > z) of a standard normal variable.
pub fn normal_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}

/// A straight line through readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// What it rises from the first step to the last.
    pub rise: f64,
    /// Standard error of the rise.
    pub stderr: f64,
    /// Of Student's distribution; `None`: the errors were given, the distribution is normal.
    pub freedom: Option<usize>,
}

impl Trend {
    /// P(a rise of at most `than` looks like this one, or more so).
    pub fn above(&self, than: f64) -> f64 {
        self.tail(self.rise - than)
    }

    /// P(a rise of at least `than` looks like this one, or less so).
    pub fn below(&self, than: f64) -> f64 {
        self.tail(than - self.rise)
    }

    fn tail(&self, gap: f64) -> f64 {
        // No scatter at all: what is seen is certain.
        if self.stderr == 0.0 {
            return if gap > 0.0 { 0.0 } else { 1.0 };
        }
        match self.freedom {
            None => normal_tail(gap / self.stderr),
            Some(freedom) => student_tail(gap / self.stderr, freedom),
        }
    }
}

/// The line through `(step, value, standard error)`, of at least three rising steps.
///
/// Weights are 1/σ² where every reading has a standard error σ above 0; the error of the slope b is then
/// 1/√Σ w (x - x̄)². Else all weights are 1, and the error is √(Σ r²/(n - 2) / Σ (x - x̄)²) with the residuals r.
pub fn trend(readings: &[(u64, f64, Option<f64>)]) -> Option<Trend> {
    let first = readings.first()?.0;
    let last = readings.last()?.0;
    let freedom = readings.len().checked_sub(2).filter(|freedom| *freedom > 0)?;
    let sigma = |stderr: Option<f64>| stderr.filter(|sigma| sigma.is_finite() && *sigma > 0.0);
    let known = readings.iter().all(|(.., stderr)| sigma(*stderr).is_some());
    // Steps as shares of the whole way, so that the slope is the rise.
    let way = (last - first) as f64;
    let rows: Vec<[f64; 3]> = readings
        .iter()
        .map(|(step, value, stderr)| {
            let weight = sigma(*stderr).filter(|_| known).map_or(1.0, |sigma| 1.0 / (sigma * sigma));
            [(step - first) as f64 / way, *value, weight]
        })
        .collect();
    let total: f64 = rows.iter().map(|[_, _, w]| w).sum();
    let mean = |of: fn(&[f64; 3]) -> f64| rows.iter().map(|row| row[2] * of(row)).sum::<f64>() / total;
    let x = mean(|row| row[0]);
    let y = mean(|row| row[1]);
    let spread: f64 = rows.iter().map(|row| row[2] * (row[0] - x) * (row[0] - x)).sum();
    let rise = rows.iter().map(|row| row[2] * (row[0] - x) * (row[1] - y)).sum::<f64>() / spread;
    let residual = |row: &[f64; 3]| row[1] - y - rise * (row[0] - x);
    let stderr = match known {
        true => libm::sqrt(1.0 / spread),
        false => {
            let squares: f64 = rows.iter().map(|row| residual(row) * residual(row)).sum();
            libm::sqrt(squares / freedom as f64 / spread)
        }
    };
    let finite = rise.is_finite() && stderr.is_finite();
    finite.then_some(Trend { rise, stderr, freedom: (!known).then_some(freedom) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn percentiles_are_interpolated() {
        let xs = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(percentile(&xs, 50.0), 3.0);
        assert_eq!(percentile(&xs, 0.0), 1.0);
        assert_eq!(percentile(&xs, 100.0), 8.0);
        assert_eq!(percentile(&xs, 25.0), 1.75);
        assert_eq!(percentile(&xs[..1], 30.0), 1.0);
        assert!(percentile(&[], 50.0).is_nan());
    }

    #[test]
    fn tails_have_their_closed_forms() {
        assert!((normal_tail(1.959_963_984_540_054) - 0.025).abs() < 1e-15);
        assert_eq!(normal_tail(0.0), 0.5);
        assert!((student_tail(1.96, 3_000) - normal_tail(1.96)).abs() < 1e-4);
    }

    #[test]
    fn a_line_is_found_again() {
        let line: Vec<_> = (0..5).map(|i| (100 + 10 * i, 3.0 - 0.5 * i as f64, None)).collect();
        let found = trend(&line).unwrap();
        assert!((found.rise + 2.0).abs() < 1e-12 && found.stderr < 1e-12);
        assert_eq!(found.freedom, Some(3));
        // y = 0, 1, 0 at x = 0, 1, 2: no slope; residuals of -1/3, 2/3, -1/3, so that s² = 2/3 over one degree.
        let found = trend(&[(0, 0.0, None), (1, 1.0, None), (2, 0.0, None)]).unwrap();
        assert!(found.rise.abs() < 1e-15);
        assert!((found.stderr - 2.0 * (2.0f64 / 3.0 / 2.0).sqrt()).abs() < 1e-12);
        assert_eq!(trend(&line[..2]), None);
    }

    #[test]
    fn errors_of_readings_are_the_weights() {
        // Equal errors σ: the error of the slope is σ/√Σ(x - x̄)², here over a way of 2 with Σ = 2.
        let found = trend(&[(0, 0.0, Some(0.1)), (1, 5.0, Some(0.1)), (2, 1.0, Some(0.1))]).unwrap();
        assert!((found.rise - 1.0).abs() < 1e-12);
        assert!((found.stderr - 2.0 * 0.1 / 2f64.sqrt()).abs() < 1e-12);
        assert_eq!(found.freedom, None);
        // A reading with a huge error does not count.
        let found = trend(&[(0, 0.0, Some(0.1)), (1, 99.0, Some(1e9)), (2, 1.0, Some(0.1))]).unwrap();
        assert!((found.rise - 1.0).abs() < 1e-9);
        assert!((found.stderr - 0.1 * 2f64.sqrt()).abs() < 1e-9);
        assert_eq!(Trend { rise: 1.0, stderr: 0.0, freedom: None }.above(0.5), 0.0);
        assert_eq!(Trend { rise: 0.5, stderr: 0.0, freedom: None }.above(0.5), 1.0);
        assert_eq!(Trend { rise: -1.0, stderr: 1.0, freedom: None }.below(0.0), normal_tail(1.0));
    }
}
