//! The encoder classifiers of the BERT family in candle, on a rectangle [examples, longest] of tokens.
//!
//! Owns: their forward, padding and mask. May not touch: other architectures.

use super::ops::{activate, linear, norm, softmax};
use super::parameters::CandleParameters;
use crate::device::real::Real;
use crate::network::batch::{Sequence, Tokens};
use crate::network::ops::Activation;
use crate::network::{ANY, activation, parse};
use candle_core::{Result as Candle, Tensor};
use clino_domain::Fault;
use serde::Deserialize;

#[derive(Deserialize)]
struct CandleConfig {
    model_type: String,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    layer_norm_eps: Option<f64>,
    hidden_act: Option<String>,
}

/// A post-LayerNorm encoder with a classifier on the first token.
pub struct CandleEncoder {
    /// First segment of the names.
    prefix: &'static str,
    /// Names of the dense layer and of the classifier behind the encoder.
    head: [&'static str; 2],
    layers: usize,
    heads: usize,
    epsilon: f64,
    activation: Activation,
}

impl CandleEncoder {
    /// From a configuration that the hand-written network took.
    pub fn read(config_json: &str) -> Result<Self, Fault> {
        let config: CandleConfig = parse(config_json, ANY)?;
        let (prefix, head) = match config.model_type.as_str() {
            "bert" => ("bert", ["bert.pooler.dense", "classifier"]),
            _ => ("roberta", ["classifier.dense", "classifier.out_proj"]),
        };
        Ok(Self {
            prefix,
            head,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            epsilon: config.layer_norm_eps.unwrap_or(1e-12),
            activation: activation(config.hidden_act.as_deref().unwrap_or("gelu"))?,
        })
    }

    /// The logits of a padded batch, [examples, classes].
    pub fn logits(&self, parameters: &CandleParameters, tokens: &Rectangle) -> Candle<Tensor> {
        let mask = &tokens.mask;
        let rows = mask.dim(0)?;
        let longest = mask.dim(3)?;
        let mut hidden = self.embed(parameters, tokens)?;
        for layer in 0..self.layers {
            let name = format!("{}.encoder.layer.{layer}", self.prefix);
            hidden = self.layer(parameters, &name, &hidden, mask)?;
        }
        let first = hidden.reshape((rows, longest, ()))?.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?;
        let [dense, classifier] = self.head;
        let pooled = linear(&first, parameters.pair(dense)?)?.tanh()?;
        linear(&pooled, parameters.pair(classifier)?)
    }

    /// [examples * longest, hidden].
    fn embed(&self, parameters: &CandleParameters, tokens: &Rectangle) -> Candle<Tensor> {
        let name = format!("{}.embeddings", self.prefix);
        let look_up = |table: &str, of: &Tensor| {
            parameters.get(&format!("{name}.{table}_embeddings.weight"))?.index_select(of, 0)
        };
        let words = look_up("word", &tokens.ids)?;
        let positions = look_up("position", &tokens.positions)?;
        let types = look_up("token_type", &tokens.types)?;
        norm(&((words + types)? + positions)?, parameters.pair(&format!("{name}.LayerNorm"))?, self.epsilon)
    }

    /// `x` [examples * longest, hidden] through one encoder layer.
    fn layer(&self, parameters: &CandleParameters, name: &str, x: &Tensor, mask: &Tensor) -> Candle<Tensor> {
        let pair = |part: &str| parameters.pair(&format!("{name}.{part}"));
        let context = self.attend(parameters, &format!("{name}.attention.self"), x, mask)?;
        let attended = (linear(&context, pair("attention.output.dense")?)? + x)?;
        let x = norm(&attended, pair("attention.output.LayerNorm")?, self.epsilon)?;
        let inner = activate(self.activation, &linear(&x, pair("intermediate.dense")?)?)?;
        let outer = (linear(&inner, pair("output.dense")?)? + x)?;
        norm(&outer, pair("output.LayerNorm")?, self.epsilon)
    }

    /// Context [examples * longest, hidden] of all heads; `mask` [examples, 1, 1, longest] is added to the scores.
    fn attend(&self, parameters: &CandleParameters, name: &str, x: &Tensor, mask: &Tensor) -> Candle<Tensor> {
        let rows = mask.dim(0)?;
        let longest = mask.dim(3)?;
        let width = x.dim(1)? / self.heads;
        let split = |part: &str| {
            let projected = linear(x, parameters.pair(&format!("{name}.{part}"))?)?;
            projected.reshape((rows, longest, self.heads, width))?.transpose(1, 2)?.contiguous()
        };
        let query = split("query")?;
        let key = split("key")?;
        let value = split("value")?;
        let scores = (query.matmul(&key.t()?)? * (1.0 / (width as f64).sqrt()))?;
        let context = softmax(&scores.broadcast_add(mask)?)?.matmul(&value)?;
        context.transpose(1, 2)?.reshape((rows * longest, self.heads * width))
    }
}

/// A packed batch padded to its longest sequence, on the device of the parameters.
pub struct Rectangle {
    /// Token ids, [rows * longest].
    ids: Tensor,
    /// Token types, [rows * longest].
    types: Tensor,
    /// Rows of the position table, [rows * longest].
    positions: Tensor,
    /// What is added to the scores of the key at each place: [rows, 1, 1, longest].
    mask: Tensor,
}

impl Rectangle {
    /// Pads a batch and brings it to the device.
    pub fn new(parameters: &CandleParameters, tokens: &Tokens) -> Candle<Self> {
        let rows = tokens.sequences.len();
        let longest = tokens.sequences.iter().map(|sequence| sequence.len).max().unwrap_or(0);
        let places = || tokens.sequences.iter().flat_map(|s| (0..longest).map(move |column| (s, column)));
        // Padding repeats the first token of its row: any token serves, as nothing reads it.
        let source = |(s, column): (&Sequence, usize)| s.start + if column < s.len { column } else { 0 };
        let sources: Vec<usize> = places().map(source).collect();
        let mask: Vec<f32> = places().map(|(sequence, column)| added(sequence, column)).collect();
        let pick = |of: &[u32]| {
            let picked: Vec<u32> = sources.iter().map(|source| of[*source]).collect();
            Tensor::new(picked, parameters.device())
        };
        Ok(Self {
            ids: pick(&tokens.ids)?,
            types: pick(&tokens.types)?,
            positions: pick(&tokens.positions)?,
            mask: parameters.constant(&mask, &[rows, 1, 1, longest])?,
        })
    }
}

/// Padding is out of reach even for a row whose own tokens are all masked, whose scores drown in a finite mask.
fn added(sequence: &Sequence, column: usize) -> f32 {
    match sequence.masked.get(column) {
        _ if column >= sequence.len => f32::NEG_INFINITY,
        Some(true) => f32::MASKED,
        _ => 0.0,
    }
}
