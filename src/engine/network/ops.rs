//! Row-wise functions of networks and their derivatives: activations, LayerNorm, softmax, biases.
//!
//! Owns: the arithmetic of one row. May not touch: parameters, shapes of a model.

use crate::engine::device::real::Real;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

/// Non-linearity between two layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0), with derivative 0 at 0.
    Relu,
    /// x Φ(x), exact.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// Hyperbolic tangent.
    Tanh,
    /// x σ(x).
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

    /// Value and derivative at x.
    pub fn with_slope<T: Real>(self, x: T) -> (T, T) {
        let half = T::of(0.5);
        match self {
            Self::Relu if x > T::ZERO => (x, T::ONE),
            // The comparison fails for NaN, which must go on as NaN.
            Self::Relu => (if x <= T::ZERO { T::ZERO } else { x }, T::ZERO),
            Self::Gelu => {
                let cdf = half * (T::ONE + (x * T::of(FRAC_1_SQRT_2)).erf());
                let pdf = (-half * x * x).exp() * T::of(FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * 0.5);
                (x * cdf, cdf + x * pdf)
            }
            Self::GeluTanh => {
                let (root, cubic) = (T::of((2.0 / PI).sqrt()), T::of(0.044_715));
                let t = (root * (x + cubic * x * x * x)).tanh();
                let inner = root * (T::ONE + T::of(3.0) * cubic * x * x);
                (half * x * (T::ONE + t), half * (T::ONE + t) + half * x * (T::ONE - t * t) * inner)
            }
            Self::Tanh => {
                let t = x.tanh();
                (t, T::ONE - t * t)
            }
            Self::Silu => {
                let s = T::ONE / (T::ONE + (-x).exp());
                (x * s, s * (T::ONE + x * (T::ONE - s)))
            }
        }
    }

    /// Adds the bias to each row of `x`, then x becomes the activation; `slopes` gets its derivative when asked for.
    pub fn apply<T: Real>(self, x: &mut [T], bias: &[T], slopes: Option<&mut [T]>) {
        let rows = x.chunks_exact_mut(bias.len());
        match slopes {
            Some(slopes) => {
                for (row, slopes) in rows.zip(slopes.chunks_exact_mut(bias.len())) {
                    for ((x, b), slope) in row.iter_mut().zip(bias).zip(slopes) {
                        (*x, *slope) = self.with_slope(*x + *b);
                    }
                }
            }
            None => {
                for row in rows {
                    for (x, b) in row.iter_mut().zip(bias) {
                        *x = self.with_slope(*x + *b).0;
                    }
                }
            }
        }
    }
}

/// Adds `bias` to each row.
pub fn add_bias<T: Real>(x: &mut [T], bias: &[T]) {
    for row in x.chunks_exact_mut(bias.len()) {
        for (x, b) in row.iter_mut().zip(bias) {
            *x += *b;
        }
    }
}

/// Adds the sum of all rows to `total`: the gradient of a bias.
pub fn add_column_sums<T: Real>(rows: &[T], total: &mut [T]) {
    for row in rows.chunks_exact(total.len()) {
        for (t, x) in total.iter_mut().zip(row) {
            *t += *x;
        }
    }
}

/// x = x * y, element by element.
pub fn multiply_by<T: Real>(x: &mut [T], y: &[T]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x *= *y;
    }
}

const LANES: usize = 8;

fn sum<T: Real>(row: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (blocks, rest) = row.as_chunks::<LANES>();
    for block in blocks {
        for (lane, x) in lanes.iter_mut().zip(block) {
            *lane += f(*x);
        }
    }
    lanes.into_iter().sum::<T>() + rest.iter().map(|x| f(*x)).sum::<T>()
}

fn dot<T: Real>(x: &[T], y: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in xs.iter().zip(ys) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += *x * *y;
        }
    }
    lanes.into_iter().sum::<T>() + x_rest.iter().zip(y_rest).map(|(x, y)| *x * *y).sum::<T>()
}

/// Gain, shift and epsilon of a LayerNorm.
#[derive(Clone, Copy)]
pub struct Norm<'a, T> {
    /// [width].
    pub gain: &'a [T],
    /// [width].
    pub shift: &'a [T],
    /// Added to the variance.
    pub epsilon: T,
}

impl<T: Real> Norm<'_, T> {
    /// Each row of `x` becomes its normalized form (before gain and shift), `y` the result, `rstd` 1 / deviation.
    pub fn apply(&self, x: &mut [T], y: &mut [T], rstd: &mut [T]) {
        let width = self.gain.len();
        let n = T::of(width as f64);
        for ((x, y), rstd) in x.chunks_exact_mut(width).zip(y.chunks_exact_mut(width)).zip(rstd) {
            let mean = sum(x, |v| v) / n;
            let variance = sum(x, |v| (v - mean) * (v - mean)) / n;
            *rstd = T::ONE / (variance + self.epsilon).sqrt();
            for (((x, y), gain), shift) in x.iter_mut().zip(y).zip(self.gain).zip(self.shift) {
                *x = (*x - mean) * *rstd;
                *y = *x * *gain + *shift;
            }
        }
    }

    /// `d` goes from the gradient of the result to that of the input; adds to the gradients of gain and shift.
    pub fn back(&self, d: &mut [T], saved: (&[T], &[T]), d_gain: &mut [T], d_shift: &mut [T]) {
        let width = self.gain.len();
        let n = T::of(width as f64);
        let (normalized, rstd) = saved;
        for ((d, x), rstd) in d.chunks_exact_mut(width).zip(normalized.chunks_exact(width)).zip(rstd) {
            for (((d, x), gain), (dg, ds)) in
                d.iter_mut().zip(x).zip(self.gain).zip(d_gain.iter_mut().zip(d_shift.iter_mut()))
            {
                *dg += *d * *x;
                *ds += *d;
                *d *= *gain;
            }
            let mean = sum(d, |v| v) / n;
            let along = dot(d, x) / n;
            for (d, x) in d.iter_mut().zip(x) {
                *d = *rstd * (*d - mean - *x * along);
            }
        }
    }
}

/// Softmax of one row in place.
pub fn softmax<T: Real>(row: &mut [T]) {
    let top = row.iter().copied().fold(T::MASKED + T::MASKED, |a, b| if b > a { b } else { a });
    for x in row.iter_mut() {
        *x = (*x - top).exp();
    }
    let scale = T::ONE / sum(row, |x| x);
    for x in row.iter_mut() {
        *x *= scale;
    }
}

/// `d` goes from the gradient of a softmax row `p` to that of its scores.
pub fn softmax_back<T: Real>(d: &mut [T], p: &[T]) {
    let along = dot(d, p);
    for (d, p) in d.iter_mut().zip(p) {
        *d = *p * (*d - along);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Activation; 5] =
        [Activation::Relu, Activation::Gelu, Activation::GeluTanh, Activation::Tanh, Activation::Silu];

    #[test]
    fn slopes_are_derivatives() {
        for activation in ALL {
            for x in [-3.0, -1.0, -0.2, 0.3, 1.7, 4.0f64] {
                let h = 1e-5;
                let difference =
                    (activation.with_slope(x + h).0 - activation.with_slope(x - h).0) / (2.0 * h);
                let slope = activation.with_slope(x).1;
                assert!((slope - difference).abs() < 1e-8, "{activation:?} at {x}: {slope} {difference}");
            }
        }
    }

    #[test]
    fn relu_passes_nan_on_and_is_flat_at_zero() {
        assert!(Activation::Relu.with_slope(f64::NAN).0.is_nan());
        assert_eq!(Activation::Relu.with_slope(0.0f32), (0.0, 0.0));
    }

    #[test]
    fn softmax_of_masked_and_infinite_rows() {
        let mut masked = [f32::MASKED, f32::MASKED + 1.0, f32::MASKED];
        softmax(&mut masked);
        assert!(masked.iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-7), "{masked:?}");
        let mut nan = [f64::NAN, 0.0];
        softmax(&mut nan);
        assert!(nan.iter().all(|p| p.is_nan()));
    }
}
