//! Layers made of candle's plain operations. Its fused LayerNorm and softmax drop gradients without a word, and its
//! fused GELUs have derivatives of six digits.
//!
//! Owns: dense layers, LayerNorm, softmax, activations. May not touch: parameters, shapes of a model.

use crate::network::ops::Activation;
use candle_core::{D, Result, Tensor};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

/// x [rows, in] → [rows, out] for a weight [out, in] and a bias [out].
pub fn linear(x: &Tensor, [weight, bias]: [&Tensor; 2]) -> Result<Tensor> {
    x.matmul(&weight.t()?)?.broadcast_add(bias)
}

/// LayerNorm over the last axis of x [rows, width], with gain and shift [width].
pub fn norm(x: &Tensor, [gain, shift]: [&Tensor; 2], epsilon: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(gain)?.broadcast_add(shift)
}

/// Softmax over the last axis. The greatest score only keeps the powers finite, so it takes no part in the gradient.
pub fn softmax(scores: &Tensor) -> Result<Tensor> {
    let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
}

/// The activation of every element.
pub fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        // Not `relu`, whose derivative at 0 is 1 in candle; it is 0 in PyTorch.
        Activation::Relu => x.le(0f64)?.where_cond(&x.zeros_like()?, x),
        Activation::Gelu => x * (x * FRAC_1_SQRT_2)?.erf()?.affine(0.5, 0.5)?,
        Activation::GeluTanh => {
            let cubic = (x.sqr()? * x)?;
            let inner = ((x + (cubic * 0.044_715)?)? * FRAC_2_PI.sqrt())?;
            x * inner.tanh()?.affine(0.5, 0.5)?
        }
        Activation::Tanh => x.tanh(),
        Activation::Silu => x.silu(),
    }
}
