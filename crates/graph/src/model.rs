//! A graph as a function: where its tensors lie.
//!
//! Owns: slots of parameters and buffers. May not touch: sizes of batches.

use crate::plan::{self, Limits, ShapePlan};
use clino_domain::Fault;
use clino_domain::graph::{Graph, TensorKind};
use std::ops::Range;
use std::sync::Arc;

/// A tensor of the arena of parameters: of kind PARAM or FROZEN, and no alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSlot {
    /// Its place among the tensors of the graph.
    pub tensor: usize,
    /// Its elements in the arena.
    pub range: Range<usize>,
    /// Whether it is PARAM.
    pub trained: bool,
}

/// Where the elements of a tensor lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TensorPlace {
    /// In the arena of parameters. Tensors of kind PARAM come first, and the gradient has these alone.
    Arena(Range<usize>),
    /// In the list of buffers.
    Buffer(usize),
}

/// A graph whose tensors have places.
#[derive(Debug, Clone)]
pub struct GraphModel {
    graph: Arc<Graph>,
    slots: Vec<TensorSlot>,
    buffers: Vec<usize>,
    places: Vec<TensorPlace>,
    trained: usize,
    total: usize,
}

impl GraphModel {
    /// Gives each tensor a place.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] when all tensors together overflow.
    pub fn new(graph: impl Into<Arc<Graph>>) -> Result<Self, Fault> {
        let graph = graph.into();
        let mut model = Self {
            places: vec![TensorPlace::Buffer(0); graph.parts().tensors.len()],
            graph,
            slots: Vec::new(),
            buffers: Vec::new(),
            trained: 0,
            total: 0,
        };
        model.lay_out(TensorKind::Param)?;
        model.trained = model.total;
        model.lay_out(TensorKind::Frozen)?;
        model.lay_out(TensorKind::Buffer)?;
        // An owner comes before its aliases, so that its place is known.
        for i in 0..model.places.len() {
            if let Some(owner) = model.graph.parts().tensors[i].alias_of {
                model.places[i] = model.places[owner].clone();
            }
        }
        Ok(model)
    }

    fn lay_out(&mut self, kind: TensorKind) -> Result<(), Fault> {
        let graph = self.graph.clone();
        for (i, tensor) in graph.parts().tensors.iter().enumerate() {
            if tensor.kind != kind || tensor.alias_of.is_some() {
                continue;
            }
            if kind == TensorKind::Buffer {
                self.places[i] = TensorPlace::Buffer(self.buffers.len());
                self.buffers.push(i);
                continue;
            }
            let len = tensor.shape.iter().try_fold(1u64, |product, axis| product.checked_mul(*axis));
            let end =
                len.and_then(|len| usize::try_from(len).ok()).and_then(|len| self.total.checked_add(len));
            let Some(end) = end.filter(|end| *end <= isize::MAX as usize / 16) else {
                let description =
                    format!("found {:?}, with which all tensors together overflow", tensor.shape);
                return Err(Fault::invalid(format!("model.graph.tensors[{i}].shape"), description));
            };
            let range = self.total..end;
            self.places[i] = TensorPlace::Arena(range.clone());
            self.slots.push(TensorSlot { tensor: i, range, trained: kind == TensorKind::Param });
            self.total = end;
        }
        Ok(())
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Tensors of the arena, in its order: PARAM, then FROZEN.
    pub fn slots(&self) -> &[TensorSlot] {
        &self.slots
    }

    /// Places among the tensors of the graph of those that come as buffers, in the order of the list of buffers.
    pub fn buffers(&self) -> &[usize] {
        &self.buffers
    }

    /// Where the elements of a tensor of the graph lie; tied ones lie where their owner does.
    pub fn place(&self, tensor: usize) -> &TensorPlace {
        &self.places[tensor]
    }

    /// Elements of the gradient: of all tensors of kind PARAM.
    pub fn trained(&self) -> usize {
        self.trained
    }

    /// Elements of the arena.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Works out all shapes for inputs of these shapes, in their order, before anything is allocated for elements.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming the input or the node that does not fit, or that is beyond a limit.
    pub fn shapes(&self, inputs: &[Vec<usize>], limits: &Limits) -> Result<ShapePlan, Fault> {
        plan::plan(self, inputs, limits)
    }
}
