//! A model as a graph of operators: plain data, checked for all that can be known without sizes.
//!
//! Owns: values and their numbers, operators and attributes, limits of a graph. May not touch: shapes, arithmetic.

mod check;
mod kinds;
mod loss;
mod model;
mod operator;

pub use check::{
    MAX_CONSTANT_BYTES, MAX_CONSTANTS, MAX_CONSTANTS_BYTES, MAX_INPUTS, MAX_NODES, MAX_OPERANDS, MAX_OUTPUTS,
    MAX_SYMBOLS, MAX_TEXT,
};
pub use kinds::{
    BinaryKind, CompareKind, GatherMode, PadMode, PoolKind, RecurrentKind, ReduceKind, TensorKind, UnaryKind,
    UpsampleKind, ValueType,
};
pub use loss::{AuxiliaryLoss, CrossEntropy, LossKind, LossSpec};
pub use model::{ModelKind, ModelReader, ModelSource};
pub use operator::*;

use crate::{Dtype, Fault};
use bytes::Bytes;

/// A tensor of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphTensor {
    /// Its name in snapshots.
    pub name: String,
    /// What it is for.
    pub kind: TensorKind,
    /// Sizes of its axes.
    pub shape: Vec<u64>,
    /// How its elements are stored.
    pub dtype: Dtype,
    /// The tensor before it whose elements these are.
    pub alias_of: Option<usize>,
}

impl GraphTensor {
    /// The type of its value.
    pub fn value_type(&self) -> ValueType {
        value_type(self.dtype)
    }
}

/// Any float is WORK, any integer I64.
pub fn value_type(dtype: Dtype) -> ValueType {
    match dtype {
        Dtype::Bool => ValueType::Bool,
        float if float.is_float() => ValueType::Work,
        _ => ValueType::I64,
    }
}

/// A size that may differ from batch to batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizeSymbol {
    /// For people.
    pub name: String,
    /// The smallest size.
    pub least: u64,
    /// The largest size, if there is one.
    pub most: Option<u64>,
}

/// The size of an axis of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// This many.
    Fixed(u64),
    /// The size with this place among the symbols.
    Symbol(usize),
}

/// A tensor of a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphInput {
    /// Its name in probes.
    pub name: String,
    /// How its elements are stored.
    pub dtype: Dtype,
    /// Its axes.
    pub shape: Vec<Axis>,
    /// Whether it is the same for all examples, with no axis for the batch.
    pub shared: bool,
}

/// A value that is part of the graph.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphConstant {
    /// F32, F64, I64 or Bool.
    pub dtype: Dtype,
    /// Sizes of its axes.
    pub shape: Vec<u64>,
    /// Its elements, row-major and little-endian.
    pub data: Bytes,
}

/// An operator at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Places of the values that it reads, from 0; `None` where an optional one is absent.
    pub operands: Vec<Option<usize>>,
    /// How many results it has, at least 1.
    pub results: usize,
    /// Where it comes from, for messages.
    pub origin: String,
    /// What it does.
    pub operator: Operator,
}

/// A named result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphOutput {
    /// What the loss calls it.
    pub name: String,
    /// The place of its value, from 0.
    pub value: usize,
}

/// The parts of a graph, before they are checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GraphParts {
    /// Who exported it, for people.
    pub producer: String,
    /// What a snapshot brings.
    pub tensors: Vec<GraphTensor>,
    /// What a probe brings.
    pub inputs: Vec<GraphInput>,
    /// Values that are part of it.
    pub constants: Vec<GraphConstant>,
    /// What is done, in order.
    pub nodes: Vec<Node>,
    /// What comes out.
    pub outputs: Vec<GraphOutput>,
    /// Sizes that may differ from batch to batch.
    pub symbols: Vec<SizeSymbol>,
}

/// A graph whose structure holds: only made by [`Graph::new`]. Values are numbered from 0 here: tensors, inputs, constants,
/// results of nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph(GraphParts);

impl Graph {
    /// Checks limits, names, references and attributes. Paths of faults begin at the graph: `nodes[17].slice.axis`.
    ///
    /// # Errors
    /// [`crate::FaultKind::Invalid`] with the first wrong field.
    pub fn new(parts: GraphParts) -> Result<Self, Fault> {
        check::check(&parts)?;
        Ok(Self(parts))
    }

    /// All of it, to read.
    pub fn parts(&self) -> &GraphParts {
        &self.0
    }

    /// The place of the first input among the values.
    pub fn first_input(&self) -> usize {
        self.0.tensors.len()
    }

    /// The place of the first constant among the values.
    pub fn first_constant(&self) -> usize {
        self.first_input() + self.0.inputs.len()
    }

    /// The place of the first result of a node among the values.
    pub fn first_result(&self) -> usize {
        self.first_constant() + self.0.constants.len()
    }

    /// Number of values.
    pub fn values(&self) -> usize {
        self.first_result() + self.0.nodes.iter().map(|node| node.results).sum::<usize>()
    }
}
