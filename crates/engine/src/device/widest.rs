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
                        let $m = $crate::device::widest::Fused;
                        $body
                    },
                ),
                pulp::Arch::V3(simd) => pulp::Simd::vectorize(
                    simd,
                    #[inline(always)]
                    || {
                        let $m = $crate::device::widest::Fused;
                        $body
                    },
                ),
                _ => {
                    let $m = $crate::device::widest::PLAIN;
                    $body
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let $m = $crate::device::widest::PLAIN;
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

#[cfg(test)]
mod tests {
    use super::super::functions::{exp, normal};
    use super::*;
    use crate::device::noise::{Draw, Purpose};

    /// Noise, and functions of it.
    #[inline(always)]
    fn kernel<M: MulAdd, T: Real>(m: M, out: &mut [T]) {
        let draw = Draw { seed: 5, index: 1, purpose: Purpose::Gauss };
        draw.from(3, 0).each(
            m,
            out.len(),
            #[inline(always)]
            |first, noise: &[T]| {
                for (out, x) in out[first..].iter_mut().zip(noise) {
                    *out = m.fma(normal(m, *x).0, exp(m, *x), *x);
                }
            },
        );
    }

    fn with<T: Real>(run: impl FnOnce(&mut [T])) -> Vec<f64> {
        let mut out = vec![T::ZERO; 3001];
        run(&mut out);
        out.into_iter().map(T::wide).collect()
    }

    fn forms_agree<T: Real>(tolerance: f64) {
        let fused = with(|out: &mut [T]| kernel(Fused, out));
        assert_eq!(with(|out: &mut [T]| widest!(|m| kernel(m, out))), fused, "{}", name());
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            let narrower = |out: &mut [T]| {
                pulp::Simd::vectorize(
                    simd,
                    #[inline(always)]
                    || kernel(Fused, out),
                );
            };
            assert_eq!(with(narrower), fused, "AVX2");
        }
        let apart = with(|out: &mut [T]| kernel(Apart, out));
        assert!(apart.iter().zip(&fused).all(|(a, b)| (a - b).abs() <= tolerance * b.abs().max(1.0)));
    }

    #[test]
    fn fused_forms_give_the_same_bits_and_the_plain_one_nearly() {
        if name() != "plain" {
            forms_agree::<f32>(3e-6);
            forms_agree::<f64>(1e-14);
        }
    }
}
