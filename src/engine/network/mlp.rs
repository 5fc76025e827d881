//! Fully connected classifiers: `layers.{i}.weight` [out, in], `layers.{i}.bias` [out], an activation between layers.
//!
//! Owns: forward and backward of the MLP. May not touch: other architectures.

use super::batch::{Batch, Inputs, ProbeTensors, cut_features};
use super::gemm::{How, View, ViewMut, multiply};
use super::layout::ParameterLayout;
use super::ops::{Activation, add_bias, add_column_sums, multiply_by};
use super::{Architecture, Network, Pass, activation, parse, positive, sized};
use crate::domain::{Fault, ProbeGroup};
use crate::engine::device::real::Real;
use serde::Deserialize;
use std::sync::Arc;

/// Its line in the registry.
pub const ARCHITECTURE: Architecture = Architecture { model_types: &["mlp"], build };

const MOST_LAYERS: usize = 10_000;
const MOST_UNITS: usize = 1 << 24;

#[derive(Deserialize)]
struct Config {
    sizes: Vec<usize>,
    #[serde(default = "relu")]
    hidden_act: String,
}

fn relu() -> String {
    "relu".into()
}

/// One layer's place in the arena.
#[derive(Debug, Clone, Copy)]
struct Layer {
    weight: usize,
    bias: usize,
    inputs: usize,
    outputs: usize,
}

struct Mlp {
    layout: Arc<ParameterLayout>,
    layers: Arc<Vec<Layer>>,
    activation: Activation,
}

fn build(config_json: &str) -> Result<Arc<dyn Network>, Fault> {
    let config: Config = parse(config_json)?;
    if !(2..=MOST_LAYERS).contains(&config.sizes.len()) {
        let found = config.sizes.len();
        let description = format!("found {found} sizes, expected 2 to {MOST_LAYERS}");
        return Err(Fault::invalid("config_json.sizes", description));
    }
    for (i, size) in config.sizes.iter().enumerate() {
        positive(&format!("sizes[{i}]"), *size, MOST_UNITS)?;
    }
    let activation = activation(&config.hidden_act)?;
    let mut tensors = Vec::new();
    for (i, pair) in config.sizes.windows(2).enumerate() {
        tensors.push((format!("layers.{i}.weight"), vec![pair[1], pair[0]]));
        tensors.push((format!("layers.{i}.bias"), vec![pair[1]]));
    }
    let layout = ParameterLayout::new(tensors)?;
    let layer = |(i, pair): (usize, &[usize])| Layer {
        weight: layout.offset(&format!("layers.{i}.weight")),
        bias: layout.offset(&format!("layers.{i}.bias")),
        inputs: pair[0],
        outputs: pair[1],
    };
    let layers = Arc::new(config.sizes.windows(2).enumerate().map(layer).collect());
    Ok(Arc::new(Mlp { layout: Arc::new(layout), layers, activation }))
}

impl Mlp {
    fn pass<T: Real>(&self, threads: usize) -> Box<dyn Pass<T>> {
        let (layers, activation) = (self.layers.clone(), self.activation);
        let rows = vec![Vec::new(); layers.len() + 1];
        let slopes = vec![Vec::new(); layers.len()];
        Box::new(MlpPass { layers, activation, threads, rows, slopes, d: Vec::new(), d_next: Vec::new() })
    }
}

impl Network for Mlp {
    fn layout(&self) -> &Arc<ParameterLayout> {
        &self.layout
    }

    fn classes(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    fn batches(&self, group: &ProbeGroup) -> Result<Vec<Batch>, Fault> {
        let probe = ProbeTensors::new(group, &["inputs", "labels"])?;
        let labels = probe.labels(self.classes())?;
        let width = self.layers[0].inputs;
        Ok(cut_features(&probe.features(labels.len(), width)?, width, &labels))
    }

    fn pass_f32(&self, threads: usize) -> Box<dyn Pass<f32>> {
        self.pass(threads)
    }

    fn pass_f64(&self, threads: usize) -> Box<dyn Pass<f64>> {
        self.pass(threads)
    }
}

struct MlpPass<T> {
    layers: Arc<Vec<Layer>>,
    activation: Activation,
    threads: usize,
    /// Input of each layer and the logits: [examples, units].
    rows: Vec<Vec<T>>,
    /// Derivative of each layer's activation: [examples, units].
    slopes: Vec<Vec<T>>,
    d: Vec<T>,
    d_next: Vec<T>,
}

impl<T: Real> Pass<T> for MlpPass<T> {
    fn forward(&mut self, w: &[T], batch: &Batch, keep: bool) -> &[T] {
        let n = batch.labels.len();
        let Inputs::Features(features) = &batch.inputs else { unreachable!("an MLP cuts features") };
        for (x, feature) in sized(&mut self.rows[0], features.len()).iter_mut().zip(features) {
            *x = T::of(*feature);
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let (before, after) = self.rows.split_at_mut(i + 1);
            let out = sized(&mut after[0], n * layer.outputs);
            let input = View::rows(&before[i][..n * layer.inputs], (n, layer.inputs), layer.inputs);
            let weight = View::rows(&w[layer.weight..], (layer.outputs, layer.inputs), layer.inputs);
            let how = How { scale: T::ONE, add: false, threads: self.threads };
            multiply(ViewMut::rows(out, (n, layer.outputs), layer.outputs), input, weight.t(), how);
            let bias = &w[layer.bias..][..layer.outputs];
            if i + 1 == self.layers.len() {
                add_bias(out, bias);
            } else {
                let slopes = keep.then(|| sized(&mut self.slopes[i], n * layer.outputs));
                self.activation.apply(out, bias, slopes);
            }
        }
        let classes = self.layers[self.layers.len() - 1].outputs;
        &self.rows[self.layers.len()][..n * classes]
    }

    fn backward(&mut self, w: &[T], batch: &Batch, d_logits: &[T], gradient: &mut [T]) {
        let n = batch.labels.len();
        sized(&mut self.d, d_logits.len()).copy_from_slice(d_logits);
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let d = &mut self.d[..n * layer.outputs];
            if i + 1 < self.layers.len() {
                multiply_by(d, &self.slopes[i][..n * layer.outputs]);
            }
            add_column_sums(d, &mut gradient[layer.bias..][..layer.outputs]);
            let d = View::rows(d, (n, layer.outputs), layer.outputs);
            let input = View::rows(&self.rows[i][..n * layer.inputs], (n, layer.inputs), layer.inputs);
            let target =
                ViewMut::rows(&mut gradient[layer.weight..], (layer.outputs, layer.inputs), layer.inputs);
            multiply(target, d.t(), input, How { scale: T::ONE, add: true, threads: self.threads });
            if i > 0 {
                let weight = View::rows(&w[layer.weight..], (layer.outputs, layer.inputs), layer.inputs);
                let next = sized(&mut self.d_next, n * layer.inputs);
                let how = How { scale: T::ONE, add: false, threads: self.threads };
                multiply(ViewMut::rows(next, (n, layer.inputs), layer.inputs), d, weight, how);
                std::mem::swap(&mut self.d, &mut self.d_next);
            }
        }
    }
}
