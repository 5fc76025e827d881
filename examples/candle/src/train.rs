//! A step of the training: candle's autograd, candle's AdamW.
//!
//! Owns: the optimizer. May not touch: clino.

use super::network::Network;
use super::text::TextBatch;
use candle_core::{Result, Var, bail};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};

const LEARNING_RATE: f64 = 1e-3;

/// A network in training.
pub struct Training {
    network: Network,
    optimizer: AdamW,
    steps: u64,
}

impl Training {
    /// Begins at the parameters of `network`.
    pub fn new(network: Network) -> Result<Self> {
        let variables: Vec<Var> = network.parameters().values().cloned().collect();
        let settings = ParamsAdamW { lr: LEARNING_RATE, weight_decay: 0.01, ..ParamsAdamW::default() };
        Ok(Self { network, optimizer: AdamW::new(variables, settings)?, steps: 0 })
    }

    /// One step on a batch; gives the loss before it.
    pub fn step(&mut self, batch: &TextBatch) -> Result<f32> {
        let loss = self.network.loss(batch)?;
        let gradients = loss.backward()?;
        // A parameter that the graph lost would silently stay at its initial value.
        for (name, variable) in self.network.parameters() {
            if gradients.get(variable).is_none() {
                bail!("{name} got no gradient");
            }
        }
        self.optimizer.step(&gradients)?;
        self.steps += 1;
        loss.to_scalar()
    }

    /// The network as it is now.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}
