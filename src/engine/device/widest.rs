//! Loops compiled three times and chosen at run time: for AVX-512, for AVX2, and for what every processor has.
//!
//! A kernel is an `#[inline(always)]` function over slices whose first argument is a [`MulAdd`]. [`widest!`] runs it
//! with the widest vectors of this processor. The two fused forms give the same bits; the plain one rounds products
//! before it adds them, so its results differ in the last places.
//!
//! Owns: the choice. May not touch: what a kernel computes.

use super::real::Real;

/// How a kernel multiplies and adds.
pub trait MulAdd: Copy {
    /// a * b + c.
    fn fma<T: Real>(self, a: T, b: T, c: T) -> T;
}

/// Rounds once: for processors with such an instruction.
#[derive(Clone, Copy)]
pub struct Fused;

/// Rounds twice: without the instruction, rounding once would take a call of a function for each element.
#[derive(Clone, Copy)]
pub struct Apart;

impl MulAdd for Fused {
    #[inline(always)]
    fn fma<T: Real>(self, a: T, b: T, c: T) -> T {
        a.fused(b, c)
    }
}

impl MulAdd for Apart {
    #[inline(always)]
    fn fma<T: Real>(self, a: T, b: T, c: T) -> T {
        a * b + c
    }
}

/// What kernels use where nothing is known of the processor: 64-bit ARM always has fused instructions.
#[cfg(target_arch = "aarch64")]
pub const PLAIN: Fused = Fused;
/// What kernels use where nothing is known of the processor.
#[cfg(not(target_arch = "aarch64"))]
pub const PLAIN: Apart = Apart;

/// Runs `$body`, in which `$m` is a [`MulAdd`], with the widest vectors that this processor has.
macro_rules! widest {
    (|$m:ident| $body:expr) => {{
        #[cfg(target_arch = "x86_64")]
        {
            match pulp::Arch::new() {
                pulp::Arch::V4(simd) => pulp::Simd::vectorize(
                    simd,
                    #[inline(always)]
                    || {
                        let $m = $crate::engine::device::widest::Fused;
                        $body
                    },
                ),
                pulp::Arch::V3(simd) => pulp::Simd::vectorize(
                    simd,
                    #[inline(always)]
                    || {
                        let $m = $crate::engine::device::widest::Fused;
                        $body
                    },
                ),
                _ => {
                    let $m = $crate::engine::device::widest::PLAIN;
                    $body
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let $m = $crate::engine::device::widest::PLAIN;
            $body
        }
    }};
}
pub(crate) use widest;

/// Which of the forms this processor gets.
pub fn name() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match pulp::Arch::new() {
        pulp::Arch::V4(_) => return "AVX-512",
        pulp::Arch::V3(_) => return "AVX2",
        _ => {}
    }
    "plain"
}
