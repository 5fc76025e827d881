//! The two floating-point types in which models are computed on the CPU.
//!
//! Owns: scalar operations of both, and the tables of the vectorized functions. May not touch: vectors.

use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

/// Polynomials and limits of the vectorized functions of the engine, lowest power first.
///
/// Each interpolates its function at Chebyshev nodes, computed with 60 digits; the relative errors stand behind.
pub struct Tables<T: 'static> {
    /// e^r for |r| ≤ ln 2 / 2: 2.5e-9 and 5.6e-20.
    pub exp: &'static [T],
    /// Arguments between which e^x is neither 0 nor infinite.
    pub exp_range: [T; 2],
    /// ln 2 in two parts, the first with zeros at its end so that small multiples of it are exact.
    pub ln2: [T; 2],
    /// atanh(s) / s in s² for |s| ≤ (√2 - 1) / (√2 + 1): 6.9e-10 and 5.2e-23.
    pub atanh: &'static [T],
    /// sin(x) / x in x² for |x| ≤ π/4: 3.4e-9 and 8.9e-25.
    pub sin: &'static [T],
    /// cos(x) in x² for |x| ≤ π/4: 6.5e-11 and 2.1e-23.
    pub cos: &'static [T],
    /// Φ(-z) e^(z²/2) / t in 2t - 1 with t = 1 / (1 + z/4), for z ≥ 0: 2.3e-8 and 3.7e-17.
    pub mills: &'static [T],
    /// 1.5 times the power of two at which the last place is worth one: added and taken away again, it rounds to an
    /// integer, which meanwhile lies in the lowest bits.
    pub integer: T,
}

/// A floating-point type in which the engine computes: `f32` or `f64`.
pub trait Real:
    Copy
    + Default
    + Debug
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
    + Sum
{
    /// The number 0 in this type.
    const ZERO: Self;
    /// The number 1 in this type.
    const ONE: Self;
    /// What is added to the score of a masked key: finite, so that a row without any token stays finite.
    const MASKED: Self;
    /// Of the vectorized functions.
    const TABLES: Tables<Self>;

    /// Converts an f64, rounding to nearest.
    fn of(x: f64) -> Self;
    /// Converts a u32, rounding to nearest.
    fn of_unsigned(x: u32) -> Self;
    /// Converts an i32, rounding to nearest.
    fn of_signed(x: i32) -> Self;
    /// Converts to f64, which is always exact.
    fn wide(self) -> f64;
    /// The absolute value |x|.
    fn abs(self) -> Self;
    /// The square root √x.
    fn sqrt(self) -> Self;
    /// The hyperbolic tangent tanh(x).
    fn tanh(self) -> Self;
    /// self * b + c, rounded once.
    fn fused(self, b: Self, c: Self) -> Self;
    /// self * 2^n for the integer n in the lowest bits of `shifted`, which has [`Tables::integer`] added to it.
    fn times_power(self, shifted: Self) -> Self;
    /// (e, m) with self = m 2^e and m in [√½, √2), for a positive normal number.
    fn split(self) -> (Self, Self);
    /// -self when `negative` is 1, self when it is 0.
    fn flip(self, negative: u32) -> Self;
}

macro_rules! real {
    ($float:ident, $bits:ident, $signed:ident, $mantissa:expr, $tables:expr) => {
        impl Real for $float {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const MASKED: Self = f32::MIN as $float;
            const TABLES: Tables<Self> = $tables;

            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $float
            }
            #[inline(always)]
            fn of_unsigned(x: u32) -> Self {
                x as $float
            }
            #[inline(always)]
            fn of_signed(x: i32) -> Self {
                x as $float
            }
            #[inline(always)]
            fn wide(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $float::abs(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $float::sqrt(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                $float::tanh(self)
            }
            #[inline(always)]
            fn fused(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }
            #[inline(always)]
            fn times_power(self, shifted: Self) -> Self {
                Self::from_bits(self.to_bits().wrapping_add(shifted.to_bits() << $mantissa))
            }
            #[inline(always)]
            fn split(self) -> (Self, Self) {
                const LEAST: $bits = (std::f64::consts::FRAC_1_SQRT_2 as $float).to_bits();
                let above = self.to_bits().wrapping_sub(LEAST);
                let e = (above as $signed) >> $mantissa;
                let m = Self::from_bits((above & ((1 << $mantissa) - 1)).wrapping_add(LEAST));
                let integer = Self::TABLES.integer;
                (Self::from_bits(integer.to_bits().wrapping_add(e as $bits)) - integer, m)
            }
            #[inline(always)]
            fn flip(self, negative: u32) -> Self {
                Self::from_bits(self.to_bits() ^ ($bits::from(negative) << ($bits::BITS - 1)))
            }
        }
    };
}

const F32: Tables<f32> = Tables {
    exp: &[1.0, 1.0, 0.5, 0.16666415, 0.04166635, 0.008375126, 0.0013941108],
    exp_range: [-87.3, 88.3],
    ln2: [0.693_359_4, -2.121_944_4e-4],
    atanh: &[1.0, 0.3333341, 0.19987425, 0.14962195],
    sin: &[1.0, -0.16666651, 0.0083320355, -1.9503904e-4],
    cos: &[1.0, -0.5, 0.041666616, -0.0013886618, 2.4379831e-5],
    mills: &[
        0.18882129,
        0.15197411,
        0.09678445,
        0.046631407,
        0.015098449,
        0.0018791887,
        -8.6832745e-4,
        -3.926707e-4,
        3.1920717e-5,
        4.019069e-5,
    ],
    integer: 12_582_912.0,
};

const F64: Tables<f64> = Tables {
    exp: &[
        1.0,
        1.0,
        0.5,
        0.16666666666666702,
        0.04166666666666669,
        0.008333333333309528,
        0.001388888888887189,
        0.000198412699092171,
        2.4801587350110797e-5,
        2.7557224958392624e-6,
        2.7557251904174915e-7,
        2.5114869528657765e-8,
        2.09215799649503e-9,
    ],
    exp_range: [-708.0, 709.0],
    ln2: [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10],
    atanh: &[
        1.0,
        0.3333333333333333,
        0.19999999999999962,
        0.14285714285731085,
        0.11111111107408907,
        0.09090909558999226,
        0.07692271719589844,
        0.06668373108772176,
        0.05833689621645853,
        0.060215591927199295,
    ],
    sin: &[
        1.0,
        -0.16666666666666666,
        0.008333333333333333,
        -0.00019841269841269825,
        2.7557319223973195e-6,
        -2.5052108379494507e-8,
        1.6059042200144437e-10,
        -7.646901156604028e-13,
        2.7887259589946948e-15,
    ],
    cos: &[
        1.0,
        -0.5,
        0.041666666666666664,
        -0.001388888888888886,
        2.4801587301563195e-5,
        -2.7557319212693446e-7,
        2.0876753880061373e-9,
        -1.1470246973813004e-11,
        4.736305380233916e-14,
    ],
    mills: &[
        0.18882128260393788,
        0.15197416049297294,
        0.09678435018555484,
        0.04663046448992335,
        0.015099143722669163,
        0.0018850472414062543,
        -0.0008699230904510149,
        -0.00040770461062014716,
        3.333606244589607e-5,
        5.777370603749276e-5,
        -4.769608514812176e-7,
        -8.78605374206445e-6,
        1.7873270813696003e-7,
        1.479753296538511e-6,
        -1.5624767488424463e-7,
        -2.5501783481421163e-7,
        6.588577640171114e-8,
        3.86549204780548e-8,
        -1.9086782108602714e-8,
        -3.710597518187836e-9,
        3.4941320389877053e-9,
        2.538239294124045e-12,
        -2.497656040005819e-10,
    ],
    integer: 6_755_399_441_055_744.0,
};

real!(f32, u32, i32, 23, F32);
real!(f64, u64, i64, 52, F64);
