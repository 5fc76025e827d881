//! Arithmetic of floating-point numbers.
//!
//! Owns: `.f16`, `.bf16`, `.f32`, `.f64` operations. May not touch: conversions and comparisons.
//!
//! Operations that a GPU approximates are done as well as the CPU can; the warp counts them.

use super::{Form, Name, Type, lanes};
use crate::numbers::{
    Bf16, F16, Rounding, add_directed, fma_directed, max32, max64, min32, min64, narrow, residual,
};

pub fn pick(name: &Name<'_>) -> Option<Form> {
    match name.first() {
        Type::F(32) => directed32(name).or_else(|| single(name)),
        Type::F(64) => directed64(name).or_else(|| double(name)),
        Type::F(16) => half(name),
        Type::Bf16 => brain(name),
        _ => None,
    }
}

macro_rules! arithmetic {
    ($name:expr, $t:ty, $max:ident, $min:ident) => {
        match $name.base {
            "add" => Some(lanes!($t, |a: $t, b: $t| a + b)),
            "sub" => Some(lanes!($t, |a: $t, b: $t| a - b)),
            "mul" => Some(lanes!($t, |a: $t, b: $t| a * b)),
            "div" => Some(lanes!($t, |a: $t, b: $t| a / b)),
            "fma" | "mad" => Some(lanes!($t, |a: $t, b: $t, c: $t| a.mul_add(b, c))),
            "neg" => Some(lanes!($t, |a: $t| -a)),
            "abs" => Some(lanes!($t, |a: $t| a.abs())),
            "max" if $name.has("NaN") => Some(lanes!($t, |a: $t, b: $t| {
                if a.is_nan() || b.is_nan() { <$t>::NAN } else { $max(a, b) }
            })),
            "min" if $name.has("NaN") => Some(lanes!($t, |a: $t, b: $t| {
                if a.is_nan() || b.is_nan() { <$t>::NAN } else { $min(a, b) }
            })),
            "max" => Some(lanes!($t, |a: $t, b: $t| $max(a, b))),
            "min" => Some(lanes!($t, |a: $t, b: $t| $min(a, b))),
            "sqrt" => Some(lanes!($t, |a: $t| a.sqrt())),
            "rcp" => Some(lanes!($t, |a: $t| 1.0 / a)),
            "rsqrt" => Some(lanes!($t, |a: $t| 1.0 / a.sqrt())),
            // The sign is the first operand's, the size the second's.
            "copysign" => Some(lanes!($t, |a: $t, b: $t| b.copysign(a))),
            // Not an instruction of its own: what `.sat` does to a result.
            "saturate" => Some(lanes!($t, |a: $t| if a > 0.0 { if a < 1.0 { a } else { 1.0 } } else { 0.0 })),
            _ => None,
        }
    };
}

fn single(name: &Name<'_>) -> Option<Form> {
    match name.base {
        "ex2" => Some(lanes!(f32, |a: f32| a.exp2())),
        "lg2" => Some(lanes!(f32, |a: f32| a.log2())),
        "sin" => Some(lanes!(f32, |a: f32| a.sin())),
        "cos" => Some(lanes!(f32, |a: f32| a.cos())),
        "tanh" => Some(lanes!(f32, |a: f32| a.tanh())),
        _ => arithmetic!(name, f32, max32, min32),
    }
}

fn double(name: &Name<'_>) -> Option<Form> {
    arithmetic!(name, f64, max64, min64)
}

macro_rules! directed_single {
    ($name:expr, $rounding:expr) => {
        match $name.base {
            "add" => Some(lanes!(f32, |a: f32, b: f32| fma_directed(a, 1.0, b, $rounding))),
            "sub" => Some(lanes!(f32, |a: f32, b: f32| fma_directed(a, 1.0, -b, $rounding))),
            "mul" => Some(lanes!(f32, |a: f32, b: f32| narrow(f64::from(a) * f64::from(b), 0.0, $rounding))),
            "fma" | "mad" => Some(lanes!(f32, |a: f32, b: f32, c: f32| fma_directed(a, b, c, $rounding))),
            "sqrt" => Some(lanes!(f32, |a: f32| {
                let root = f64::from(a).sqrt();
                narrow(root, -root.mul_add(root, -f64::from(a)), $rounding)
            })),
            "div" => Some(lanes!(f32, |a: f32, b: f32| {
                let quotient = f64::from(a) / f64::from(b);
                let missing = -quotient.mul_add(f64::from(b), -f64::from(a));
                narrow(quotient, missing * f64::from(b), $rounding)
            })),
            _ => None,
        }
    };
}

/// Only what rounds toward zero or to one side; the default rounding is the processor's own.
fn directed32(name: &Name<'_>) -> Option<Form> {
    if name.has("rz") {
        directed_single!(name, Rounding::Zero)
    } else if name.has("rm") {
        directed_single!(name, Rounding::Down)
    } else if name.has("rp") {
        directed_single!(name, Rounding::Up)
    } else {
        None
    }
}

macro_rules! directed_double {
    ($name:expr, $rounding:expr) => {
        match $name.base {
            "add" => Some(lanes!(f64, |a: f64, b: f64| add_directed(a, b, $rounding))),
            "sub" => Some(lanes!(f64, |a: f64, b: f64| add_directed(a, -b, $rounding))),
            "mul" => Some(lanes!(f64, |a: f64, b: f64| {
                // The product and what its rounding lost: their sum again, but directed.
                let high = a * b;
                add_directed(high, a.mul_add(b, -high), $rounding)
            })),
            "fma" => Some(lanes!(f64, |a: f64, b: f64, c: f64| {
                let high = a * b;
                let low = a.mul_add(b, -high);
                let sum = high + c;
                add_directed(sum, residual(high, c, sum) + low, $rounding)
            })),
            _ => None,
        }
    };
}

fn directed64(name: &Name<'_>) -> Option<Form> {
    if name.has("rz") {
        directed_double!(name, Rounding::Zero)
    } else if name.has("rm") {
        directed_double!(name, Rounding::Down)
    } else if name.has("rp") {
        directed_double!(name, Rounding::Up)
    } else {
        None
    }
}

/// Small formats compute in f64, where sums and products of them are exact, and round once.
macro_rules! small {
    ($name:expr, $t:ident) => {
        match $name.base {
            "add" => Some(lanes!($t, |a: $t, b: $t| $t::from_f64(a.to_f64() + b.to_f64()))),
            "sub" => Some(lanes!($t, |a: $t, b: $t| $t::from_f64(a.to_f64() - b.to_f64()))),
            "mul" => Some(lanes!($t, |a: $t, b: $t| $t::from_f64(a.to_f64() * b.to_f64()))),
            "fma" => Some(lanes!($t, |a: $t, b: $t, c: $t| {
                $t::from_f64(a.to_f64().mul_add(b.to_f64(), c.to_f64()))
            })),
            "neg" => Some(lanes!($t, |a: $t| $t(a.0 ^ 0x8000))),
            "abs" => Some(lanes!($t, |a: $t| $t(a.0 & 0x7fff))),
            "max" if $name.has("NaN") => Some(lanes!($t, |a: $t, b: $t| {
                let (x, y) = (a.to_f64(), b.to_f64());
                $t::from_f64(if x.is_nan() || y.is_nan() { f64::NAN } else { max64(x, y) })
            })),
            "min" if $name.has("NaN") => Some(lanes!($t, |a: $t, b: $t| {
                let (x, y) = (a.to_f64(), b.to_f64());
                $t::from_f64(if x.is_nan() || y.is_nan() { f64::NAN } else { min64(x, y) })
            })),
            "max" => Some(lanes!($t, |a: $t, b: $t| $t::from_f64(max64(a.to_f64(), b.to_f64())))),
            "min" => Some(lanes!($t, |a: $t, b: $t| $t::from_f64(min64(a.to_f64(), b.to_f64())))),
            "ex2" => Some(lanes!($t, |a: $t| $t::from_f64(a.to_f64().exp2()))),
            "tanh" => Some(lanes!($t, |a: $t| $t::from_f64(a.to_f64().tanh()))),
            _ => None,
        }
    };
}

fn half(name: &Name<'_>) -> Option<Form> {
    small!(name, F16)
}

fn brain(name: &Name<'_>) -> Option<Form> {
    small!(name, Bf16)
}
