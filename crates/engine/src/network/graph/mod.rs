//! Models that a trainer has exported as a graph of operators.
//!
//! Owns: which tensors of a snapshot and of a probe a graph reads, and how a probe is cut for it. May not touch: arithmetic,
//! which is that of `clino-graph`.

mod labels;
mod pass;
mod probe;

use super::batch::{Batch, Extent};
use super::layout::ParameterLayout;
use super::naming::Habits;
use super::{Network, Pass, Product};
use crate::device::real::Real;
use clino_domain::graph::{Axis, CrossEntropy, LossKind, LossSpec, ModelKind, ModelSource, TensorKind};
use clino_domain::id::hex;
use clino_domain::{Fault, ProbeGroup};
use clino_graph::{GraphModel, Limits, ShapePlan};
use labels::LabelSpec;
use pass::GraphPass;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Where its names come from, for messages.
const NAMES: &str = "the names of the graph's tensors";
/// What such a model is called in lists.
pub const MODEL_TYPE: &str = "graph";

/// What is the same for all workers of a graph.
pub struct Shared {
    /// The graph, with a place for each tensor.
    pub model: Arc<GraphModel>,
    /// Place among the outputs of the one that the loss reads.
    pub scores: usize,
    /// Length of a row of scores.
    pub classes: usize,
    /// Whether the classes are the second axis of the scores, and not the last.
    pub classes_first: bool,
    /// What the loss says of labels.
    pub labels: LabelSpec,
}

/// How the scores of an example lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScoreAxes {
    /// Rows of scores of an example.
    pub positions: usize,
    /// Number of scores in a row.
    pub classes: usize,
}

impl Shared {
    /// Reads the shape of the scores: [examples, classes], or with axes of tokens, pixels between or behind them.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] for shapes that are no scores of classes.
    pub fn axes(&self, shape: &[usize]) -> Result<ScoreAxes, Fault> {
        score_axes(shape, self.classes_first)
    }
}

/// A graph as a network.
struct GraphNetwork {
    shared: Arc<Shared>,
    layout: Arc<ParameterLayout>,
    /// SHA-256 of the model as it was sent.
    digest: String,
}

/// Builds the network of a model that came as a message.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming the field of the model.
pub fn build(source: &ModelSource) -> Result<Arc<dyn Network>, Fault> {
    let ModelKind::Graph(graph, loss) = &source.kind else {
        let description =
            "found tensors alone, expected a graph: without one this daemon measures nothing yet";
        return Err(Fault::invalid("model.kind", description));
    };
    let entropy = check_loss(loss)?;
    let model = GraphModel::new((**graph).clone())?;
    let outputs = &graph.parts().outputs;
    let found = outputs.iter().position(|output| output.name == loss.output);
    let scores =
        found.ok_or_else(|| Fault::invalid("model.loss.output", "found no such output of the graph"))?;
    let classes_first = entropy.classes_first;
    let classes = classes(&model, scores, classes_first)?;
    let labels =
        LabelSpec { name: loss.labels.clone(), ignored: entropy.ignore_index, shift: entropy.shift as usize };
    let layout = Arc::new(layout(&model)?);
    let digest = hex(Sha256::digest(&source.bytes));
    let shared = Arc::new(Shared { model: Arc::new(model), scores, classes, classes_first, labels });
    Ok(Arc::new(GraphNetwork { shared, layout, digest }))
}

/// What is measured so far: one label for each example, or for each token.
fn check_loss(loss: &LossSpec) -> Result<&CrossEntropy, Fault> {
    let wrong = |field: &str, found: &str| {
        let expected = "expected the plain cross-entropy of a label for each example or token: clino measures no other loss yet";
        Err(Fault::invalid(format!("model.loss.{field}"), format!("found {found}, {expected}")))
    };
    let entropy = match &loss.kind {
        LossKind::CrossEntropy(entropy) => entropy,
        LossKind::SquaredError => return wrong("kind", "squared_error"),
        LossKind::Huber { .. } => return wrong("kind", "huber"),
        LossKind::BinaryCrossEntropy { .. } => return wrong("kind", "binary_cross_entropy"),
        LossKind::Given { .. } => return wrong("kind", "given"),
    };
    if entropy.smoothing != 0.0 {
        return wrong("cross_entropy.smoothing", &entropy.smoothing.to_string());
    }
    if !entropy.class_weights.is_empty() {
        return wrong("cross_entropy.class_weights", "weights");
    }
    if !loss.auxiliary.is_empty() {
        return wrong("auxiliary", "auxiliary losses");
    }
    if loss.batch_coupled {
        return wrong("batch_coupled", "true");
    }
    Ok(entropy)
}

/// Names and places of the tensors.
fn layout(model: &GraphModel) -> Result<ParameterLayout, Fault> {
    let tensors = &model.graph().parts().tensors;
    let named = |kind: TensorKind| {
        let slots = model.slots().iter().map(|slot| &tensors[slot.tensor]);
        slots.filter(move |tensor| tensor.kind == kind)
    };
    let size = |axis: &u64| usize::try_from(*axis).unwrap_or(usize::MAX);
    let trained = named(TensorKind::Param)
        .map(|tensor| (tensor.name.clone(), tensor.shape.iter().map(size).collect()))
        .collect();
    let buffers = model.buffers().iter().map(|place| &tensors[*place]);
    let fixed = named(TensorKind::Frozen).chain(buffers);
    let fixed = fixed.map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect();
    let habits = Habits { class: NAMES, ..Habits::default() };
    ParameterLayout::new(trained)?.with(habits).with_fixed(fixed)
}

/// Sizes with which a graph is looked at before there is a probe.
const TRIED: [usize; 5] = [3, 2, 5, 7, 1];

/// Number of classes, which must be the same whatever the sizes of a batch are.
fn classes(model: &GraphModel, scores: usize, classes_first: bool) -> Result<usize, Fault> {
    let mut found: Option<usize> = None;
    let mut last = None;
    for tried in TRIED {
        let axes = shape_of(model, scores, tried).map(|shape| score_axes(&shape, classes_first));
        let classes = match axes {
            Ok(axes) => axes?.classes,
            // Not every graph takes every size.
            Err(fault) => {
                last = Some(fault);
                continue;
            }
        };
        if found.is_some_and(|found| found != classes) {
            let description = "found as many classes as examples, as in a contrastive loss, expected the same number for \
                               every batch: clino measures no losses that couple the examples of a batch yet";
            return Err(Fault::invalid("model.loss.output", description));
        }
        found = Some(classes);
    }
    found.ok_or_else(|| last.unwrap_or_else(|| Fault::internal("no size was tried")))
}

/// The shape of the scores where every size that may differ is `tried`, or as near to it as its limits allow.
fn shape_of(model: &GraphModel, scores: usize, tried: usize) -> Result<Vec<usize>, Fault> {
    let parts = model.graph().parts();
    let small = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let size = |axis: &Axis| match axis {
        Axis::Fixed(size) => small(*size),
        Axis::Symbol(symbol) => {
            let symbol = &parts.symbols[*symbol];
            let most = symbol.most.map_or(usize::MAX, small);
            tried.clamp(small(symbol.least).min(most), most)
        }
    };
    let inputs: Vec<Vec<usize>> =
        parts.inputs.iter().map(|input| input.shape.iter().map(size).collect()).collect();
    let plan = model.shapes(&inputs, &Limits::default()).map_err(|fault| fault.within("model.graph."))?;
    Ok(plan.output(model.graph(), scores).unwrap_or_default().to_vec())
}

fn score_axes(shape: &[usize], classes_first: bool) -> Result<ScoreAxes, Fault> {
    let class_axis = if classes_first { 1 } else { shape.len().saturating_sub(1) };
    let classes = shape.get(class_axis).copied().filter(|classes| shape.len() >= 2 && *classes >= 2);
    let Some(classes) = classes else {
        let description = format!(
            "found an output of shape {shape:?}, expected [examples, classes] or [examples, tokens, classes] with at least 2 \
            classes: clino measures no other outputs yet"
        );
        return Err(Fault::invalid("model.loss.output", description));
    };
    let behind = shape.iter().enumerate().skip(1).filter(|(axis, _)| *axis != class_axis);
    Ok(ScoreAxes { positions: behind.map(|(_, size)| *size).product(), classes })
}

impl Network for GraphNetwork {
    fn layout(&self) -> &Arc<ParameterLayout> {
        &self.layout
    }

    fn classes(&self) -> usize {
        self.shared.classes
    }

    fn columns(&self) -> Vec<&str> {
        let inputs = self.shared.model.graph().parts().inputs.iter().map(|input| input.name.as_str());
        inputs.chain([self.shared.labels.name.as_str()]).collect()
    }

    fn batches(&self, group: &ProbeGroup) -> Result<Vec<Batch>, Fault> {
        probe::batches(&self.shared, group)
    }

    fn products(&self, batch: &Batch) -> Vec<Product> {
        // As many additions and multiplications as the graph has, as one product.
        let work = planned(&self.shared, batch).map_or(0.0, |plan| plan.work());
        vec![Product { m: (work / 2.0) as usize, n: 1, k: 1, times: 1 }]
    }

    fn reads(&self) -> String {
        format!("graph {}", self.digest)
    }

    fn workspace(&self, extent: Extent, keep: bool, size: usize) -> f64 {
        extent.pass_bytes[usize::from(size == size_of::<f64>())][usize::from(keep)] as f64
    }

    fn pass_f32(&self, threads: usize) -> Box<dyn Pass<f32>> {
        self.pass(threads)
    }

    fn pass_f64(&self, threads: usize) -> Box<dyn Pass<f64>> {
        self.pass(threads)
    }
}

impl GraphNetwork {
    fn pass<T: Real>(&self, threads: usize) -> Box<dyn Pass<T>> {
        Box::new(GraphPass::new(self.shared.clone(), threads))
    }
}

/// The shapes of a batch.
fn planned(shared: &Shared, batch: &Batch) -> Result<ShapePlan, Fault> {
    let super::batch::Inputs::Rows(rows) = &batch.inputs else {
        return Err(Fault::internal("a batch of another network"));
    };
    shared.model.shapes(&rows.shapes(), &Limits::default())
}
