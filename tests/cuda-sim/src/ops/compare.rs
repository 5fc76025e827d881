//! Comparisons, and choices by a predicate.
//!
//! Owns: `setp`, `selp`, `slct`. May not touch: branches.
#![allow(
    clippy::double_comparisons,
    clippy::neg_cmp_op_on_partial_ord,
    clippy::nonminimal_bool,
    reason = "PTX defines half of its comparisons as the opposites of others, which for a NaN is not the same"
)]

use super::{Form, Lane, Name, Type, lanes};
use crate::numbers::{Bf16, F16};
use crate::program::{Ins, NONE, Pair};
use crate::warp::{ALL, Machine};

/// How a comparison joins its third operand; the choice is in an instruction's `code`.
pub const ALONE: u32 = 0;
pub const AND: u32 = 1;
pub const OR: u32 = 2;
pub const XOR: u32 = 3;
/// Set where the third operand is negated.
pub const NEGATED: u32 = 8;
/// Set where there is a second destination.
pub const SECOND: u32 = 16;

/// Puts the outcome of a comparison in its predicate, and the opposite in the second one.
///
/// # Safety
/// The offsets of the instruction are of predicates.
#[inline(always)]
unsafe fn settle(m: &mut Machine<'_>, i: &Ins, result: u32, mask: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        let (mut yes, mut no) = (result, !result);
        if i.code & 3 != ALONE {
            let other = m.predicate(i.s[2]) ^ if i.code & NEGATED != 0 { !0 } else { 0 };
            let join = |x: u32| match i.code & 3 {
                AND => x & other,
                OR => x | other,
                _ => x ^ other,
            };
            (yes, no) = (join(yes), join(no));
        }
        if i.d != NONE {
            m.set_predicate(i.d, yes, mask);
        }
        if i.code & SECOND != 0 {
            m.set_predicate(i.extra[0], no, mask);
        }
    }
}

/// One bit of each byte.
#[inline(always)]
fn to_mask(outcomes: &[u8; 32]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: it is called where the processor is known to have AVX2.
    unsafe {
        use std::arch::x86_64::{_mm256_loadu_si256, _mm256_movemask_epi8};
        _mm256_movemask_epi8(_mm256_loadu_si256(outcomes.as_ptr().cast())) as u32
    }
    #[cfg(not(target_arch = "x86_64"))]
    outcomes.iter().enumerate().fold(0, |mask, (l, outcome)| mask | u32::from(outcome & 1) << l)
}

macro_rules! compare {
    ($t:ty, |$a:ident, $b:ident| $e:expr) => {{
        #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
        unsafe fn run(m: &mut Machine<'_>, i: &Ins, mask: u32) {
            // SAFETY: the offsets are of registers of this width, which `decode` saw to.
            let (x, y) = unsafe { (m.read::<$t>(i.s[0]), m.read::<$t>(i.s[1])) };
            let mut outcomes = [0u8; 32];
            for l in 0..32 {
                let ($a, $b) = (x[l], y[l]);
                outcomes[l] = if $e { 0xff } else { 0 };
            }
            // SAFETY: as above.
            unsafe { settle(m, i, to_mask(&outcomes), mask) }
        }
        #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
        unsafe fn one(m: &mut Machine<'_>, i: &Ins, _: u32) {
            // SAFETY: as above.
            unsafe {
                let ($a, $b) = (*m.lanes::<$t>(i.s[0]), *m.lanes::<$t>(i.s[1]));
                settle(m, i, if $e { !0 } else { 0 }, ALL)
            }
        }
        Some((Pair { run, one: Some(one) }, <$t as Lane>::BITS))
    }};
}

macro_rules! integers {
    ($how:expr, $t:ty) => {
        match $how {
            "eq" => compare!($t, |a, b| a == b),
            "ne" => compare!($t, |a, b| a != b),
            "lt" | "lo" => compare!($t, |a, b| a < b),
            "le" | "ls" => compare!($t, |a, b| a <= b),
            "gt" | "hi" => compare!($t, |a, b| a > b),
            "ge" | "hs" => compare!($t, |a, b| a >= b),
            _ => None,
        }
    };
}

macro_rules! floats {
    ($how:expr, $t:ty, |$x:ident| $of:expr) => {{
        macro_rules! of {
            ($a:expr) => {{
                let $x = $a;
                $of
            }};
        }
        match $how {
            "eq" => compare!($t, |a, b| of!(a) == of!(b)),
            "ne" => compare!($t, |a, b| of!(a) < of!(b) || of!(a) > of!(b)),
            "lt" => compare!($t, |a, b| of!(a) < of!(b)),
            "le" => compare!($t, |a, b| of!(a) <= of!(b)),
            "gt" => compare!($t, |a, b| of!(a) > of!(b)),
            "ge" => compare!($t, |a, b| of!(a) >= of!(b)),
            // The names with a `u` hold for a NaN as well: they are the opposites of ordered ones.
            "equ" => compare!($t, |a, b| !(of!(a) < of!(b) || of!(a) > of!(b))),
            "neu" => compare!($t, |a, b| !(of!(a) == of!(b))),
            "ltu" => compare!($t, |a, b| !(of!(a) >= of!(b))),
            "leu" => compare!($t, |a, b| !(of!(a) > of!(b))),
            "gtu" => compare!($t, |a, b| !(of!(a) <= of!(b))),
            "geu" => compare!($t, |a, b| !(of!(a) < of!(b))),
            "num" => compare!($t, |a, b| !(of!(a).is_nan() || of!(b).is_nan())),
            "nan" => compare!($t, |a, b| of!(a).is_nan() || of!(b).is_nan()),
            _ => None,
        }
    }};
}

fn of_floats(how: &str, kind: Type) -> Option<(Pair, u8)> {
    match kind {
        Type::F(32) => floats!(how, f32, |x| x),
        Type::F(64) => floats!(how, f64, |x| x),
        Type::F(16) => floats!(how, F16, |x| x.to_f64()),
        Type::Bf16 => floats!(how, Bf16, |x| x.to_f64()),
        _ => None,
    }
}

fn of_unsigned(how: &str, bits: u8) -> Option<(Pair, u8)> {
    match bits {
        16 => integers!(how, u16),
        32 => integers!(how, u32),
        _ => integers!(how, u64),
    }
}

fn of_signed(how: &str, bits: u8) -> Option<(Pair, u8)> {
    match bits {
        16 => integers!(how, i16),
        32 => integers!(how, i32),
        _ => integers!(how, i64),
    }
}

/// What compares two registers of this type, and their width.
pub fn pick(how: &str, kind: Type) -> Option<(Pair, u8)> {
    match kind {
        Type::S(bits) => of_signed(how, bits),
        Type::U(bits) | Type::B(bits) => of_unsigned(how, bits),
        _ => of_floats(how, kind),
    }
}

macro_rules! select {
    ($t:ty) => {{
        #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
        unsafe fn run(m: &mut Machine<'_>, i: &Ins, mask: u32) {
            // SAFETY: the offsets are of registers of these widths, which `decode` saw to.
            let (a, b, p) = unsafe { (m.read::<$t>(i.s[0]), m.read::<$t>(i.s[1]), m.predicate(i.s[2])) };
            let mut out = b;
            for l in 0..32 {
                out[l] = if p >> l & 1 != 0 { a[l] } else { b[l] };
            }
            // SAFETY: as above.
            unsafe { m.write(i.d, &out, mask) }
        }
        #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
        unsafe fn one(m: &mut Machine<'_>, i: &Ins, _: u32) {
            // SAFETY: as above.
            unsafe {
                let from = if m.predicate(i.s[2]) & 1 != 0 { i.s[0] } else { i.s[1] };
                m.write(i.d, &[*m.lanes::<$t>(from); 32], ALL);
            }
        }
        let pair = Pair { run, one: Some(one) };
        Some(Form { pair, widths: vec![<$t as Lane>::BITS, <$t as Lane>::BITS, <$t as Lane>::BITS, 1] })
    }};
}

/// `selp`, and `slct`, which chooses by a sign.
pub fn choice(name: &Name<'_>) -> Option<Form> {
    match (name.base, name.first().bits()) {
        ("selp", 16) => select!(u16),
        ("selp", 32) => select!(u32),
        ("selp", 64) => select!(u64),
        ("slct", 32) if name.types.last() == Some(&Type::F(32)) => {
            Some(lanes!(u32, |a: u32, b: u32, c: f32| if c >= 0.0 { a } else { b }))
        }
        ("slct", 32) => Some(lanes!(u32, |a: u32, b: u32, c: i32| if c >= 0 { a } else { b })),
        _ => None,
    }
}
