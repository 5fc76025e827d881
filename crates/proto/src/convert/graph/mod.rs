//! Models as graphs: from messages to checked plain data.
//!
//! Owns: numbers of values, which are counted from 1 on the wire, and presence of fields. May not touch: shapes.

mod loss;
mod operators;
#[cfg(test)]
mod tests;

use super::{Coded, present};
use crate::pb;
use clino_domain::graph::{
    Axis, Graph, GraphConstant, GraphInput, GraphOutput, GraphParts, GraphTensor, LossSpec, MAX_CONSTANTS,
    MAX_INPUTS, MAX_NODES, MAX_OUTPUTS, MAX_SYMBOLS, Node, SizeSymbol, TensorKind,
};
use clino_domain::tensor::{MAX_RANK, MAX_TENSORS};
use clino_domain::{Dtype, Fault};
pub use loss::loss_from_pb;
use std::collections::HashMap;

/// The version of the operators that is read.
pub const GRAPH_VERSION: u32 = 1;

/// What a run trains.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelKind {
    /// A graph and what is lost on its outputs.
    Graph(Box<Graph>, LossSpec),
    /// Names and shapes alone.
    Tensors(Vec<GraphTensor>),
}

/// A model; paths of its faults begin with `model.`.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming the first wrong field, what was found and what is accepted.
pub fn model_from_pb(model: pb::Model) -> Result<ModelKind, Fault> {
    let kind = present("model.kind", model.kind)?;
    match kind {
        pb::model::Kind::Graph(graph) => {
            let graph = graph_from_pb(graph).map_err(|fault| fault.within("model.graph."))?;
            let loss = present("model.loss", model.loss)?;
            let loss = loss_from_pb(loss, graph.parts()).map_err(|fault| fault.within("model.loss."))?;
            Ok(ModelKind::Graph(Box::new(graph), loss))
        }
        pb::model::Kind::Tensors(list) => {
            let tensors = tensors_from_pb(list.tensors).map_err(|fault| fault.within("model.tensors."))?;
            if !tensors.iter().any(|tensor| tensor.kind == TensorKind::Param) {
                return Err(Fault::invalid("model.tensors.tensors", "found no PARAM, expected at least one"));
            }
            Ok(ModelKind::Tensors(tensors))
        }
    }
}

/// A graph; paths of its faults begin at the graph.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming the first wrong field.
pub fn graph_from_pb(graph: pb::Graph) -> Result<Graph, Fault> {
    if graph.version != GRAPH_VERSION {
        let found = graph.version;
        let description =
            format!("found {found}, expected {GRAPH_VERSION}: use a client and a daemon of one release");
        return Err(Fault::invalid("version", description));
    }
    // Counted before anything is made of them.
    counted("inputs", graph.inputs.len(), MAX_INPUTS)?;
    counted("constants", graph.constants.len(), MAX_CONSTANTS)?;
    counted("nodes", graph.nodes.len(), MAX_NODES)?;
    counted("outputs", graph.outputs.len(), MAX_OUTPUTS)?;
    counted("symbols", graph.symbols.len(), MAX_SYMBOLS)?;
    let symbol = |symbol: pb::SizeSymbol| SizeSymbol {
        name: symbol.name,
        least: symbol.least.max(1),
        most: (symbol.most > 0).then_some(symbol.most),
    };
    let inputs = graph.inputs.into_iter().enumerate().map(|(i, input)| input_from_pb(i, input));
    let constants =
        graph.constants.into_iter().enumerate().map(|(i, constant)| constant_from_pb(i, constant));
    let nodes = graph.nodes.into_iter().enumerate().map(|(i, node)| node_from_pb(i, node));
    let outputs = graph.outputs.into_iter().enumerate().map(|(i, output)| {
        let value = value_from_pb(&format!("outputs[{i}].value"), output.value)?;
        Ok(GraphOutput { name: output.name, value })
    });
    Graph::new(GraphParts {
        producer: graph.producer,
        tensors: tensors_from_pb(graph.tensors)?,
        inputs: inputs.collect::<Result<_, Fault>>()?,
        constants: constants.collect::<Result<_, Fault>>()?,
        nodes: nodes.collect::<Result<_, Fault>>()?,
        outputs: outputs.collect::<Result<_, Fault>>()?,
        symbols: graph.symbols.into_iter().map(symbol).collect(),
    })
}

fn counted(field: &str, found: usize, most: usize) -> Result<(), Fault> {
    match found <= most {
        true => Ok(()),
        false => Err(Fault::invalid(field, format!("found {found}, expected at most {most}"))),
    }
}

/// A value that must be there, from 0.
fn value_from_pb(field: &str, number: u32) -> Result<usize, Fault> {
    match number.checked_sub(1) {
        Some(value) => Ok(value as usize),
        None => Err(Fault::invalid(field, "found 0, expected the number of a value, from 1")),
    }
}

fn tensors_from_pb(tensors: Vec<pb::GraphTensor>) -> Result<Vec<GraphTensor>, Fault> {
    counted("tensors", tensors.len(), MAX_TENSORS)?;
    let mut places = HashMap::with_capacity(tensors.len());
    let mut out = Vec::with_capacity(tensors.len());
    for (i, tensor) in tensors.into_iter().enumerate() {
        let field = |name: &str| format!("tensors[{i}].{name}");
        let kind = match tensor.kind.checked_sub(1).and_then(|kind| TensorKind::ALL.get(kind as usize)) {
            Some(kind) => *kind,
            None => {
                let description = format!("found {}, expected PARAM, FROZEN or BUFFER", tensor.kind);
                return Err(Fault::invalid(field("kind"), description));
            }
        };
        let dtype = Dtype::from_pb(&field("dtype"), tensor.dtype)?;
        let alias_of = match tensor.alias_of.as_str() {
            "" => None,
            owner => Some(*places.get(owner).ok_or_else(|| {
                let owner = clino_domain::text::quoted(owner);
                let description = format!("found {owner}, expected the name of a tensor before this one");
                Fault::invalid(field("alias_of"), description)
            })?),
        };
        places.insert(tensor.name.clone(), i);
        out.push(GraphTensor { name: tensor.name, kind, shape: tensor.shape, dtype, alias_of });
    }
    Ok(out)
}

fn input_from_pb(i: usize, input: pb::GraphInput) -> Result<GraphInput, Fault> {
    let dtype = Dtype::from_pb(&format!("inputs[{i}].dtype"), input.dtype)?;
    counted(&format!("inputs[{i}].shape"), input.shape.len(), MAX_RANK)?;
    let axis =
        |(j, axis): (usize, pb::Axis)| match present(&format!("inputs[{i}].shape[{j}].kind"), axis.kind)? {
            pb::axis::Kind::Fixed(size) => Ok(Axis::Fixed(size)),
            pb::axis::Kind::Symbol(symbol) => Ok(Axis::Symbol(symbol as usize)),
        };
    let shape = input.shape.into_iter().enumerate().map(axis).collect::<Result<_, Fault>>()?;
    Ok(GraphInput { name: input.name, dtype, shape, shared: input.shared })
}

fn constant_from_pb(i: usize, constant: pb::GraphConstant) -> Result<GraphConstant, Fault> {
    let dtype = Dtype::from_pb(&format!("constants[{i}].dtype"), constant.dtype)?;
    Ok(GraphConstant { dtype, shape: constant.shape, data: constant.data })
}

fn node_from_pb(i: usize, node: pb::Node) -> Result<Node, Fault> {
    let operands =
        node.operands.iter().map(|number| number.checked_sub(1).map(|value| value as usize)).collect();
    let Some(operator) = node.operator else {
        let description = format!(
            "found none or one that this daemon does not know, expected one of {}{}",
            clino_domain::graph::Operator::NAMES.join(", "),
            if node.origin.is_empty() {
                String::new()
            } else {
                format!(" (in {})", clino_domain::text::quoted(&node.origin))
            }
        );
        return Err(Fault::invalid(format!("nodes[{i}].operator"), description));
    };
    let operator =
        operators::operator_from_pb(operator).map_err(|fault| fault.within(&format!("nodes[{i}].")))?;
    Ok(Node { operands, results: node.results.max(1) as usize, origin: node.origin, operator })
}
