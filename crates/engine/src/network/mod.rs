//! Models as functions of their parameters: from a configuration and a probe to logits and gradients.
//!
//! Owns: the traits of a network and the registry of architectures. May not touch: measures, noise, snapshots.
//! A new architecture is one file and one line of [`ARCHITECTURES`].

#[cfg(any(test, feature = "candle"))]
pub mod autograd;
#[cfg(not(any(test, feature = "candle")))]
#[path = "absent.rs"]
pub mod autograd;
pub mod batch;
pub mod dense;
mod encoder;
pub mod examples;
pub mod gpu_footprint;
mod graph;
pub mod layout;
mod misfit;
mod mlp;
mod naming;
mod ops;
mod probe;
pub mod rows;
pub mod targets;
mod tensors;

use crate::criterion::{Criterion, CrossEntropy};
use crate::device::real::Real;
use batch::{Batch, Extent};
use clino_domain::graph::ModelKind;
use clino_domain::text::suggestion;
use clino_domain::{Checkpoint, Fault, ProbeGroup, RunSpec};
use layout::ParameterLayout;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A family of models.
pub struct Architecture {
    /// Values of `model_type` that it serves.
    pub model_types: &'static [&'static str],
    /// Builds a network from the text of a config.json.
    pub build: fn(&str) -> Result<Arc<dyn Network>, Fault>,
}

/// All architectures that clino computes.
pub static ARCHITECTURES: &[Architecture] = &[mlp::ARCHITECTURE, encoder::ARCHITECTURE];

/// A model without values: its parameters' layout and its arithmetic. Evaluation mode, no dropout.
pub trait Network: Send + Sync {
    /// Names, shapes and places of the parameters.
    fn layout(&self) -> &Arc<ParameterLayout>;

    /// What is lost on its outputs.
    fn criterion(&self) -> Arc<dyn Criterion> {
        Arc::new(CrossEntropy::default())
    }

    /// Numbers that it puts out for each unit of the loss: of a classifier, a score for each class.
    fn unit_width(&self) -> usize;

    /// Whether it came as a graph, whose loss is that of its specification.
    fn is_graph(&self) -> bool {
        false
    }

    /// Whether there is a loss: else the tensors alone are known.
    fn has_loss(&self) -> bool {
        true
    }

    /// Whether the loss of an example depends on the others of its group.
    fn coupled(&self) -> bool {
        false
    }

    /// Names of the probe tensors that it reads.
    fn columns(&self) -> Vec<&str>;

    /// The token that fills rows up, for models that read tokens.
    fn padding(&self) -> Option<u32> {
        None
    }

    /// Checks the tensors of a group against the model and cuts them into batches of bounded size.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming the tensor at fault.
    fn batches(&self, group: &ProbeGroup) -> Result<Vec<Batch>, Fault>;

    /// The matrix products of a forward over `batch`.
    fn products(&self, batch: &Batch) -> Vec<Product>;

    /// One example of ones, for the path norm; `None` where a path has no meaning (all but ReLU networks).
    fn ones(&self) -> Option<Batch> {
        None
    }

    /// Whether [`Network::ones`] has an example, without making it.
    fn has_paths(&self) -> bool {
        false
    }

    /// What the batches of a probe depend on beside the probe, as a text: runs whose networks say the same share them.
    fn reads(&self) -> String;

    /// Bytes of the activations of one batch, or of the greatest of several, in elements of `size` bytes; with `keep`,
    /// of those with which a backward goes on. Of a [`Pass`], each batch that goes side by side has as many.
    fn workspace(&self, extent: Extent, keep: bool, size: usize) -> f64;

    /// A worker in f32 whose products may use `threads`.
    fn pass_f32(&self, threads: usize) -> Box<dyn Pass<f32>>;

    /// A worker in f64 whose products may use `threads`.
    fn pass_f64(&self, threads: usize) -> Box<dyn Pass<f64>>;
}

/// `times` products of matrices [m, k] and [k, n].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// Number of rows of the result.
    pub m: usize,
    /// Number of columns of the result.
    pub n: usize,
    /// Terms of each element.
    pub k: usize,
    /// How many such products there are.
    pub times: usize,
}

/// What a worker computes on.
#[derive(Clone, Copy)]
pub struct PassInput<'a, T> {
    /// The parameters.
    pub w: &'a [T],
    /// Tensors of the snapshot that are not perturbed, as the layout has them.
    pub fixed: &'a [T],
    /// At most [`Pass::width`] batches.
    pub batches: &'a [&'a Batch],
    /// Asked between layers.
    pub stop: &'a dyn Checkpoint,
}

#[cfg(test)]
impl<'a, T> PassInput<'a, T> {
    /// What nobody ends.
    fn unstopped(w: &'a [T], batches: &'a [&'a Batch]) -> Self {
        struct Unstopped;
        impl Checkpoint for Unstopped {
            fn check(&self) -> Result<(), Fault> {
                Ok(())
            }
        }
        Self { w, fixed: &[], batches, stop: &Unstopped }
    }
}

/// One worker: activations of a few batches, allocated once.
pub trait Pass<T>: Send {
    /// How many batches it does side by side.
    fn width(&self) -> usize;

    /// Outputs [units, width] of the batches, end to end; with `keep`, what [`Pass::backward`] needs.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Cancelled`] when it should end.
    fn forward(&mut self, input: PassInput<'_, T>, keep: bool) -> Result<&[T], Fault>;

    /// After a forward of the same input with `keep`: adds to `gradient` the derivative along the parameters for the
    /// derivative `slopes` [units, width] along the outputs. Batches are added in their order, so that it does not
    /// matter which of them go side by side.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Cancelled`] when it should end; the gradient is incomplete then.
    fn backward(&mut self, input: PassInput<'_, T>, slopes: &[T], gradient: &mut [T]) -> Result<(), Fault>;
}

/// The two precisions of a network.
pub trait Passes: Real {
    /// A worker in this precision.
    fn pass(network: &dyn Network, threads: usize) -> Box<dyn Pass<Self>>;
}

impl Passes for f32 {
    fn pass(network: &dyn Network, threads: usize) -> Box<dyn Pass<Self>> {
        network.pass_f32(threads)
    }
}

impl Passes for f64 {
    fn pass(network: &dyn Network, threads: usize) -> Box<dyn Pass<Self>> {
        network.pass_f64(threads)
    }
}

/// The network of a run's model, and what lists call it.
///
/// # Errors
/// Those of [`build`] for a config.json; [`clino_domain::FaultKind::Invalid`] naming a field of the model, or when both are given.
pub fn of(spec: &RunSpec) -> Result<(Arc<dyn Network>, String), Fault> {
    let Some(model) = &spec.model else { return build(&spec.config_json) };
    if !spec.config_json.is_empty() {
        let description = "found beside config_json, expected one of them: leave config_json empty";
        return Err(Fault::invalid("model", description));
    }
    Ok(match &model.kind {
        ModelKind::Graph(graph, loss) => (graph::build(graph, loss, &model.bytes)?, graph::MODEL_TYPE.into()),
        ModelKind::Tensors(tensors) => (tensors::build(tensors)?, tensors::MODEL_TYPE.into()),
    })
}

#[derive(Deserialize)]
struct ModelType {
    model_type: String,
}

/// Builds the network that a config.json describes; the second value is its `model_type`.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming the key of the configuration (`config_json.hidden_size`).
pub fn build(config_json: &str) -> Result<(Arc<dyn Network>, String), Fault> {
    let model_type = parse::<ModelType>(config_json, ANY)?.model_type;
    let family = ARCHITECTURES.iter().find(|family| family.model_types.contains(&model_type.as_str()));
    let Some(family) = family else {
        let known: Vec<&str> = ARCHITECTURES.iter().flat_map(|family| family.model_types).copied().collect();
        let near = suggestion(&model_type, known.iter().copied());
        let found = clino_domain::text::quoted(&model_type);
        let description = format!(
            "found {found}{near}, expected one of {}; docs/models.md says what fits",
            known.join(", ")
        );
        return Err(Fault::invalid("config_json.model_type", description));
    };
    Ok(((family.build)(config_json)?, model_type))
}

#[derive(Deserialize, Default)]
struct Depth {
    #[serde(default)]
    sizes: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    num_hidden_layers: usize,
}

/// Bytes that building the network takes, roughly and rather more: names and places of its tensors.
pub fn preparation(spec: &RunSpec) -> u64 {
    const TENSOR: usize = 1 << 10;
    /// Of a graph: what is made of each byte of its message.
    const GRAPH: u64 = 64;
    const MOST: usize = 1 << 16;
    if let Some(model) = &spec.model {
        return model.bytes.len() as u64 * GRAPH;
    }
    let Depth { sizes, num_hidden_layers } = serde_json::from_str(&spec.config_json).unwrap_or_default();
    let tensors = 2 * sizes.len() + num_hidden_layers.saturating_mul(16) + 16;
    (tensors.min(MOST) * TENSOR) as u64
}

/// What any configuration may be.
const ANY: &str = "the config.json of a Hugging Face model, or of an mlp such as \
                   {\"model_type\":\"mlp\",\"sizes\":[8,32,3],\"hidden_act\":\"relu\"}";

fn parse<C: DeserializeOwned>(config_json: &str, expected: &str) -> Result<C, Fault> {
    serde_json::from_str(config_json)
        .map_err(|error| Fault::invalid("config_json", format!("{error}; expected {expected}")))
}

/// `value` when it lies in 1..=`most`.
fn positive(key: &str, value: usize, most: usize) -> Result<usize, Fault> {
    if (1..=most).contains(&value) {
        return Ok(value);
    }
    Err(Fault::invalid(format!("config_json.{key}"), format!("found {value}, expected 1 to {most}")))
}

/// The number of classes, which a classifier has at least two of.
fn classes(key: &str, found: usize, most: usize) -> Result<usize, Fault> {
    if found == 1 {
        let description = "found 1 label, expected at least 2: a model with one output is a regression, and its loss \
                          is not cross-entropy; clino measures only classifiers so far. Train a yes-or-no question \
                          with two labels";
        return Err(Fault::invalid(format!("config_json.{key}"), description));
    }
    positive(key, found, most)
}

/// The task that a configuration names, which must be that of one label an example.
fn check_task(problem_type: Option<&str>) -> Result<(), Fault> {
    const SINGLE: &str = "single_label_classification";
    let why = match problem_type {
        None | Some(SINGLE) => return Ok(()),
        Some("regression") => {
            "clino does not measure regression yet, only classifiers with one label per example"
        }
        Some("multi_label_classification") => {
            "clino does not measure several labels per example yet, only classifiers with one"
        }
        Some(_) => "leave it out, or name the task as Hugging Face does",
    };
    let found = clino_domain::text::quoted(problem_type.unwrap_or_default());
    let description = format!("found {found}, expected {SINGLE:?}: {why}");
    Err(Fault::invalid("config_json.problem_type", description))
}

fn activation(name: &str) -> Result<ops::Activation, Fault> {
    ops::Activation::named(name).ok_or_else(|| {
        let found = clino_domain::text::quoted(name);
        let expected = ops::Activation::NAMES;
        Fault::invalid("config_json.hidden_act", format!("found {found}, expected {expected}"))
    })
}

/// Makes the buffer at least `len` long and returns its first `len` elements, which are to be written. What it grows
/// from is given back first, so that a buffer never takes more than the longest that was asked for.
fn sized<T: Real>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        *buffer = Vec::new();
        *buffer = vec![T::ZERO; len];
    }
    &mut buffer[..len]
}

/// The logits of some batches, end to end, in the room of `out`.
fn gathered<'a, T: Real>(out: &mut Vec<T>, parts: impl Iterator<Item = &'a [T]> + Clone) {
    let len = parts.clone().map(<[T]>::len).sum();
    if out.capacity() < len {
        *out = Vec::with_capacity(len);
    }
    out.clear();
    parts.for_each(|part| out.extend_from_slice(part));
}

#[cfg(test)]
mod tests;
