//! Quotients and remainders of unsigned integers, which processors have no vectors of.
//!
//! Owns: `div` and `rem` of 32 and 64 bits without signs. May not touch: other arithmetic.
//!
//! The quotient of two integers below 2^32 is the whole part of their f64 quotient: where it is no integer it is
//! at least 1/b away from the next, which is more than the rounding of a number below 2^32 / b can bridge.

use super::{Form, Name, Type};
use crate::program::{Ins, Pair};
use crate::warp::{ALL, Machine};

/// Adding it leaves an integer in the low bits.
const SHIFT: f64 = 4_503_599_627_370_496.0;

/// A division by zero is not an error on a GPU: the quotient has all bits set.
#[inline(always)]
fn quotient32(a: u32, b: u32) -> u32 {
    let whole = ((f64::from(a) / f64::from(b)).trunc() + SHIFT).to_bits() as u32;
    if b == 0 { !0 } else { whole }
}

#[inline(always)]
fn remainder32(a: u32, b: u32) -> u32 {
    let left = a.wrapping_sub(quotient32(a, b).wrapping_mul(b));
    if b == 0 { a } else { left }
}

#[inline(always)]
fn quotient64(a: u64, b: u64) -> u64 {
    a.checked_div(b).unwrap_or(!0)
}

#[inline(always)]
fn remainder64(a: u64, b: u64) -> u64 {
    a.checked_rem(b).unwrap_or(a)
}

/// 64 bits: most numbers are indices, and small.
macro_rules! wide {
    ($run:ident, $one:ident, $small:ident, $any:ident, $by_zero:expr) => {
        #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
        unsafe fn $run(m: &mut Machine<'_>, i: &Ins, mask: u32) {
            // SAFETY: the offsets are of registers of 64 bits, which `decode` saw to.
            let (a, b) = unsafe { (m.read::<u64>(i.s[0]), m.read::<u64>(i.s[1])) };
            let (mut out, mut bits) = ([0; 32], 0);
            for l in 0..32 {
                bits |= a[l] | b[l];
            }
            if bits >> 32 == 0 {
                for l in 0..32 {
                    let small = u64::from($small(a[l] as u32, b[l] as u32));
                    out[l] = if b[l] == 0 { $by_zero(a[l]) } else { small };
                }
            } else {
                for l in 0..32 {
                    out[l] = $any(a[l], b[l]);
                }
            }
            // SAFETY: as above.
            unsafe { m.write(i.d, &out, mask) }
        }

        unsafe fn $one(m: &mut Machine<'_>, i: &Ins, _: u32) {
            // SAFETY: as above.
            unsafe {
                let (a, b) = (*m.lanes::<u64>(i.s[0]), *m.lanes::<u64>(i.s[1]));
                m.write(i.d, &[$any(a, b); 32], ALL)
            }
        }
    };
}

wide!(divide, divide_one, quotient32, quotient64, |_: u64| !0u64);
wide!(remain, remain_one, remainder32, remainder64, |a: u64| a);

pub fn pick(name: &Name<'_>) -> Option<Form> {
    use super::lanes;
    let of_64 = |run: crate::program::Run, one: crate::program::Run| {
        Some(Form { pair: Pair { run, one: Some(one) }, widths: vec![64; 3] })
    };
    match (name.base, name.first()) {
        ("div", Type::U(32)) => Some(lanes!(u32, |a: u32, b: u32| quotient32(a, b))),
        ("rem", Type::U(32)) => Some(lanes!(u32, |a: u32, b: u32| remainder32(a, b))),
        ("div", Type::U(64)) => of_64(divide, divide_one),
        ("rem", Type::U(64)) => of_64(remain, remain_one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_exact() {
        let edges = [0, 1, 2, 3, 5, 7, 77, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, !0];
        let mut x = 1u32;
        for n in 0..100_000usize {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let b = if n % 3 == 0 { edges[n % 13] } else { (x >> 3).rotate_left(n as u32) >> (n % 32) };
            let near = b.wrapping_mul(x >> (n % 31)).wrapping_sub(n as u32 % 2);
            for a in [x, near, edges[n % 13]] {
                assert_eq!(quotient32(a, b), a.checked_div(b).unwrap_or(!0), "{a} / {b}");
                assert_eq!(remainder32(a, b), a.checked_rem(b).unwrap_or(a), "{a} % {b}");
            }
        }
    }
}
