//! Fully connected classifiers: `layers.{i}.weight` [out, in], `layers.{i}.bias` [out], an activation between layers.
//!
//! Owns: forward and backward of the MLP. May not touch: other architectures.

use super::batch::{Batch, Extent, Inputs, cut_features};
use super::dense::{Dense, Gradient, GradientShare, add_gradients, try_each};
use super::layout::ParameterLayout;
use super::naming::Habits;
use super::ops::{Activation, add_bias, multiply_by};
use super::probe::ProbeTensors;
use super::targets::Targets;
use super::{
    Architecture, Network, Pass, PassInput, Product, activation, check_task, classes, gathered, parse,
    positive, sized,
};
use crate::device::real::Real;
use clino_domain::{Checkpoint, Fault, ProbeGroup};
use serde::Deserialize;
use std::sync::Arc;

/// Its line in the registry.
pub const ARCHITECTURE: Architecture = Architecture { model_types: &["mlp"], build };

const MOST_LAYERS: usize = 10_000;
const MOST_UNITS: usize = 1 << 24;

#[derive(Deserialize)]
struct MlpConfig {
    sizes: Vec<usize>,
    #[serde(default = "relu")]
    hidden_act: String,
    problem_type: Option<String>,
}

/// What its configuration is.
const EXPECTED: &str = "sizes (from the features to the classes) and hidden_act, such as \
                       {\"model_type\":\"mlp\",\"sizes\":[8,32,3],\"hidden_act\":\"relu\"}";
/// Whose names a snapshot should have.
const NAMES: &str =
    "an mlp (layers.0.weight, layers.0.bias, …) or nn.Sequential (0.weight, 0.bias, 2.weight, …)";
/// What it reads of a probe.
const COLUMNS: &[&str] = &["inputs", "labels"];

fn relu() -> String {
    "relu".into()
}

struct Mlp {
    layout: Arc<ParameterLayout>,
    layers: Arc<Vec<Dense>>,
    activation: Activation,
    /// Elements of a workspace for each example, without and with what a backward needs.
    elements: [f64; 2],
}

fn build(config_json: &str) -> Result<Arc<dyn Network>, Fault> {
    let config: MlpConfig = parse(config_json, EXPECTED)?;
    if !(2..=MOST_LAYERS).contains(&config.sizes.len()) {
        let found = config.sizes.len();
        let description = format!("found {found} sizes, expected 2 to {MOST_LAYERS}");
        return Err(Fault::invalid("config_json.sizes", description));
    }
    for (i, size) in config.sizes.iter().enumerate() {
        positive(&format!("sizes[{i}]"), *size, MOST_UNITS)?;
    }
    let last = config.sizes.len() - 1;
    classes(&format!("sizes[{last}]"), config.sizes[last], MOST_UNITS)?;
    check_task(config.problem_type.as_deref())?;
    let activation = activation(&config.hidden_act)?;
    let mut tensors = Vec::new();
    for (i, pair) in config.sizes.windows(2).enumerate() {
        tensors.push((format!("layers.{i}.weight"), vec![pair[1], pair[0]]));
        tensors.push((format!("layers.{i}.bias"), vec![pair[1]]));
    }
    let habits = Habits { class: NAMES, layers: last, ..Habits::default() };
    let layout = ParameterLayout::new(tensors, habits)?;
    let layer = |(i, pair): (usize, &[usize])| Dense {
        at: layout.offset(&format!("layers.{i}.weight")),
        outputs: pair[1],
        inputs: pair[0],
    };
    let layers: Vec<Dense> = config.sizes.windows(2).enumerate().map(layer).collect();
    let elements = [false, true].map(|keep| MlpWorkspace::<f64>::elements(&layers, keep));
    Ok(Arc::new(Mlp { layout: Arc::new(layout), layers: Arc::new(layers), activation, elements }))
}

impl Mlp {
    fn pass<T: Real>(&self, threads: usize) -> Box<dyn Pass<T>> {
        let layers = self.layers.clone();
        let activation = self.activation;
        Box::new(MlpPass {
            layers,
            activation,
            threads: threads.max(1),
            spaces: Vec::new(),
            logits: Vec::new(),
        })
    }
}

impl Network for Mlp {
    fn layout(&self) -> &Arc<ParameterLayout> {
        &self.layout
    }

    fn unit_width(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs
    }

    fn columns(&self) -> Vec<&str> {
        COLUMNS.to_vec()
    }

    fn batches(&self, group: &ProbeGroup) -> Result<Vec<Batch>, Fault> {
        let probe = ProbeTensors::new(group, COLUMNS)?;
        let labels = probe.labels(self.unit_width())?;
        let width = self.layers[0].inputs;
        Ok(cut_features(&probe.features(labels.len(), width)?, width, &labels))
    }

    fn products(&self, batch: &Batch) -> Vec<Product> {
        let m = batch.units();
        self.layers.iter().map(|layer| Product { m, n: layer.outputs, k: layer.inputs, times: 1 }).collect()
    }

    fn ones(&self) -> Option<Batch> {
        let inputs = Inputs::Features(vec![1.0; self.layers[0].inputs]);
        (self.activation == Activation::Relu).then(|| Batch { inputs, targets: Targets::Classes(vec![0]) })
    }

    fn has_paths(&self) -> bool {
        self.activation == Activation::Relu
    }

    fn reads(&self) -> String {
        format!("mlp {} {}", self.layers[0].inputs, self.unit_width())
    }

    fn workspace(&self, extent: Extent, keep: bool, size: usize) -> f64 {
        self.elements[usize::from(keep)] * extent.examples as f64 * size as f64
            + ((2 * self.layers.len() + 1) * size_of::<Vec<f64>>()) as f64
    }

    fn pass_f32(&self, threads: usize) -> Box<dyn Pass<f32>> {
        self.pass(threads)
    }

    fn pass_f64(&self, threads: usize) -> Box<dyn Pass<f64>> {
        self.pass(threads)
    }
}

struct MlpPass<T> {
    layers: Arc<Vec<Dense>>,
    activation: Activation,
    threads: usize,
    spaces: Vec<MlpWorkspace<T>>,
    logits: Vec<T>,
}

/// Activations of one batch.
struct MlpWorkspace<T> {
    /// Input of each layer and the logits: [examples, units].
    rows: Vec<Vec<T>>,
    /// Derivative of each layer's activation: [examples, units].
    slopes: Vec<Vec<T>>,
    d: Vec<T>,
    d_next: Vec<T>,
}

impl<T: Real> MlpPass<T> {
    /// Runs `work` on every batch with its workspace and the threads that each product may use, side by side.
    fn each(
        &mut self,
        batches: &[&Batch],
        work: impl Fn(usize, &mut MlpWorkspace<T>, usize) -> Result<(), Fault> + Sync + Send,
    ) -> Result<(), Fault> {
        let n = self.layers.len();
        let space = || MlpWorkspace {
            rows: vec![Vec::new(); n + 1],
            slopes: vec![Vec::new(); n],
            d: Vec::new(),
            d_next: Vec::new(),
        };
        self.spaces.resize_with(self.spaces.len().max(batches.len()), space);
        let inner = (self.threads / batches.len().max(1)).max(1);
        let jobs: Vec<_> = self.spaces.iter_mut().take(batches.len()).enumerate().collect();
        try_each(self.threads, jobs, |(i, space)| work(i, space, inner))
    }
}

/// How a batch goes forward.
#[derive(Clone, Copy)]
struct Forward<'a> {
    activation: Activation,
    /// Whether a backward follows.
    keep: bool,
    threads: usize,
    stop: &'a dyn Checkpoint,
}

impl<T: Real> MlpWorkspace<T> {
    /// Elements for each example once all buffers have been used.
    fn elements(layers: &[Dense], keep: bool) -> f64 {
        let outputs = layers.iter().map(|layer| layer.outputs as f64);
        let rows = layers[0].inputs as f64 + outputs.clone().sum::<f64>();
        if !keep {
            return rows;
        }
        let last = layers[layers.len() - 1].outputs as f64;
        // What `d` and `d_next` hold in turns, from the logits back; where the last is an odd one, the next backward
        // begins in the other.
        let turns: Vec<f64> =
            std::iter::once(last).chain(layers[1..].iter().rev().map(|layer| layer.inputs as f64)).collect();
        let greatest = |first: usize, step: usize| {
            turns[first.min(turns.len())..].iter().step_by(step).fold(0.0, |most: f64, x| most.max(*x))
        };
        let d = match layers.len() {
            1 => last,
            even if even % 2 == 0 => 2.0 * greatest(0, 1),
            _ => greatest(0, 2) + greatest(1, 2),
        };
        rows + outputs.sum::<f64>() - last + d
    }

    fn forward(&mut self, w: &[T], batch: &Batch, layers: &[Dense], how: Forward<'_>) -> Result<(), Fault> {
        let n = batch.units();
        let Inputs::Features(features) = &batch.inputs else { unreachable!("an MLP cuts features") };
        for (x, feature) in sized(&mut self.rows[0], features.len()).iter_mut().zip(features) {
            *x = T::of(*feature);
        }
        for (i, layer) in layers.iter().enumerate() {
            how.stop.check()?;
            let (before, after) = self.rows.split_at_mut(i + 1);
            let out = sized(&mut after[0], n * layer.outputs);
            layer.forward(w, &before[i][..n * layer.inputs], out, how.threads);
            if i + 1 == layers.len() {
                add_bias(out, layer.bias(w));
            } else {
                let slopes = how.keep.then(|| sized(&mut self.slopes[i], n * layer.outputs));
                how.activation.apply(out, layer.bias(w), slopes);
            }
        }
        Ok(())
    }

    /// `d` goes from the gradient of the results of layer `i` to that of its inputs.
    fn back(&mut self, w: &[T], n: usize, layer: &Dense, threads: usize) {
        let next = sized(&mut self.d_next, n * layer.inputs);
        layer.back(w, &self.d[..n * layer.outputs], next, threads);
        std::mem::swap(&mut self.d, &mut self.d_next);
    }
}

impl<T: Real> Pass<T> for MlpPass<T> {
    fn width(&self) -> usize {
        self.threads
    }

    fn forward(&mut self, input: PassInput<'_, T>, keep: bool) -> Result<&[T], Fault> {
        let PassInput { w, batches, stop, .. } = input;
        let layers = self.layers.clone();
        let activation = self.activation;
        self.each(batches, |i, space, threads| {
            space.forward(w, batches[i], &layers, Forward { activation, keep, threads, stop })
        })?;
        let classes = layers[layers.len() - 1].outputs;
        let used = self.spaces.iter().zip(batches);
        let parts = used.map(|(space, batch)| &space.rows[layers.len()][..batch.units() * classes]);
        gathered(&mut self.logits, parts);
        Ok(&self.logits)
    }

    fn backward(&mut self, input: PassInput<'_, T>, d_logits: &[T], gradient: &mut [T]) -> Result<(), Fault> {
        let PassInput { w, batches, stop, .. } = input;
        let layers = self.layers.clone();
        let mut rest = d_logits;
        for (space, batch) in self.spaces.iter_mut().zip(batches) {
            let (own, behind) = rest.split_at(batch.units() * layers[layers.len() - 1].outputs);
            sized(&mut space.d, own.len()).copy_from_slice(own);
            rest = behind;
        }
        for (i, dense) in layers.iter().enumerate().rev() {
            stop.check()?;
            if i + 1 < layers.len() {
                self.each(batches, |b, space, _| {
                    let n = batches[b].units() * dense.outputs;
                    multiply_by(&mut space.d[..n], &space.slopes[i][..n]);
                    Ok(())
                })?;
            }
            let shares = self.spaces.iter().zip(batches).map(|(space, batch)| {
                let n = batch.units();
                GradientShare { d: &space.d[..n * dense.outputs], x: &space.rows[i][..n * dense.inputs] }
            });
            let target = &mut gradient[dense.range()];
            add_gradients(vec![Gradient { dense: *dense, target, shares: shares.collect() }], self.threads);
            if i > 0 {
                self.each(batches, |b, space, threads| {
                    space.back(w, batches[b].units(), dense, threads);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_workspace_takes_what_it_says() {
        for sizes in [vec![5, 3], vec![5, 9, 3], vec![5, 2, 8, 3], vec![2, 7, 4, 11, 3]] {
            let network = build(&format!(r#"{{"model_type":"mlp","sizes":{sizes:?}}}"#)).unwrap();
            let layers = sizes.windows(2).map(|pair| Dense { at: 0, outputs: pair[1], inputs: pair[0] });
            let mut pass = MlpPass::<f32> {
                layers: Arc::new(layers.collect()),
                activation: Activation::Relu,
                threads: 1,
                spaces: Vec::new(),
                logits: Vec::new(),
            };
            let w = vec![0.1; network.layout().total()];
            let batch = cut_features(&vec![1.0; 4 * sizes[0]], sizes[0], &[0, 1, 2, 0]).remove(0);
            let room = |pass: &MlpPass<f32>| {
                let MlpWorkspace { rows, slopes, d, d_next } = &pass.spaces[0];
                let buffers = rows.iter().chain(slopes).chain([d, d_next]);
                let vectors = (rows.len() + slopes.len()) * size_of::<Vec<f32>>();
                (buffers.map(|buffer| buffer.capacity() * 4).sum::<usize>() + vectors) as f64
            };
            pass.forward(PassInput::unstopped(&w, &[&batch]), false).unwrap();
            assert_eq!(room(&pass), network.workspace(Extent::of(&batch), false, 4), "{sizes:?}");
            let mut gradient = vec![0.0; w.len()];
            for _ in 0..2 {
                pass.forward(PassInput::unstopped(&w, &[&batch]), true).unwrap();
                pass.backward(PassInput::unstopped(&w, &[&batch]), &[0.1; 12], &mut gradient).unwrap();
            }
            assert_eq!(room(&pass), network.workspace(Extent::of(&batch), true, 4), "{sizes:?}");
        }
    }
}
