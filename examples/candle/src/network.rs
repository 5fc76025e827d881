//! The nano BERT as a trainer writes it: candle tensors, slow operations, gradients for every parameter.
//!
//! Owns: the forward pass and the parameters. May not touch: text, clino.

use super::text::TextBatch;
use candle_core::{D, Device, Result, Tensor, Var, bail};
use std::collections::BTreeMap;
use std::path::Path;

/// `BertForSequenceClassification` without dropout.
pub struct Network {
    parameters: BTreeMap<String, Var>,
    layers: usize,
    heads: usize,
}

/// `layer_norm_eps` of the nano configuration.
const EPSILON: f64 = 1e-12;
/// Added to the scores of padding: e to its power is zero in f32.
const MASKED: f64 = -1e9;

impl Network {
    /// Reads the parameters of a safetensors file as trainable variables.
    pub fn open(weights: &Path, layers: usize, heads: usize) -> Result<Self> {
        let tensors = candle_core::safetensors::load(weights, &Device::Cpu)?;
        let parameters =
            tensors.into_iter().map(|(name, t)| Ok((name, Var::from_tensor(&t)?))).collect::<Result<_>>()?;
        Ok(Self { parameters, layers, heads })
    }

    /// All parameters, in the order of their names.
    pub fn parameters(&self) -> &BTreeMap<String, Var> {
        &self.parameters
    }

    /// Mean cross-entropy of a batch.
    pub fn loss(&self, batch: &TextBatch) -> Result<Tensor> {
        let labels = Tensor::from_slice(&batch.labels, batch.examples(), &Device::Cpu)?;
        candle_nn::loss::cross_entropy(&self.logits(batch)?, &labels)
    }

    /// Scores `[examples, classes]`.
    pub fn logits(&self, batch: &TextBatch) -> Result<Tensor> {
        let shape = (batch.examples(), batch.tokens);
        let ids = Tensor::from_slice(&batch.ids, shape, &Device::Cpu)?;
        let mask = Tensor::from_slice(&batch.mask, shape, &Device::Cpu)?;
        let mask = mask.to_dtype(candle_core::DType::F32)?.affine(-MASKED, MASKED)?;
        let mask = mask.unsqueeze(1)?.unsqueeze(1)?;
        let mut hidden = self.embed(&ids)?;
        for layer in 0..self.layers {
            hidden = self.encode(&format!("bert.encoder.layer.{layer}"), &hidden, &mask)?;
        }
        let first = hidden.narrow(1, 0, 1)?.squeeze(1)?;
        let pooled = self.linear("bert.pooler.dense", &first)?.tanh()?;
        self.linear("classifier", &pooled)
    }

    fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let (examples, tokens) = ids.dims2()?;
        let table = |name: &str| self.parameter(&format!("bert.embeddings.{name}_embeddings.weight"));
        let words = table("word")?.index_select(&ids.flatten_all()?, 0)?.reshape((examples, tokens, ()))?;
        let places = table("position")?.narrow(0, 0, tokens)?;
        // The only token type of single texts.
        let types = table("token_type")?.narrow(0, 0, 1)?;
        let sum = words.broadcast_add(&places)?.broadcast_add(&types)?;
        self.norm("bert.embeddings.LayerNorm", &sum)
    }

    fn encode(&self, layer: &str, hidden: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (examples, tokens, width) = hidden.dims3()?;
        let head = width / self.heads;
        let split = |name: &str| {
            let projected = self.linear(&format!("{layer}.attention.self.{name}"), hidden)?;
            projected.reshape((examples, tokens, self.heads, head))?.transpose(1, 2)?.contiguous()
        };
        let (query, key, value) = (split("query")?, split("key")?, split("value")?);
        let scores =
            query.matmul(&key.transpose(2, 3)?.contiguous()?)?.affine((head as f64).powf(-0.5), 0.0)?;
        let weights = softmax(&scores.broadcast_add(mask)?)?;
        let mixed = weights.matmul(&value)?.transpose(1, 2)?.reshape((examples, tokens, width))?;
        let attended = self.linear(&format!("{layer}.attention.output.dense"), &mixed)?;
        let hidden = self.norm(&format!("{layer}.attention.output.LayerNorm"), &(attended + hidden)?)?;
        let inner = self.linear(&format!("{layer}.intermediate.dense"), &hidden)?.gelu_erf()?;
        let outer = self.linear(&format!("{layer}.output.dense"), &inner)?;
        self.norm(&format!("{layer}.output.LayerNorm"), &(outer + hidden)?)
    }

    fn linear(&self, name: &str, input: &Tensor) -> Result<Tensor> {
        let weight = self.parameter(&format!("{name}.weight"))?;
        let bias = self.parameter(&format!("{name}.bias"))?;
        let mut shape = input.dims().to_vec();
        let flat = input.reshape(((), shape[shape.len() - 1]))?;
        *shape.last_mut().expect("an input has at least one axis") = weight.dim(0)?;
        flat.matmul(&weight.t()?)?.broadcast_add(bias)?.reshape(shape)
    }

    // candle's fused layer norm drops gradients without a word, hence the plain operations.
    fn norm(&self, name: &str, input: &Tensor) -> Result<Tensor> {
        let centred = input.broadcast_sub(&input.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + EPSILON)?.sqrt()?;
        let scaled =
            centred.broadcast_div(&deviation)?.broadcast_mul(self.parameter(&format!("{name}.weight"))?)?;
        scaled.broadcast_add(self.parameter(&format!("{name}.bias"))?)
    }

    fn parameter(&self, name: &str) -> Result<&Tensor> {
        match self.parameters.get(name) {
            Some(var) => Ok(var.as_tensor()),
            None => bail!("the weights lack {name}"),
        }
    }
}

// As with the layer norm: candle's fused softmax has no gradient. The greatest score only keeps e to its power finite,
// it takes no part in the gradient.
fn softmax(scores: &Tensor) -> Result<Tensor> {
    let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
}
