//! The MLP in candle: `layers.{i}` and an activation between layers.
//!
//! Owns: its forward. May not touch: other architectures.

use super::ops::{activate, linear};
use super::parameters::CandleParameters;
use crate::network::ops::Activation;
use crate::network::{ANY, activation, parse};
use candle_core::{Result as Candle, Tensor};
use clino_domain::Fault;
use serde::Deserialize;

#[derive(Deserialize)]
struct CandleConfig {
    sizes: Vec<usize>,
    hidden_act: Option<String>,
}

/// A fully connected classifier.
pub struct CandleMlp {
    sizes: Vec<usize>,
    activation: Activation,
}

impl CandleMlp {
    /// From a configuration that the hand-written network took.
    pub fn read(config_json: &str) -> Result<Self, Fault> {
        let config: CandleConfig = parse(config_json, ANY)?;
        let activation = activation(config.hidden_act.as_deref().unwrap_or("relu"))?;
        Ok(Self { sizes: config.sizes, activation })
    }

    /// `features` [examples, inputs] on the device of the parameters.
    pub fn prepare(&self, parameters: &CandleParameters, features: &[f64]) -> Candle<Tensor> {
        let inputs = self.sizes[0];
        parameters.constant(features, &[features.len() / inputs, inputs])
    }

    /// Logits [examples, classes] of `features` [examples, inputs].
    pub fn logits(&self, parameters: &CandleParameters, features: &Tensor) -> Candle<Tensor> {
        let mut x = features.clone();
        for i in 0..self.sizes.len() - 1 {
            if i > 0 {
                x = activate(self.activation, &x)?;
            }
            x = linear(&x, parameters.pair(&format!("layers.{i}"))?)?;
        }
        Ok(x)
    }
}
