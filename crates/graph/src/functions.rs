//! Functions of one number and their derivatives, in f64 whatever the precision of the run.
//!
//! Owns: their formulas and what holds at kinks, where they follow torch. May not touch: tensors.

use clino_domain::graph::UnaryKind;
use std::cmp::Ordering;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2};

/// √(2/π).
const GELU_FACTOR: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
/// The cubic term of GELU by tanh.
const GELU_CUBIC: f64 = 0.044715;
/// The slope of HARDSIGMOID.
const SIXTH: f64 = 1.0 / 6.0;

/// -1, 0 or 1; 0 of NaN, as torch has it.
pub fn sign(x: f64) -> f64 {
    match x.partial_cmp(&0.0) {
        Some(Ordering::Less) => -1.0,
        Some(Ordering::Greater) => 1.0,
        _ => 0.0,
    }
}

/// max(0, x) that keeps a NaN.
pub fn relu(x: f64) -> f64 {
    if x > 0.0 || x.is_nan() { x } else { 0.0 }
}

/// 1 / (1 + e^-x).
pub fn sigmoid(x: f64) -> f64 {
    // Without overflow on either side.
    let e = (-x.abs()).exp();
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// log(1 + e^x).
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn gelu_inner(x: f64) -> f64 {
    GELU_FACTOR * (x + GELU_CUBIC * x * x * x)
}

/// max(least, min(most, x)) that keeps a NaN.
fn clamp(x: f64, least: f64, most: f64) -> f64 {
    match () {
        () if x < least => least.min(most),
        () if x > most => most,
        () => x,
    }
}

/// The function of `kind` with parameters `p` at `x`.
pub fn value(kind: UnaryKind, p: &[f64], x: f64) -> f64 {
    match kind {
        UnaryKind::Neg => -x,
        UnaryKind::Abs => x.abs(),
        UnaryKind::Sign => sign(x),
        UnaryKind::Exp => x.exp(),
        UnaryKind::Expm1 => x.exp_m1(),
        UnaryKind::Log => x.ln(),
        UnaryKind::Log1p => x.ln_1p(),
        UnaryKind::Log2 => x.log2(),
        UnaryKind::Sqrt => x.sqrt(),
        UnaryKind::Rsqrt => 1.0 / x.sqrt(),
        UnaryKind::Reciprocal => 1.0 / x,
        UnaryKind::Sin => x.sin(),
        UnaryKind::Cos => x.cos(),
        UnaryKind::Tan => x.tan(),
        UnaryKind::Asin => x.asin(),
        UnaryKind::Acos => x.acos(),
        UnaryKind::Atan => x.atan(),
        UnaryKind::Sinh => x.sinh(),
        UnaryKind::Cosh => x.cosh(),
        UnaryKind::Tanh => x.tanh(),
        UnaryKind::Erf => libm::erf(x),
        UnaryKind::Floor => x.floor(),
        UnaryKind::Ceil => x.ceil(),
        UnaryKind::Trunc => x.trunc(),
        UnaryKind::Round => x.round_ties_even(),
        UnaryKind::NanToNum if x.is_nan() => p[0],
        UnaryKind::NanToNum if x == f64::INFINITY => p[1],
        UnaryKind::NanToNum if x == f64::NEG_INFINITY => p[2],
        UnaryKind::NanToNum | UnaryKind::Detach => x,
        UnaryKind::Not | UnaryKind::IsNan | UnaryKind::IsInf => f64::NAN,
        activation => activated(activation, p, x),
    }
}

fn activated(kind: UnaryKind, p: &[f64], x: f64) -> f64 {
    match kind {
        UnaryKind::Sigmoid => sigmoid(x),
        UnaryKind::LogSigmoid => -softplus(-x),
        UnaryKind::Silu => x * sigmoid(x),
        UnaryKind::Relu => relu(x),
        UnaryKind::Gelu => 0.5 * x * libm::erfc(-x * FRAC_1_SQRT_2),
        UnaryKind::GeluTanh => 0.5 * x * (1.0 + gelu_inner(x).tanh()),
        UnaryKind::Softplus if p[0] * x > p[1] => x,
        UnaryKind::Softplus => softplus(p[0] * x) / p[0],
        UnaryKind::Elu if x > 0.0 => p[1] * x,
        UnaryKind::Elu => p[1] * p[0] * (p[2] * x).exp_m1(),
        UnaryKind::LeakyRelu => {
            if x > 0.0 {
                x
            } else {
                p[0] * x
            }
        }
        UnaryKind::Clamp | UnaryKind::Hardtanh => clamp(x, p[0], p[1]),
        UnaryKind::Hardsigmoid => clamp((x + 3.0) * SIXTH, 0.0, 1.0),
        UnaryKind::Hardswish => x * clamp((x + 3.0) * SIXTH, 0.0, 1.0),
        UnaryKind::Mish => x * softplus(x).tanh(),
        _ => f64::NAN,
    }
}

/// 1 where it holds.
fn when(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

/// Its derivative.
pub fn slope(kind: UnaryKind, p: &[f64], x: f64) -> f64 {
    match kind {
        UnaryKind::Neg => -1.0,
        UnaryKind::Abs => sign(x),
        UnaryKind::Exp | UnaryKind::Expm1 => x.exp(),
        UnaryKind::Log => 1.0 / x,
        UnaryKind::Log1p => 1.0 / (1.0 + x),
        UnaryKind::Log2 => 1.0 / (x * LN_2),
        UnaryKind::Sqrt => 0.5 / x.sqrt(),
        UnaryKind::Rsqrt => -0.5 / (x * x.sqrt()),
        UnaryKind::Reciprocal => -1.0 / (x * x),
        UnaryKind::Sin => x.cos(),
        UnaryKind::Cos => -x.sin(),
        UnaryKind::Tan => 1.0 + x.tan() * x.tan(),
        UnaryKind::Asin => 1.0 / (1.0 - x * x).sqrt(),
        UnaryKind::Acos => -1.0 / (1.0 - x * x).sqrt(),
        UnaryKind::Atan => 1.0 / (1.0 + x * x),
        UnaryKind::Sinh => x.cosh(),
        UnaryKind::Cosh => x.sinh(),
        UnaryKind::Tanh => 1.0 - x.tanh() * x.tanh(),
        UnaryKind::Erf => FRAC_2_SQRT_PI * (-x * x).exp(),
        UnaryKind::NanToNum => when(x.is_finite()),
        activation => activation_slope(activation, p, x),
    }
}

fn activation_slope(kind: UnaryKind, p: &[f64], x: f64) -> f64 {
    match kind {
        UnaryKind::Sigmoid => sigmoid(x) * sigmoid(-x),
        UnaryKind::LogSigmoid => sigmoid(-x),
        UnaryKind::Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
        UnaryKind::Relu => when(x > 0.0 || x.is_nan()),
        UnaryKind::Gelu => {
            let density = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (-0.5 * x * x).exp();
            0.5 * libm::erfc(-x * FRAC_1_SQRT_2) + x * density
        }
        UnaryKind::GeluTanh => {
            let t = gelu_inner(x).tanh();
            let inner = GELU_FACTOR * (1.0 + 3.0 * GELU_CUBIC * x * x);
            0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner
        }
        UnaryKind::Softplus if p[0] * x > p[1] => 1.0,
        UnaryKind::Softplus => sigmoid(p[0] * x),
        UnaryKind::Elu if x > 0.0 => p[1],
        UnaryKind::Elu => p[1] * p[0] * p[2] * (p[2] * x).exp(),
        UnaryKind::LeakyRelu => {
            if x > 0.0 {
                1.0
            } else {
                p[0]
            }
        }
        UnaryKind::Clamp => when(x >= p[0] && x <= p[1]),
        UnaryKind::Hardtanh => when((x > p[0] && x < p[1]) || x.is_nan()),
        UnaryKind::Hardsigmoid => SIXTH * when(x > -3.0 && x < 3.0),
        UnaryKind::Hardswish if x <= -3.0 => 0.0,
        UnaryKind::Hardswish if x < 3.0 => x / 3.0 + 0.5,
        UnaryKind::Hardswish => 1.0,
        UnaryKind::Mish => {
            let t = softplus(x).tanh();
            t + x * (1.0 - t * t) * sigmoid(x)
        }
        // Steps are flat.
        _ => 0.0,
    }
}
