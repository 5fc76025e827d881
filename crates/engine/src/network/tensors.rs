//! Models of which only the tensors are known: no outputs, no loss.
//!
//! Owns: which tensors are parameters. May not touch: passes; there are none.

use super::batch::{Batch, Extent};
use super::graph::HABITS;
use super::layout::ParameterLayout;
use super::{Network, Pass, PassInput, Product};
use clino_domain::graph::{GraphTensor, TensorKind};
use clino_domain::{Fault, ProbeGroup};
use std::sync::Arc;

/// What such a model is called in lists.
pub const MODEL_TYPE: &str = "tensors";

/// The tensors of a model.
struct TensorNetwork {
    layout: Arc<ParameterLayout>,
}

/// Builds it; only parameters are kept of what a snapshot brings.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] when there is no parameter, when one is not of floats, or when sizes overflow.
pub fn build(tensors: &[GraphTensor]) -> Result<Arc<dyn Network>, Fault> {
    let owned = |tensor: &&GraphTensor| tensor.kind == TensorKind::Param && tensor.alias_of.is_none();
    let trained: Vec<&GraphTensor> = tensors.iter().filter(owned).collect();
    if let Some(wrong) = trained.iter().find(|tensor| !tensor.dtype.is_float()) {
        let description =
            format!("found {} for {}, expected a float: a PARAM is trained", wrong.dtype.name(), wrong.name);
        return Err(Fault::invalid("model.tensors.dtype", description));
    }
    if trained.is_empty() {
        return Err(Fault::invalid("model.tensors", "found no tensor of kind PARAM, expected at least one"));
    }
    let size = |axis: &u64| usize::try_from(*axis).unwrap_or(usize::MAX);
    let shape = |tensor: &GraphTensor| (tensor.name.clone(), tensor.shape.iter().map(size).collect());
    let layout = ParameterLayout::new(trained.into_iter().map(shape).collect(), HABITS)?;
    Ok(Arc::new(TensorNetwork { layout: Arc::new(layout) }))
}

impl Network for TensorNetwork {
    fn layout(&self) -> &Arc<ParameterLayout> {
        &self.layout
    }

    fn has_loss(&self) -> bool {
        false
    }

    fn unit_width(&self) -> usize {
        0
    }

    fn columns(&self) -> Vec<&str> {
        Vec::new()
    }

    fn batches(&self, _: &ProbeGroup) -> Result<Vec<Batch>, Fault> {
        Ok(Vec::new())
    }

    fn products(&self, _: &Batch) -> Vec<Product> {
        Vec::new()
    }

    fn reads(&self) -> String {
        MODEL_TYPE.into()
    }

    fn workspace(&self, _: Extent, _: bool, _: usize) -> f64 {
        0.0
    }

    fn pass_f32(&self, _: usize) -> Box<dyn Pass<f32>> {
        Box::new(NoPass)
    }

    fn pass_f64(&self, _: usize) -> Box<dyn Pass<f64>> {
        Box::new(NoPass)
    }
}

/// What no measure asks for: those that need a loss are left out.
struct NoPass;

fn none<A>() -> Result<A, Fault> {
    Err(Fault::internal("found tensors without a graph, expected no pass over them"))
}

impl<T> Pass<T> for NoPass {
    fn width(&self) -> usize {
        1
    }

    fn forward(&mut self, _: PassInput<'_, T>, _: bool) -> Result<&[T], Fault> {
        none()
    }

    fn backward(&mut self, _: PassInput<'_, T>, _: &[T], _: &mut [T]) -> Result<(), Fault> {
        none()
    }
}
