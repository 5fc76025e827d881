//! Models that a trainer has exported as a graph of operators.
//!
//! Owns: which tensors of a snapshot and of a probe a graph reads, and how a probe is cut for it. May not touch: arithmetic,
//! which is that of `clino-graph`.

mod heads;
mod labels;
mod pass;
mod probe;

use super::batch::{Batch, Extent};
use super::layout::{Habits, ParameterLayout};
use super::rows::Rows;
use super::{Network, Pass, Product};
use crate::criterion::{self, Criterion};
use crate::device::real::Real;
use clino_domain::graph::{Axis, Graph, LossKind, LossSpec, TensorKind};
use clino_domain::id::hex;
use clino_domain::{Fault, ProbeGroup};
use clino_graph::{GraphModel, Limits, ShapePlan};
use heads::{Heads, UnitAxes};
use labels::LabelSpec;
use pass::GraphPass;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What such a model is called in lists.
pub const MODEL_TYPE: &str = "graph";

/// How the tensors of a model that came as a message are named.
pub const HABITS: Habits = Habits {
    source: "model",
    class: "the names of the model's tensors",
    // Whatever the model does not name is left out.
    unread: &[""],
    head: &[],
    body: "",
    layers: 0,
};

/// What is the same for all workers of a graph.
pub struct Shared {
    /// The graph, with a place for each tensor.
    pub model: Arc<GraphModel>,
    /// The outputs that the loss reads.
    pub heads: Heads,
    /// What the loss says of labels.
    pub labels: LabelSpec,
    /// Whether the loss of an example depends on the others of its group.
    pub coupled: bool,
}

impl Shared {
    /// The shapes of a batch.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming the node that does not take them.
    pub fn plan(&self, rows: &Rows) -> Result<ShapePlan, Fault> {
        self.model.shapes(&rows.shapes(), &Limits::default())
    }

    /// How the outputs of a batch make units.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] for outputs that the loss cannot read.
    pub fn axes(&self, plan: &ShapePlan) -> Result<UnitAxes, Fault> {
        axes(&self.model, &self.heads, plan)
    }
}

fn axes(model: &GraphModel, heads: &Heads, plan: &ShapePlan) -> Result<UnitAxes, Fault> {
    let outputs = 0..model.graph().parts().outputs.len();
    let shapes: Vec<&[usize]> =
        outputs.map(|output| plan.output(model.graph(), output).unwrap_or_default()).collect();
    heads.check(&shapes)?;
    heads.shape.axes(shapes[heads.main])
}

/// A graph as a network.
struct GraphNetwork {
    shared: Arc<Shared>,
    layout: Arc<ParameterLayout>,
    criterion: Arc<dyn Criterion>,
    /// Numbers of a unit.
    width: usize,
    /// SHA-256 of the model as it was sent.
    digest: String,
}

/// Builds the network of a graph and its loss, which came as `message`.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming the field of the model.
pub fn build(graph: &Graph, loss: &LossSpec, message: &[u8]) -> Result<Arc<dyn Network>, Fault> {
    let model = GraphModel::new(graph.clone())?;
    let heads = Heads::of(loss, &model)?;
    let own = width(&model, &heads, loss)?;
    let criterion = criterion::of(loss, own)?;
    let layout = Arc::new(layout(&model)?);
    let width = own + heads.behind();
    let labels = LabelSpec::of(loss);
    let shared = Arc::new(Shared { model: Arc::new(model), heads, labels, coupled: loss.batch_coupled });
    let digest = hex(Sha256::digest(message));
    Ok(Arc::new(GraphNetwork { shared, layout, criterion, width, digest }))
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
    if let Some(place) = model.buffers().iter().find(|place| !tensors[**place].dtype.is_float()) {
        let found = tensors[*place].dtype.name();
        let description =
            format!("found {found} for a BUFFER, expected floats: make it a constant of the graph");
        return Err(Fault::invalid(format!("model.graph.tensors[{place}].dtype"), description));
    }
    let buffers = model.buffers().iter().map(|place| &tensors[*place]);
    let fixed = named(TensorKind::Frozen).chain(buffers);
    let fixed = fixed.map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect();
    ParameterLayout::new(trained, HABITS)?.with_fixed(fixed)
}

/// Sizes with which a graph is looked at before there is a probe.
const TRIED: [usize; 5] = [3, 2, 5, 7, 1];

/// Numbers of a unit. The classes of scores must be as many whatever the sizes of a batch are, unless the loss couples its
/// examples.
fn width(model: &GraphModel, heads: &Heads, loss: &LossSpec) -> Result<usize, Fault> {
    let classes = matches!(loss.kind, LossKind::CrossEntropy(_)) && !loss.batch_coupled;
    let mut found: Option<usize> = None;
    let mut last = None;
    for tried in TRIED {
        let width = match shapes_of(model, tried) {
            Ok(plan) => axes(model, heads, &plan)?.width,
            // Not every graph takes every size.
            Err(fault) => {
                last = Some(fault);
                continue;
            }
        };
        if classes && found.is_some_and(|found| found != width) {
            let description = "found as many classes as examples, as in a contrastive loss, expected the same number for \
                               every batch: set model.loss.batch_coupled if that is meant";
            return Err(Fault::invalid("model.loss.output", description));
        }
        found = Some(found.map_or(width, |found| found.max(width)));
    }
    found.ok_or_else(|| last.unwrap_or_else(|| Fault::internal("no size was tried")))
}

/// The shapes where every size that may differ is `tried`, or as near to it as its limits allow.
fn shapes_of(model: &GraphModel, tried: usize) -> Result<ShapePlan, Fault> {
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
    model.shapes(&inputs, &Limits::default())
}

impl Network for GraphNetwork {
    fn layout(&self) -> &Arc<ParameterLayout> {
        &self.layout
    }

    fn criterion(&self) -> Arc<dyn Criterion> {
        self.criterion.clone()
    }

    fn unit_width(&self) -> usize {
        self.width
    }

    fn is_graph(&self) -> bool {
        true
    }

    fn coupled(&self) -> bool {
        self.shared.coupled
    }

    fn columns(&self) -> Vec<&str> {
        let inputs = self.shared.model.graph().parts().inputs.iter().map(|input| input.name.as_str());
        inputs.chain(self.shared.labels.name()).collect()
    }

    fn batches(&self, group: &ProbeGroup) -> Result<Vec<Batch>, Fault> {
        probe::batches(&self.shared, group)
    }

    fn products(&self, batch: &Batch) -> Vec<Product> {
        // As many additions and multiplications as the graph has, as one product.
        let work = match &batch.inputs {
            super::batch::Inputs::Rows(rows) => self.shared.plan(rows).map_or(0.0, |plan| plan.work()),
            _ => 0.0,
        };
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
