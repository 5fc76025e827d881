//! Row-wise functions of networks and their derivatives: activations, LayerNorm, softmax, biases.
//!
//! Each goes over a whole matrix once, with the widest vectors of the processor.
//!
//! Owns: the arithmetic of rows. May not touch: parameters, shapes of a model.

use crate::device::functions::{exp, normal};
use crate::device::real::Real;
use crate::device::widest::{MulAdd, widest};
use std::f64::consts::PI;

/// Non-linearity between two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0), with derivative 0 at 0.
    Relu,
    /// Exact GELU, x Φ(x).
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// The hyperbolic tangent, tanh(x).
    Tanh,
    /// SiLU or swish, x σ(x).
    Silu,
}

impl Activation {
    /// By the name that Hugging Face uses.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "relu" => Self::Relu,
            "gelu" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Self::GeluTanh,
            "tanh" => Self::Tanh,
            "silu" | "swish" => Self::Silu,
            _ => return None,
        })
    }

    /// Names that [`Activation::named`] knows, for messages.
    pub const NAMES: &'static str = "relu, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, tanh, silu or swish";

    /// Adds the bias to each row of `x`, then x becomes the activation; `slopes` gets its derivative when asked for.
    pub fn apply<T: Real>(self, x: &mut [T], bias: &[T], slopes: Option<&mut [T]>) {
        match self {
            Self::Relu => widest!(|m| each(x, bias, slopes, with(m, relu))),
            Self::Gelu => widest!(|m| each(x, bias, slopes, with(m, gelu))),
            Self::GeluTanh => widest!(|m| each(x, bias, slopes, with(m, gelu_tanh))),
            // A call for each element: no form without one is right to the last places near zero.
            Self::Tanh => each(x, bias, slopes, tanh),
            Self::Silu => widest!(|m| each(x, bias, slopes, with(m, silu))),
        }
    }
}

#[inline(always)]
fn with<M: MulAdd, T>(m: M, f: impl Fn(M, T) -> (T, T)) -> impl Fn(T) -> (T, T) {
    #[inline(always)]
    move |x| f(m, x)
}

#[inline(always)]
fn each<T: Real>(x: &mut [T], bias: &[T], slopes: Option<&mut [T]>, f: impl Fn(T) -> (T, T)) {
    let rows = x.chunks_exact_mut(bias.len());
    match slopes {
        Some(slopes) => {
            for (row, slopes) in rows.zip(slopes.chunks_exact_mut(bias.len())) {
                for ((x, b), slope) in row.iter_mut().zip(bias).zip(slopes) {
                    (*x, *slope) = f(*x + *b);
                }
            }
        }
        None => {
            for row in rows {
                for (x, b) in row.iter_mut().zip(bias) {
                    *x = f(*x + *b).0;
                }
            }
        }
    }
}

#[inline(always)]
fn relu<M: MulAdd, T: Real>(_: M, x: T) -> (T, T) {
    // The comparison fails for NaN, which must go on as NaN.
    (if x <= T::ZERO { T::ZERO } else { x }, if x > T::ZERO { T::ONE } else { T::ZERO })
}

#[inline(always)]
fn gelu<M: MulAdd, T: Real>(m: M, x: T) -> (T, T) {
    let (cdf, density) = normal(m, x);
    (x * cdf, m.fma(x, density, cdf))
}

#[inline(always)]
fn gelu_tanh<M: MulAdd, T: Real>(m: M, x: T) -> (T, T) {
    // (1 + tanh u) / 2 is σ(2u), which loses no place near zero.
    let root = T::of(2.0 * (2.0 / PI).sqrt());
    let cubic = T::of(0.044_715);
    let square = x * x;
    let s = sigmoid(m, root * x * m.fma(cubic, square, T::ONE));
    let inner = root * m.fma(T::of(3.0) * cubic, square, T::ONE);
    (x * s, m.fma(x * s * (T::ONE - s), inner, s))
}

#[inline(always)]
fn sigmoid<M: MulAdd, T: Real>(m: M, x: T) -> T {
    T::ONE / (T::ONE + exp(m, -x))
}

#[inline(always)]
fn silu<M: MulAdd, T: Real>(m: M, x: T) -> (T, T) {
    let s = sigmoid(m, x);
    (x * s, s * m.fma(x, T::ONE - s, T::ONE))
}

fn tanh<T: Real>(x: T) -> (T, T) {
    let t = x.tanh();
    (t, T::ONE - t * t)
}

/// Adds `bias` to each row.
pub fn add_bias<T: Real>(x: &mut [T], bias: &[T]) {
    widest!(|_m| {
        for row in x.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                *x += *b;
            }
        }
    });
}

/// Adds the sums of the columns `first ..` of rows of `width` to `total`: the gradient of a part of a bias.
pub fn add_column_sums<T: Real>(rows: &[T], width: usize, first: usize, total: &mut [T]) {
    widest!(|_m| {
        for row in rows.chunks_exact(width) {
            for (t, x) in total.iter_mut().zip(&row[first..]) {
                *t += *x;
            }
        }
    });
}

/// x = x * y, element by element.
pub fn multiply_by<T: Real>(x: &mut [T], y: &[T]) {
    widest!(|_m| {
        for (x, y) in x.iter_mut().zip(y) {
            *x *= *y;
        }
    });
}

/// x = x + y, element by element.
pub fn add<T: Real>(x: &mut [T], y: &[T]) {
    widest!(|_m| {
        for (x, y) in x.iter_mut().zip(y) {
            *x += *y;
        }
    });
}

/// Lanes of a sum over a row: a vector at its widest, and not more, because rows are often short.
const LANES: usize = 16;

#[inline(always)]
fn sum<T: Real>(len: usize, f: impl Fn(usize, T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let whole = len - len % LANES;
    for first in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum = f(first + lane, *sum);
        }
    }
    for i in whole..len {
        lanes[i - whole] = f(i, lanes[i - whole]);
    }
    let mut total = T::ZERO;
    for lane in lanes {
        total += lane;
    }
    total
}

/// What a LayerNorm keeps for its backward.
pub struct Normed<'a, T> {
    /// Its rows before gain and shift [rows, width].
    pub rows: &'a mut [T],
    /// 1 / deviation of each.
    pub rstd: &'a [T],
}

/// Gain, shift and epsilon of a LayerNorm.
#[derive(Clone, Copy)]
pub struct Norm<'a, T> {
    /// Factors of the normalized elements, [width].
    pub gain: &'a [T],
    /// Offsets added to the scaled elements, [width].
    pub shift: &'a [T],
    /// Added to the variance.
    pub epsilon: T,
}

impl<T: Real> Norm<'_, T> {
    /// Adds `bias` and the rows of `residual` to those of `x`, where there are any; then each row of `x` becomes its
    /// normalized form (before gain and shift), `y` the result, `rstd` 1 / deviation.
    pub fn apply(&self, x: &mut [T], residual: Option<(&[T], &[T])>, y: &mut [T], rstd: &mut [T]) {
        let width = self.gain.len();
        widest!(|m| {
            for (i, rstd) in rstd.iter_mut().enumerate() {
                let at = i * width..(i + 1) * width;
                let x = &mut x[at.clone()];
                let y = &mut y[at.clone()];
                if let Some((bias, residual)) = residual {
                    for ((x, b), r) in x.iter_mut().zip(bias).zip(&residual[at]) {
                        *x += *b + *r;
                    }
                }
                *rstd = self.row(m, x, y);
            }
        });
    }

    #[inline(always)]
    fn row<M: MulAdd>(&self, m: M, x: &mut [T], y: &mut [T]) -> T {
        let n = T::of(self.gain.len() as f64);
        let mean = sum(
            x.len(),
            #[inline(always)]
            |i, sum: T| sum + x[i],
        ) / n;
        let rstd = T::ONE
            / (sum(
                x.len(),
                #[inline(always)]
                |i, sum: T| m.fma(x[i] - mean, x[i] - mean, sum),
            ) / n
                + self.epsilon)
                .sqrt();
        for (((x, y), gain), shift) in x.iter_mut().zip(y).zip(self.gain).zip(self.shift) {
            *x = (*x - mean) * rstd;
            *y = m.fma(*x, *gain, *shift);
        }
        rstd
    }

    /// `d` goes from the gradient of the result to that of the input, and the rows that were kept become a copy of it; adds
    /// to the gradients of gain and shift, which lie one after the other.
    pub fn back(&self, d: &mut [T], saved: Normed<'_, T>, d_affine: &mut [T]) {
        let width = self.gain.len();
        let (d_gain, d_shift) = d_affine.split_at_mut(width);
        widest!(|m| {
            for ((d, x), rstd) in
                d.chunks_exact_mut(width).zip(saved.rows.chunks_exact_mut(width)).zip(saved.rstd)
            {
                for ((d, x), (dg, ds)) in
                    d.iter().zip(x.iter()).zip(d_gain.iter_mut().zip(d_shift.iter_mut()))
                {
                    *dg = m.fma(*d, *x, *dg);
                    *ds += *d;
                }
                self.row_back(m, d, x, *rstd);
            }
        });
    }

    #[inline(always)]
    fn row_back<M: MulAdd>(&self, m: M, d: &mut [T], x: &mut [T], rstd: T) {
        let n = T::of(self.gain.len() as f64);
        for (d, gain) in d.iter_mut().zip(self.gain) {
            *d *= *gain;
        }
        let mean = sum(
            d.len(),
            #[inline(always)]
            |i, sum: T| sum + d[i],
        ) / n;
        let along = sum(
            d.len(),
            #[inline(always)]
            |i, sum| m.fma(d[i], x[i], sum),
        ) / n;
        for (d, x) in d.iter_mut().zip(x) {
            *d = rstd * m.fma(-*x, along, *d - mean);
            *x = *d;
        }
    }
}

/// Softmax in place of rows of `len`.
pub fn softmax<T: Real>(rows: &mut [T], len: usize) {
    #[inline(always)]
    fn shift<T: Real>(row: &mut [T]) {
        let mut tops = [T::MASKED + T::MASKED; LANES];
        for block in row.chunks(LANES) {
            for (top, x) in tops.iter_mut().zip(block) {
                *top = if *x > *top { *x } else { *top };
            }
        }
        let mut top = tops[0];
        for x in tops {
            top = if x > top { x } else { top };
        }
        for x in row {
            *x = *x - top;
        }
    }
    #[inline(always)]
    fn scale<T: Real>(row: &mut [T]) {
        let scale = T::ONE
            / sum(
                row.len(),
                #[inline(always)]
                |i, sum: T| sum + row[i],
            );
        for x in row {
            *x *= scale;
        }
    }
    widest!(|m| {
        for row in rows.chunks_exact_mut(len) {
            shift(row);
        }
        // Over all rows at once: they are often shorter than what the processor does at a time.
        for x in rows.iter_mut() {
            *x = exp(m, *x);
        }
        for row in rows.chunks_exact_mut(len) {
            scale(row);
        }
    });
}

/// `d` goes from the gradient of softmax rows `p` of `len` to that of their scores.
pub fn softmax_back<T: Real>(d: &mut [T], p: &[T], len: usize) {
    #[inline(always)]
    fn one<M: MulAdd, T: Real>(m: M, d: &mut [T], p: &[T]) {
        let along = sum(
            d.len(),
            #[inline(always)]
            |i, sum| m.fma(d[i], p[i], sum),
        );
        for (d, p) in d.iter_mut().zip(p) {
            *d = *p * (*d - along);
        }
    }
    widest!(|m| {
        for (d, p) in d.chunks_exact_mut(len).zip(p.chunks_exact(len)) {
            one(m, d, p);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Activation; 5] =
        [Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::Tanh, Activation::Silu];

    /// Value and derivative at x.
    fn at<T: Real>(activation: Activation, x: T) -> (T, T) {
        let mut value = [x];
        let mut slope = [T::ZERO];
        activation.apply(&mut value, &[T::ZERO], Some(&mut slope));
        let mut alone = [x];
        activation.apply(&mut alone, &[T::ZERO], None);
        assert!(alone == value || value[0].wide().is_nan(), "{activation:?} with and without its slope");
        (value[0], slope[0])
    }

    #[test]
    fn slopes_are_derivatives() {
        for activation in ALL {
            for x in [-3.0, -1.0, -0.2, 0.3, 1.7, 4.0f64] {
                let h = 1e-5;
                let difference = (at(activation, x + h).0 - at(activation, x - h).0) / (2.0 * h);
                let slope = at(activation, x).1;
                assert!((slope - difference).abs() < 1e-8, "{activation:?} at {x}: {slope} {difference}");
            }
        }
    }

    #[test]
    fn activations_follow_their_definitions() {
        let defined = |activation, x: f64| match activation {
            Activation::Relu => x.max(0.0),
            Activation::Gelu => x * 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
            Activation::GeluTanh => {
                0.5 * x * (1.0 + libm::tanh((2.0 / PI).sqrt() * (x + 0.044_715 * x * x * x)))
            }
            Activation::Tanh => libm::tanh(x),
            Activation::Silu => x / (1.0 + libm::exp(-x)),
        };
        for activation in ALL {
            for i in -800..=800 {
                let x = f64::from(i) / 64.0;
                let want = defined(activation, x);
                assert!((at(activation, x).0 - want).abs() < 3e-15 * x.abs().max(1.0), "{activation:?} {x}");
                let narrow = f64::from(at(activation, x as f32).0);
                assert!(
                    (narrow - want).abs() < 3e-7 * x.abs().max(1.0),
                    "{activation:?} {x}: {narrow} {want}"
                );
            }
            assert!(at(activation, f32::NAN).0.is_nan() && at(activation, f64::NAN).0.is_nan());
        }
    }

    #[test]
    fn relu_is_flat_at_zero() {
        assert_eq!(at(Activation::Relu, 0.0f32), (0.0, 0.0));
    }

    #[test]
    fn softmax_of_masked_and_infinite_rows() {
        let mut masked = [f32::MASKED, f32::MASKED + 1.0, f32::MASKED];
        softmax(&mut masked, 3);
        assert!(masked.iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-7), "{masked:?}");
        let mut rows = [f64::NAN, 0.0, 0.0, f64::MASKED];
        softmax(&mut rows, 2);
        assert!(rows[..2].iter().all(|p| p.is_nan()));
        assert_eq!(rows[2..], [1.0, 0.0]);
    }
}
