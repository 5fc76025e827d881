//! What must hold of any graph before a size is known.
//!
//! Owns: limits, references backwards only, names, numbers of operands. May not touch: shapes.

use super::{Axis, GraphParts, Node, Operator, ReduceKind, Size, UnaryKind};
use crate::tensor::{MAX_RANK, MAX_TENSOR_NAME, MAX_TENSORS};
use crate::text::quoted;
use crate::{Dtype, Fault};
use std::collections::HashMap;

/// Most nodes of a graph.
pub const MAX_NODES: usize = 100_000;
/// Most inputs of a graph.
pub const MAX_INPUTS: usize = 256;
/// Most outputs of a graph.
pub const MAX_OUTPUTS: usize = 256;
/// Most symbols of a graph.
pub const MAX_SYMBOLS: usize = 256;
/// Most constants of a graph.
pub const MAX_CONSTANTS: usize = 100_000;
/// Most bytes of a constant.
pub const MAX_CONSTANT_BYTES: usize = 1 << 20;
/// Most bytes of all constants.
pub const MAX_CONSTANTS_BYTES: usize = 16 << 20;
/// Most operands of a node.
pub const MAX_OPERANDS: usize = 65_536;
/// Most operands of all nodes.
const MAX_ALL_OPERANDS: usize = 1_000_000;
/// Most results of a node.
const MAX_RESULTS: usize = 3;
/// Longest text that is only for people, in bytes.
pub const MAX_TEXT: usize = 4096;

type Checked = Result<(), Fault>;

/// Checks all of a graph's structure.
pub fn check(parts: &GraphParts) -> Checked {
    limits(parts)?;
    tensors(parts)?;
    inputs(parts)?;
    constants(parts)?;
    nodes(parts)?;
    outputs(parts)
}

fn at_most(field: &str, what: &str, found: usize, most: usize) -> Checked {
    match found <= most {
        true => Ok(()),
        false => Err(Fault::invalid(field, format!("found {found} {what}, expected at most {most}"))),
    }
}

fn limits(parts: &GraphParts) -> Checked {
    at_most("tensors", "tensors", parts.tensors.len(), MAX_TENSORS)?;
    at_most("inputs", "inputs", parts.inputs.len(), MAX_INPUTS)?;
    at_most("constants", "constants", parts.constants.len(), MAX_CONSTANTS)?;
    at_most("nodes", "nodes", parts.nodes.len(), MAX_NODES)?;
    at_most("outputs", "outputs", parts.outputs.len(), MAX_OUTPUTS)?;
    at_most("symbols", "symbols", parts.symbols.len(), MAX_SYMBOLS)?;
    at_most("producer", "bytes", parts.producer.len(), MAX_TEXT)?;
    let bytes = parts.constants.iter().map(|constant| constant.data.len()).sum();
    at_most("constants", "bytes in all constants together", bytes, MAX_CONSTANTS_BYTES)?;
    let operands = parts.nodes.iter().map(|node| node.operands.len()).sum();
    at_most("nodes", "operands of all nodes together", operands, MAX_ALL_OPERANDS)?;
    for (i, symbol) in parts.symbols.iter().enumerate() {
        at_most(&format!("symbols[{i}].name"), "bytes", symbol.name.len(), MAX_TEXT)?;
        if let Some(most) = symbol.most.filter(|most| *most < symbol.least) {
            let description = format!("found {most}, expected at least {} as `least` says", symbol.least);
            return Err(Fault::invalid(format!("symbols[{i}].most"), description));
        }
    }
    Ok(())
}

/// A name that nothing in `seen` has yet.
fn name<'a>(field: &str, name: &'a str, seen: &mut HashMap<&'a str, usize>, i: usize) -> Checked {
    if name.is_empty() || name.len() > MAX_TENSOR_NAME {
        let found = name.len();
        return Err(Fault::invalid(field, format!("found {found} bytes, expected 1 to {MAX_TENSOR_NAME}")));
    }
    match seen.insert(name, i) {
        None => Ok(()),
        Some(first) => {
            let description = format!(
                "found {} twice, the first time at place {first}; expected names to differ",
                quoted(name)
            );
            Err(Fault::invalid(field, description))
        }
    }
}

fn numel(field: &str, shape: &[u64]) -> Result<u64, Fault> {
    at_most(field, "axes", shape.len(), MAX_RANK)?;
    let product = shape.iter().try_fold(1u64, |product, axis| product.checked_mul(*axis));
    product
        .filter(|n| *n <= isize::MAX as u64 / 16)
        .ok_or_else(|| Fault::invalid(field, format!("found {shape:?}, whose size overflows")))
}

fn tensors(parts: &GraphParts) -> Checked {
    let mut seen = HashMap::new();
    for (i, tensor) in parts.tensors.iter().enumerate() {
        let field = |name: &str| format!("tensors[{i}].{name}");
        name(&field("name"), &tensor.name, &mut seen, i)?;
        numel(&field("shape"), &tensor.shape)?;
        if tensor.kind != super::TensorKind::Buffer && !tensor.dtype.is_float() {
            let found = tensor.dtype.name();
            let description = format!("found {found}, expected a float for a {}", tensor.kind.name());
            return Err(Fault::invalid(field("dtype"), description));
        }
        let Some(owner) = tensor.alias_of else { continue };
        let Some(target) = parts.tensors[..i].get(owner) else {
            let description =
                format!("found tensor {owner}, expected one before tensor {i}: list the owner first");
            return Err(Fault::invalid(field("alias_of"), description));
        };
        if target.kind != tensor.kind {
            let description =
                format!("found {}, expected {} as its owner has", tensor.kind.name(), target.kind.name());
            return Err(Fault::invalid(field("kind"), description));
        }
        if target.shape != tensor.shape || target.value_type() != tensor.value_type() {
            let found = format!("{:?} {}", tensor.shape, tensor.dtype.name());
            let description = format!(
                "found {found}, expected {:?} {} as its owner has",
                target.shape,
                target.dtype.name()
            );
            return Err(Fault::invalid(field("shape"), description));
        }
    }
    Ok(())
}

fn inputs(parts: &GraphParts) -> Checked {
    let mut seen = HashMap::new();
    for (i, input) in parts.inputs.iter().enumerate() {
        name(&format!("inputs[{i}].name"), &input.name, &mut seen, i)?;
        at_most(&format!("inputs[{i}].shape"), "axes", input.shape.len(), MAX_RANK)?;
        for (j, axis) in input.shape.iter().enumerate() {
            if let Axis::Symbol(symbol) = axis
                && *symbol >= parts.symbols.len()
            {
                let description =
                    format!("found symbol {symbol}, expected less than {}", parts.symbols.len());
                return Err(Fault::invalid(format!("inputs[{i}].shape[{j}].symbol"), description));
            }
        }
    }
    Ok(())
}

fn constants(parts: &GraphParts) -> Checked {
    for (i, constant) in parts.constants.iter().enumerate() {
        let field = |name: &str| format!("constants[{i}].{name}");
        at_most(&field("data"), "bytes", constant.data.len(), MAX_CONSTANT_BYTES)?;
        if !matches!(constant.dtype, Dtype::F32 | Dtype::F64 | Dtype::I64 | Dtype::Bool) {
            let description = format!("found {}, expected F32, F64, I64 or BOOL", constant.dtype.name());
            return Err(Fault::invalid(field("dtype"), description));
        }
        let expected = numel(&field("shape"), &constant.shape)?.checked_mul(constant.dtype.size());
        if expected != Some(constant.data.len() as u64) {
            let description = format!(
                "found {} bytes, expected {} for {} {:?}",
                constant.data.len(),
                expected.unwrap_or(u64::MAX),
                constant.dtype.name(),
                constant.shape
            );
            return Err(Fault::invalid(field("data"), description));
        }
    }
    Ok(())
}

fn outputs(parts: &GraphParts) -> Checked {
    if parts.outputs.is_empty() {
        return Err(Fault::invalid("outputs", "found none, expected at least one: the loss reads it"));
    }
    let values = parts.tensors.len() + parts.inputs.len() + parts.constants.len();
    let values = values + parts.nodes.iter().map(|node| node.results).sum::<usize>();
    let mut seen = HashMap::new();
    for (i, output) in parts.outputs.iter().enumerate() {
        name(&format!("outputs[{i}].name"), &output.name, &mut seen, i)?;
        if output.value >= values {
            let description = format!("found {}, expected 1 to {values}", output.value.saturating_add(1));
            return Err(Fault::invalid(format!("outputs[{i}].value"), description));
        }
    }
    Ok(())
}

/// A fault of a node, which says where the node comes from.
fn at(i: usize, node: &Node, field: &str, description: &str) -> Fault {
    let origin = match node.origin.is_empty() {
        true => String::new(),
        false => format!(" (in {})", quoted(&node.origin)),
    };
    Fault::invalid(format!("nodes[{i}].{field}"), format!("{description}{origin}"))
}

fn nodes(parts: &GraphParts) -> Checked {
    let mut values = parts.tensors.len() + parts.inputs.len() + parts.constants.len();
    for (i, node) in parts.nodes.iter().enumerate() {
        let name = node.operator.name();
        at_most(&format!("nodes[{i}].origin"), "bytes", node.origin.len(), MAX_TEXT)?;
        at_most(&format!("nodes[{i}].operands"), "operands", node.operands.len(), MAX_OPERANDS)?;
        references(i, node, values)?;
        let wrong =
            |(field, description): (&str, String)| at(i, node, &format!("{name}.{field}"), &description);
        attributes(&node.operator).map_err(wrong)?;
        counts(i, node)?;
        values += node.results;
    }
    Ok(())
}

fn references(i: usize, node: &Node, values: usize) -> Checked {
    for (j, operand) in node.operands.iter().enumerate() {
        if let Some(value) = operand.filter(|value| *value >= values) {
            let description = format!(
                "found value {}, expected 1 to {values}, the values before this node: list nodes in the order in which \
                 they are computed; a graph has no cycles",
                value.saturating_add(1)
            );
            return Err(at(i, node, &format!("operands[{j}]"), &description));
        }
    }
    for size in sizes(&node.operator) {
        if let Size::Value(value) = size
            && value >= values
        {
            let found = value.saturating_add(1);
            let description =
                format!("found a size from value {found}, expected 1 to {values}, the values before it");
            return Err(at(i, node, node.operator.name(), &description));
        }
    }
    Ok(())
}

/// All sizes that an operator names.
fn sizes(operator: &Operator) -> Vec<Size> {
    match operator {
        Operator::Reshape(op) => op.shape.clone(),
        Operator::Expand(op) => op.shape.clone(),
        Operator::Full(op) => op.shape.clone(),
        Operator::Slice(op) => [op.start].into_iter().chain(op.end).collect(),
        Operator::Pad(op) => [op.before.as_slice(), op.after.as_slice()].concat(),
        Operator::TopK(op) => vec![op.k],
        Operator::Count(op) => vec![op.bins],
        Operator::Arange(op) => vec![op.start, op.end, op.step],
        Operator::Pool(op) => op.output.clone(),
        Operator::Upsample(op) => op.output.clone(),
        _ => Vec::new(),
    }
}

/// The least and the most operands, and the operands that may be absent (by their first place).
fn operands(operator: &Operator) -> (usize, usize, usize) {
    match operator {
        Operator::Concat(_) => (1, MAX_OPERANDS, MAX_OPERANDS),
        Operator::Gather(op) => (1 + op.axes.len(), 1 + op.axes.len(), MAX_OPERANDS),
        Operator::Scatter(op) => (2 + op.axes.len(), 2 + op.axes.len(), MAX_OPERANDS),
        Operator::Linear(_) => (2, 3, 2),
        Operator::Conv(_) => (2, 3, 2),
        Operator::MatMul(_) | Operator::Binary(_) | Operator::Compare(_) => (2, 2, 2),
        Operator::GroupedMatMul(_) | Operator::Where(_) => (3, 3, 3),
        Operator::Attention(_) => (3, 4, 3),
        Operator::LayerNorm(_) | Operator::GroupNorm(_) => (1, 3, 1),
        Operator::RmsNorm(_) => (1, 2, 1),
        Operator::BatchNorm(_) => (3, 5, 3),
        Operator::Arange(_) => (0, 0, 0),
        Operator::Full(_) => (0, 1, 0),
        Operator::Recurrent(op) => {
            let each = if op.biases { 4 } else { 2 };
            let states = if op.kind == super::RecurrentKind::Lstm { 3 } else { 2 };
            let n = op.layers.saturating_mul(1 + usize::from(op.bidirectional)).saturating_mul(each);
            (states + n, states + n, 1)
        }
        _ => (1, 1, 1),
    }
}

/// The most results of an operator.
fn results(operator: &Operator) -> (usize, usize) {
    match operator {
        Operator::TopK(_) | Operator::Sort(_) => (2, 2),
        Operator::Pool(op) if op.kind == super::PoolKind::Max || op.kind == super::PoolKind::AdaptiveMax => {
            (1, 2)
        }
        Operator::Recurrent(op) if op.kind == super::RecurrentKind::Lstm => (MAX_RESULTS, MAX_RESULTS),
        Operator::Recurrent(_) => (2, 2),
        _ => (1, 1),
    }
}

fn counts(i: usize, node: &Node) -> Checked {
    let (least, most, optional) = operands(&node.operator);
    let found = node.operands.len();
    let name = node.operator.name();
    if found < least || found > most {
        let expected = if least == most { format!("{least}") } else { format!("{least} to {most}") };
        let description = format!("found {found} operands of {name}, expected {expected}: see docs/graph.md");
        return Err(at(i, node, "operands", &description));
    }
    // A recurrent layer has its optional states before its weights.
    let optional = |j: usize| match &node.operator {
        Operator::Recurrent(op) => j == 1 || (j == 2 && op.kind == super::RecurrentKind::Lstm),
        _ => j >= optional,
    };
    if let Some(j) = (0..found).find(|j| node.operands[*j].is_none() && !optional(*j)) {
        let description = format!("found none, expected a value: operand {j} of {name} is required");
        return Err(at(i, node, &format!("operands[{j}]"), &description));
    }
    let (least, most) = results(&node.operator);
    if node.results < least || node.results > most {
        let expected = if least == most { format!("{least}") } else { format!("{least} to {most}") };
        let description = format!("found {} results of {name}, expected {expected}", node.results);
        return Err(at(i, node, "results", &description));
    }
    Ok(())
}

type Wrong = (&'static str, String);

fn axis(field: &'static str, axis: usize) -> Result<(), Wrong> {
    match axis < MAX_RANK {
        true => Ok(()),
        false => Err((field, format!("found {axis}, expected less than {MAX_RANK}"))),
    }
}

fn axes(field: &'static str, axes: &[usize]) -> Result<(), Wrong> {
    if axes.len() > MAX_RANK {
        return Err((field, format!("found {} axes, expected at most {MAX_RANK}", axes.len())));
    }
    let mut seen = 0u32;
    for i in axes {
        axis(field, *i)?;
        if seen & (1 << i) != 0 {
            return Err((field, format!("found axis {i} twice, expected each at most once")));
        }
        seen |= 1 << i;
    }
    Ok(())
}

fn few<T>(field: &'static str, list: &[T]) -> Result<(), Wrong> {
    match list.len() <= MAX_RANK {
        true => Ok(()),
        false => Err((field, format!("found {} sizes, expected at most {MAX_RANK}", list.len()))),
    }
}

fn finite(field: &'static str, number: f64) -> Result<(), Wrong> {
    match number.is_finite() && number >= 0.0 {
        true => Ok(()),
        false => Err((field, format!("found {number}, expected a finite number from 0"))),
    }
}

fn attributes(operator: &Operator) -> Result<(), Wrong> {
    match operator {
        Operator::Reshape(op) => few("shape", &op.shape),
        Operator::Expand(op) => few("shape", &op.shape),
        Operator::Full(op) => few("shape", &op.shape),
        Operator::Permute(op) => axes("axes", &op.axes),
        Operator::Flip(op) => axes("axes", &op.axes),
        Operator::Slice(op) => axis("axis", op.axis),
        Operator::Concat(op) => axis("axis", op.axis),
        Operator::Softmax(op) => axis("axis", op.axis),
        Operator::Cumulate(op) => axis("axis", op.axis),
        Operator::TopK(op) => axis("axis", op.axis),
        Operator::Sort(op) => axis("axis", op.axis),
        Operator::Dim(op) => axis("axis", op.axis),
        Operator::Pad(op) => few("before", &op.before).and_then(|()| few("after", &op.after)),
        Operator::Gather(op) => match op.padding_index.filter(|_| op.mode != super::GatherMode::Take) {
            Some(index) => Err(("padding_index", format!("found {index}, expected none but with TAKE"))),
            None => chosen(op.mode, &op.axes),
        },
        Operator::Scatter(op) => chosen(op.mode, &op.axes),
        Operator::LayerNorm(op) => finite("epsilon", op.epsilon).and_then(|()| axis("axes", op.axes)),
        Operator::RmsNorm(op) => finite("epsilon", op.epsilon).and_then(|()| axis("axes", op.axes)),
        Operator::BatchNorm(op) => finite("epsilon", op.epsilon),
        Operator::GroupNorm(op) => finite("epsilon", op.epsilon),
        Operator::Attention(op) => match op.scale.filter(|scale| !scale.is_finite()) {
            Some(scale) => Err(("scale", format!("found {scale}, expected a finite number"))),
            None => Ok(()),
        },
        Operator::Unary(op) => parameters(op.kind, &op.parameters),
        Operator::Reduce(op) => reduced(op),
        Operator::Recurrent(op) if !(1..=1024).contains(&op.layers) => {
            Err(("layers", format!("found {}, expected 1 to 1024", op.layers)))
        }
        _ => Ok(()),
    }
}

fn chosen(mode: super::GatherMode, list: &[usize]) -> Result<(), Wrong> {
    axes("axes", list)?;
    let one = mode != super::GatherMode::Points;
    match list.is_empty() || (one && list.len() != 1) {
        true => Err((
            "axes",
            format!("found {} axes, expected {}", list.len(), if one { "1" } else { "at least 1" }),
        )),
        false => Ok(()),
    }
}

fn reduced(op: &super::Reduce) -> Result<(), Wrong> {
    axes("axes", &op.axes)?;
    let arg = matches!(op.kind, ReduceKind::Argmax | ReduceKind::Argmin);
    if arg && op.axes.len() > 1 {
        return Err((
            "axes",
            format!("found {} axes of {}, expected at most 1", op.axes.len(), op.kind.name()),
        ));
    }
    let parameter = op.parameter;
    match op.kind {
        ReduceKind::Variance => finite("parameter", parameter),
        ReduceKind::Norm if parameter.is_nan() || parameter < 0.0 => {
            Err(("parameter", format!("found {parameter}, expected an order from 0")))
        }
        _ => Ok(()),
    }
}

fn parameters(kind: UnaryKind, found: &[f64]) -> Result<(), Wrong> {
    let expected = match kind {
        UnaryKind::Softplus | UnaryKind::Clamp | UnaryKind::Hardtanh => 2,
        UnaryKind::Elu | UnaryKind::NanToNum => 3,
        UnaryKind::LeakyRelu => 1,
        _ => 0,
    };
    if found.len() != expected {
        let description = format!("found {} numbers, expected {expected} of {}", found.len(), kind.name());
        return Err(("parameters", description));
    }
    let any = matches!(kind, UnaryKind::Clamp | UnaryKind::Hardtanh | UnaryKind::NanToNum);
    match found.iter().find(|x| x.is_nan() && kind != UnaryKind::NanToNum || !any && !x.is_finite()) {
        Some(x) => Err(("parameters", format!("found {x}, expected a number"))),
        None => Ok(()),
    }
}
