//! The MLP in candle: `layers.{i}` and an activation between layers.
//!
//! Owns: its forward. May not touch: other architectures.

use super::ops::{activate, linear};
use super::parameters::Parameters;
use crate::network::ops::Activation;
use crate::network::{ANY, activation, parse};
use candle_core::{Result as Candle, Tensor};
use clino_domain::Fault;
use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    sizes: Vec<usize>,
    hidden_act: Option<String>,
}

/// A fully connected classifier.
pub struct Mlp {
    sizes: Vec<usize>,
    activation: Activation,
}

impl Mlp {
    /// From a configuration that the hand-written network took.
    pub fn read(config_json: &str) -> Result<Self, Fault> {
        let config: Config = parse(config_json, ANY)?;
        let activation = activation(config.hidden_act.as_deref().unwrap_or("relu"))?;
        Ok(Self { sizes: config.sizes, activation })
    }

    /// `features` [examples, inputs] on the device of the parameters.
    pub fn prepare(&self, parameters: &Parameters, features: &[f64]) -> Candle<Tensor> {
        let inputs = self.sizes[0];
        parameters.constant(features, &[features.len() / inputs, inputs])
    }

    /// Logits [examples, classes] of `features` [examples, inputs].
    pub fn logits(&self, parameters: &Parameters, features: &Tensor) -> Candle<Tensor> {
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
