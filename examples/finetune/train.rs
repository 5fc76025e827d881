//! The training loop: AdamW, seeded shuffling, one loss a step.
//!
//! Owns: the optimizer and the order of the rows. May not touch: clino.

use super::network::Network;
use super::text::{Batch, Row};
use candle_core::{Result, Var, bail};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};

/// Rows of a step.
pub const BATCH: usize = 32;
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
    pub fn step(&mut self, batch: &Batch) -> Result<f32> {
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

/// The batches of one epoch: every row once, in an order that the seed fixes.
pub fn epoch(rows: &[Row], seed: u64) -> Vec<Batch> {
    let mut order: Vec<&Row> = rows.iter().collect();
    let mut state = seed;
    for last in (1..order.len()).rev() {
        // The bias of the remainder is below 1e-15 for a thousand rows.
        order.swap(last, (split_mix(&mut state) % (last as u64 + 1)) as usize);
    }
    order.chunks(BATCH).map(|rows| Batch::of(rows.iter().copied())).collect()
}

/// SplitMix64: enough for shuffling, the same everywhere.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
