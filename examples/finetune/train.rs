//! The training loop: AdamW, seeded shuffling, one loss a step.
//!
//! Owns: the optimizer and the order of the rows. May not touch: clino's daemon.

use super::text::{LabelledText, TextBatch};
use clino_domain::{Dtype, ProbeGroup, Snapshot, SnapshotHeader, Tensor, TensorSpec};
use clino_engine::Gradients;
use safetensors::SafeTensors;
use std::error::Error;
use std::path::Path;

/// Rows of a step.
pub const BATCH: usize = 32;
const LEARNING_RATE: f64 = 1e-3;
const WEIGHT_DECAY: f64 = 0.01;
/// Of the means of the gradient and of its square.
const DECAYS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;

/// A network in training.
pub struct Training {
    model: Gradients,
    /// Running means of the gradient and of its square, element by element.
    means: Vec<f64>,
    squares: Vec<f64>,
    steps: u64,
}

impl Training {
    /// Begins at the parameters of a safetensors file.
    pub fn new(config_json: &str, weights: &Path) -> Result<Self, Box<dyn Error>> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut model = Gradients::new(config_json, read(weights)?, threads)?;
        let zeros = vec![0.0; model.elements().0.len()];
        Ok(Self { model, means: zeros.clone(), squares: zeros, steps: 0 })
    }

    /// One step on a batch; gives the loss before it.
    pub fn step(&mut self, batch: &TextBatch) -> Result<f64, Box<dyn Error>> {
        let loss = self.model.of(&ProbeGroup::new("batch", batch.tensors()?))?;
        self.steps += 1;
        self.descend();
        Ok(loss)
    }

    /// AdamW (Loshchilov and Hutter 2019, algorithm 2).
    fn descend(&mut self) {
        let steps = self.steps as f64;
        let [first, second] = DECAYS;
        let rate = LEARNING_RATE / (1.0 - first.powf(steps));
        let unbiased = 1.0 - second.powf(steps);
        let (parameters, gradient) = self.model.elements();
        let moments = self.means.iter_mut().zip(&mut self.squares);
        for ((w, g), (mean, square)) in parameters.iter_mut().zip(gradient).zip(moments) {
            let g = f64::from(*g);
            *mean = first * *mean + (1.0 - first) * g;
            *square = second * *square + (1.0 - second) * g * g;
            let decayed = f64::from(*w) * (1.0 - LEARNING_RATE * WEIGHT_DECAY);
            *w = (decayed - rate * *mean / ((*square / unbiased).sqrt() + EPSILON)) as f32;
        }
    }

    /// The parameters as bytes that no longer change when the training goes on.
    pub fn host_copy(&self) -> Result<Vec<Tensor>, Box<dyn Error>> {
        let copy = |(spec, values): (&TensorSpec, &[f32])| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            Ok(Tensor::named(&spec.name, Dtype::F32, &spec.shape, bytes)?)
        };
        self.model.parameters().map(copy).collect()
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

/// The tensors of a file, which are in f32.
fn read(weights: &Path) -> Result<Snapshot, Box<dyn Error>> {
    let bytes = std::fs::read(weights)?;
    let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let shape: Vec<u64> = view.shape().iter().map(|axis| *axis as u64).collect();
        Tensor::named(&name, Dtype::F32, &shape, view.data().to_vec())
    };
    let tensors = SafeTensors::deserialize(&bytes)?.tensors().into_iter().map(tensor);
    Ok(Snapshot::of(SnapshotHeader::live(0), tensors.collect::<Result<_, _>>()?)?)
}

/// The batches of one epoch: every row once, in an order that the seed fixes.
pub fn epoch(rows: &[LabelledText], seed: u64) -> Vec<TextBatch> {
    let mut order: Vec<&LabelledText> = rows.iter().collect();
    let mut state = seed;
    for last in (1..order.len()).rev() {
        // The bias of the remainder is below 1e-15 for a thousand rows.
        order.swap(last, (split_mix(&mut state) % (last as u64 + 1)) as usize);
    }
    order.chunks(BATCH).map(|rows| TextBatch::of(rows.iter().copied())).collect()
}

/// SplitMix64: enough for shuffling, the same everywhere.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
