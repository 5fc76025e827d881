//! Number formats and roundings that Rust has no type for: half precision, bfloat16, directed rounding.
//!
//! Owns: these formats, bit by bit. May not touch: registers or instructions.

/// IEEE half precision, by its bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct F16(pub u16);

/// bfloat16, by its bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Bf16(pub u16);

#[inline(always)]
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// `x` to the nearest number of `precision` bits whose smallest normal exponent is `lowest`; ties to even.
/// Scaling by a power of two is exact, so this rounds once.
#[inline(always)]
fn round_to(x: f64, precision: i32, lowest: i32) -> f64 {
    let exponent = ((x.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(lowest);
    let quantum = power_of_two(exponent - precision + 1);
    (x / quantum).round_ties_even() * quantum
}

impl F16 {
    #[inline(always)]
    pub fn to_f64(self) -> f64 {
        let (exponent, fraction) = (i32::from(self.0 >> 10 & 31), f64::from(self.0 & 1023));
        let size = match exponent {
            0 => fraction * power_of_two(-24),
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1024.0 + fraction) * power_of_two(exponent - 25),
        };
        if self.0 >> 15 == 1 { -size } else { size }
    }

    #[inline(always)]
    pub fn from_f64(x: f64) -> Self {
        let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
        if x.is_nan() {
            return Self(0x7fff);
        }
        let size = x.abs();
        if size >= 65520.0 {
            return Self(sign | 0x7c00);
        }
        // Subnormal numbers and normal ones share one ladder of bits: the carry into the exponent is right by itself.
        let size = round_to(size, 11, -14);
        if size < power_of_two(-14) {
            return Self(sign | (size * power_of_two(24)) as u16);
        }
        let exponent = (size.to_bits() >> 52) as i32 - 1023;
        let fraction = (size / power_of_two(exponent) - 1.0) * 1024.0;
        Self(sign | ((((exponent + 15) as u16) << 10) + fraction as u16))
    }
}

impl Bf16 {
    #[inline(always)]
    pub fn to_f64(self) -> f64 {
        f64::from(f32::from_bits(u32::from(self.0) << 16))
    }

    #[inline(always)]
    pub fn from_f64(x: f64) -> Self {
        if x.is_nan() {
            return Self(0x7fff);
        }
        // Rounded to eight bits first, the number is a f32 exactly, or infinite.
        let rounded = if x.is_finite() { round_to(x, 8, -126) as f32 } else { x as f32 };
        Self((rounded.to_bits() >> 16) as u16)
    }
}

/// The ways PTX rounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
}

impl Rounding {
    pub const fn from_code(code: u32) -> Self {
        match code {
            1 => Self::Zero,
            2 => Self::Down,
            3 => Self::Up,
            _ => Self::Nearest,
        }
    }
}

/// `high + low`, where `high` is the nearest f64 of the exact value and `low` what is missing, as a f32.
#[inline(always)]
pub fn narrow(high: f64, low: f64, rounding: Rounding) -> f32 {
    let near = high as f32;
    if rounding == Rounding::Nearest || near.is_nan() || high.is_infinite() {
        return near;
    }
    let (above, below) = (
        f64::from(near) > high || (f64::from(near) == high && low < 0.0),
        f64::from(near) < high || (f64::from(near) == high && low > 0.0),
    );
    match rounding {
        Rounding::Down if above => near.next_down(),
        Rounding::Up if below => near.next_up(),
        Rounding::Zero if above && high > 0.0 => near.next_down(),
        Rounding::Zero if below && high < 0.0 => near.next_up(),
        _ => near,
    }
}

/// What `high`, the rounded sum of `a` and `b`, lacks of the exact sum (Knuth's two-sum).
#[inline(always)]
pub fn residual(a: f64, b: f64, high: f64) -> f64 {
    let part = high - a;
    (a - (high - part)) + (b - part)
}

/// `a * b + c` of f32 in any rounding: the product is exact in f64.
#[inline(always)]
pub fn fma_directed(a: f32, b: f32, c: f32, rounding: Rounding) -> f32 {
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let high = product + c;
    narrow(high, residual(product, c, high), rounding)
}

/// The sum of f64 in any rounding.
#[inline(always)]
pub fn add_directed(a: f64, b: f64, rounding: Rounding) -> f64 {
    let high = a + b;
    let low = residual(a, b, high);
    if !high.is_finite() || low == 0.0 || low.is_nan() {
        return high;
    }
    match rounding {
        Rounding::Down if low < 0.0 => high.next_down(),
        Rounding::Up if low > 0.0 => high.next_up(),
        Rounding::Zero if low < 0.0 && high > 0.0 => high.next_down(),
        Rounding::Zero if low > 0.0 && high < 0.0 => high.next_up(),
        _ => high,
    }
}

macro_rules! extremes {
    ($max:ident, $min:ident, $t:ty) => {
        /// The larger one; a NaN loses, and +0 is above -0.
        #[inline(always)]
        pub fn $max(a: $t, b: $t) -> $t {
            let tie = if a.is_sign_negative() { b } else { a };
            let larger = if a > b { a } else { b };
            if a.is_nan() {
                b
            } else if b.is_nan() {
                a
            } else if a == b {
                tie
            } else {
                larger
            }
        }

        /// The smaller one; a NaN loses, and -0 is below +0.
        #[inline(always)]
        pub fn $min(a: $t, b: $t) -> $t {
            -$max(-a, -b)
        }
    };
}

extremes!(max32, min32, f32);
extremes!(max64, min64, f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_comes_back() {
        for bits in 0..=u16::MAX {
            let x = F16(bits).to_f64();
            assert!(x.is_nan() || F16::from_f64(x) == F16(bits), "{bits:#x} is {x}");
            let y = Bf16(bits).to_f64();
            assert!(y.is_nan() || Bf16::from_f64(y) == Bf16(bits), "{bits:#x} is {y}");
        }
    }

    #[test]
    fn halves_round_to_even() {
        assert_eq!(F16::from_f64(1.0 + 1.0 / 2048.0), F16(0x3c00));
        assert_eq!(F16::from_f64(1.0 + 3.0 / 2048.0), F16(0x3c02));
        assert_eq!(F16::from_f64(65519.0), F16(0x7bff));
        assert_eq!(F16::from_f64(65520.0), F16(0x7c00));
        assert_eq!(Bf16::from_f64(1.0 + 1.0 / 256.0), Bf16(0x3f80));
        assert_eq!(Bf16::from_f64(f64::MAX), Bf16(0x7f80));
    }

    #[test]
    fn directed_roundings_enclose_the_exact_value() {
        let (a, b, c) = (1.0f32, 1.0 + f32::EPSILON, f32::EPSILON * f32::EPSILON);
        assert_eq!(fma_directed(a, b, c, Rounding::Down), b);
        assert_eq!(fma_directed(a, b, c, Rounding::Up), b.next_up());
        assert_eq!(fma_directed(-a, b, -c, Rounding::Zero), -b);
        assert_eq!(add_directed(1.0, -1e-30, Rounding::Zero), 1.0f64.next_down());
        assert_eq!(add_directed(1.0, 1e-30, Rounding::Up), 1.0f64.next_up());
        assert_eq!(add_directed(1.0, 1e-30, Rounding::Zero), 1.0);
    }

    #[test]
    fn a_nan_loses_and_zeros_have_an_order() {
        assert_eq!(max32(f32::NAN, 1.0), 1.0);
        assert_eq!(min64(2.0, f64::NAN), 2.0);
        assert!(max32(-0.0, 0.0).is_sign_positive() && max32(0.0, -0.0).is_sign_positive());
        assert!(min64(-0.0, 0.0).is_sign_negative() && min64(0.0, -0.0).is_sign_negative());
    }
}
