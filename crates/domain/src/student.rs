//! Student's distribution.
//!
//! Owns: its tail and its quantiles. May not touch: what is concluded from them.
//!
//! Elementary functions come from `libm`, so that every machine gives the same bits.

/// P(T > t) of Student's distribution with `freedom` degrees: the finite sums 26.7.3 and 26.7.4 of Abramowitz and Stegun.
pub fn tail(t: f64, freedom: usize) -> f64 {
    if t.is_infinite() || freedom == 0 {
        return if t > 0.0 { 0.0 } else { 1.0 };
    }
    let angle = libm::atan(t.abs() / libm::sqrt(freedom as f64));
    let sin = libm::sin(angle);
    let cos = libm::cos(angle);
    // The first term, and the first factor of the next: even degrees begin with 1, odd ones with cos.
    let (mut term, first) = if freedom.is_multiple_of(2) { (1.0, 1) } else { (cos, 2) };
    let mut sum = 0.0;
    for k in 0..freedom / 2 {
        sum += term;
        let factor = (first + 2 * k) as f64;
        term *= cos * cos * factor / (factor + 1.0);
    }
    let within = if freedom.is_multiple_of(2) {
        sin * sum
    } else {
        (angle + if freedom > 1 { sin * sum } else { 0.0 }) * std::f64::consts::FRAC_2_PI
    };
    if t > 0.0 { (1.0 - within) / 2.0 } else { (1.0 + within) / 2.0 }
}

/// The t that P(|T| > t) = 1 - `level` has, by bisection; infinite without a degree of freedom.
pub fn two_sided(level: f64, freedom: usize) -> f64 {
    if freedom == 0 {
        return f64::INFINITY;
    }
    let beyond = (1.0 - level) / 2.0;
    let mut low = 0.0;
    let mut high = 1.0;
    while tail(high, freedom) > beyond {
        (low, high) = (high, 2.0 * high);
    }
    // Until the ends are neighbours.
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return high;
        }
        if tail(middle, freedom) > beyond {
            low = middle;
        } else {
            high = middle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_have_their_closed_forms() {
        // One degree is Cauchy: 1/2 - atan(t)/π. Two: 1/2 - t/(2 √(2 + t²)).
        assert!((tail(1.0, 1) - 0.25).abs() < 1e-15);
        assert!((tail(-1.0, 1) - 0.75).abs() < 1e-15);
        assert!((tail(1.0, 2) - (0.5 - 0.5 / 3f64.sqrt())).abs() < 1e-15);
        // Three: 1/2 - (θ + sin θ cos θ)/π with tan θ = t/√3, at t = √3: θ = π/4.
        let three = 0.5 - (std::f64::consts::FRAC_PI_4 + 0.5) / std::f64::consts::PI;
        assert!((tail(3f64.sqrt(), 3) - three).abs() < 1e-15);
        // From the tables: t at 0.05 with 8 degrees, 0.025 with 13.
        assert!((tail(1.859_548_037_530_9, 8) - 0.05).abs() < 1e-12);
        assert!((tail(2.160_368_656_462_8, 13) - 0.025).abs() < 1e-12);
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, wanted) in
            [(1, 12.706_205), (2, 4.302_653), (3, 3.182_446), (7, 2.364_624), (63, 1.998_341)]
        {
            assert!((two_sided(0.95, freedom) - wanted).abs() < 1e-6, "{freedom}");
        }
        assert!((two_sided(0.95, 4095) - 1.960_54).abs() < 1e-5);
        assert_eq!(two_sided(0.95, 0), f64::INFINITY);
    }
}
