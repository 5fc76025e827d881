//! Functions of one number in a form that loops over slices turn into vectors: no branch, no call, no table look-up.
//!
//! Owns: e^x, Φ(x), and the two halves of Box-Muller. May not touch: slices.

use super::real::Real;
use super::widest::MulAdd;
use std::f64::consts::{FRAC_PI_2, LOG2_E};

/// Horner's rule, lowest power first.
#[inline(always)]
fn polynomial<M: MulAdd, T: Real>(m: M, x: T, coefficients: &[T]) -> T {
    let mut sum = coefficients[coefficients.len() - 1];
    for c in coefficients[..coefficients.len() - 1].iter().rev() {
        sum = m.fma(sum, x, *c);
    }
    sum
}

/// e^x to about one last place; 0 below the range of the type, the value at its end above; NaN stays NaN.
#[inline(always)]
pub fn exp<M: MulAdd, T: Real>(m: M, x: T) -> T {
    let tables = T::TABLES;
    let [least, most] = tables.exp_range;
    // Comparisons that are false for NaN, so that it goes on.
    let below = x < least;
    let x = if below { least } else { x };
    let x = if x > most { most } else { x };
    let shifted = m.fma(x, T::of(LOG2_E), tables.integer);
    let n = shifted - tables.integer;
    let r = m.fma(-n, tables.ln2[1], m.fma(-n, tables.ln2[0], x));
    let value = polynomial(m, r, tables.exp).times_power(shifted);
    if below { T::ZERO } else { value }
}

/// Φ(x), the distribution function of the standard normal, and its density at x.
#[inline(always)]
pub fn normal<M: MulAdd, T: Real>(m: M, x: T) -> (T, T) {
    let z = x.abs();
    let e = exp(m, T::of(-0.5) * z * z);
    let t = T::ONE / m.fma(z, T::of(0.25), T::ONE);
    let tail = e * t * polynomial(m, t + t - T::ONE, T::TABLES.mills);
    (if x > T::ZERO { T::ONE - tail } else { tail }, e * T::of(0.398_942_280_401_432_7))
}

/// √(-2 ln u) for u = (word + 1/2) / 2^32: the length in Box-Muller.
#[inline(always)]
pub fn radius<M: MulAdd, T: Real>(m: M, word: u32) -> T {
    let unit = |word: u32| (T::of_unsigned(word) + T::of(0.5)) * T::of(1.0 / 4_294_967_296.0);
    let (e, mantissa) = unit(word).split();
    // Near 1 the number would round; 1 - u does not.
    let near = word >= 0xB504_F334;
    let f = if near { -unit(!word) } else { mantissa - T::ONE };
    let e = if near { T::ZERO } else { e };
    let s = f / (T::of(2.0) + f);
    let ln = m.fma(s + s, polynomial(m, s * s, T::TABLES.atanh), e * T::of(std::f64::consts::LN_2));
    (T::of(-2.0) * ln).sqrt()
}

/// (sin, cos) of 2π (word + 1/2) / 2^32: the direction in Box-Muller.
#[inline(always)]
pub fn direction<M: MulAdd, T: Real>(m: M, word: u32) -> (T, T) {
    let quadrant = word.wrapping_add(1 << 29) >> 30;
    let rest = word.wrapping_sub(quadrant << 30) as i32;
    let x = (T::of_signed(rest) + T::of(0.5)) * T::of(FRAC_PI_2 / 1_073_741_824.0);
    let square = x * x;
    let sin = x * polynomial(m, square, T::TABLES.sin);
    let cos = polynomial(m, square, T::TABLES.cos);
    let odd = quadrant & 1 == 1;
    let (a, b) = if odd { (cos, sin) } else { (sin, cos) };
    (a.flip((quadrant >> 1) & 1), b.flip(((quadrant + 1) >> 1) & 1))
}

#[cfg(test)]
mod tests {
    use super::super::widest::{Apart, Fused};
    use super::*;
    use proptest::prelude::*;

    fn close(found: f64, want: f64, places: f64, epsilon: f64) -> bool {
        (found - want).abs() <= places * epsilon * want.abs().max(epsilon)
    }

    #[test]
    fn the_ends_and_nan() {
        assert_eq!(exp(Fused, 0f32), 1.0);
        assert_eq!(exp(Fused, 0f64), 1.0);
        assert!(exp(Fused, f32::NAN).is_nan() && exp(Apart, f64::NAN).is_nan());
        assert!(exp(Fused, -f32::NAN).is_nan() && exp(Fused, -f64::NAN).is_nan());
        assert_eq!((exp(Fused, f32::NEG_INFINITY), exp(Fused, f64::NEG_INFINITY)), (0.0, 0.0));
        assert!(exp(Fused, 1e5f32).is_finite() && exp(Fused, 1e5f64).is_finite());
        assert_eq!(normal(Fused, 40f64).0, 1.0);
        assert!(normal(Fused, f32::NAN).0.is_nan());
        for word in [0, 1, 0xB504_F333, 0xB504_F334, u32::MAX] {
            let want = (-2.0 * libm::log((f64::from(word) + 0.5) / 4_294_967_296.0)).sqrt();
            assert!(close(radius(Fused, word), want, 4.0, f64::EPSILON), "{word}");
            assert!(close(f64::from(radius::<_, f32>(Fused, word)), want, 4.0, 1.2e-7), "{word}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn they_follow_libm(x in -80f64..80.0, z in -9f64..9.0, word: u32) {
            let narrow = x as f32;
            prop_assert!(close(exp(Fused, x), libm::exp(x), 3.0, f64::EPSILON));
            prop_assert!(close(exp(Apart, x), libm::exp(x), 3.0, f64::EPSILON));
            prop_assert!(close(f64::from(exp(Fused, narrow)), libm::exp(f64::from(narrow)), 2.0, 1.2e-7));
            let cdf = |z: f64| 0.5 * libm::erfc(-z * std::f64::consts::FRAC_1_SQRT_2);
            prop_assert!((normal(Fused, z).0 - cdf(z)).abs() < 4e-16);
            prop_assert!((f64::from(normal(Fused, z as f32).0) - cdf(f64::from(z as f32))).abs() < 2e-7);
            let unit = (f64::from(word) + 0.5) / 4_294_967_296.0;
            let length = (-2.0 * libm::log(unit)).sqrt();
            prop_assert!(close(radius(Fused, word), length, 4.0, f64::EPSILON));
            prop_assert!(close(f64::from(radius::<_, f32>(Fused, word)), length, 4.0, 1.2e-7));
            let (sin, cos) = libm::sincos(std::f64::consts::TAU * unit);
            let (a, b) = direction::<_, f64>(Fused, word);
            prop_assert!((a - sin).abs() < 2e-15 && (b - cos).abs() < 2e-15);
            let (a, b) = direction::<_, f32>(Apart, word);
            prop_assert!((f64::from(a) - sin).abs() < 2e-7 && (f64::from(b) - cos).abs() < 2e-7);
        }
    }
}
