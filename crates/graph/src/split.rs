//! The head of a model by itself, so that the scores of all words of all tokens never exist at once.
//!
//! Owns: which nodes are the head, and the two graphs. May not touch: losses, blocks of rows.

use crate::model::GraphModel;
use clino_domain::Fault;
use clino_domain::graph::{
    Axis, Binary, Graph, GraphInput, GraphOutput, GraphParts, Node, Operator, SizeSymbol, Unary, UnaryKind,
};

/// A model in two: rows [rows, width] of what the body puts out are what the head reads, as many at a time as one likes.
#[derive(Debug, Clone)]
pub struct Split {
    /// The model with what the head reads, [..., width], in the place of the output.
    pub body: GraphModel,
    /// From rows [rows, width] to rows [rows, classes]: one input, along which a derivative is made, and one output. Its
    /// parameters and buffers are those of the whole model.
    pub head: GraphModel,
    /// Numbers in a row that the head reads.
    pub width: usize,
}

impl GraphModel {
    /// Cuts off the head from an output: the last LINEAR, and what is done element by element behind it. `None` where the
    /// output is made in another way, or where something else reads what lies between.
    pub fn split_head(&self, output: usize) -> Option<Split> {
        let parts = self.graph().parts();
        let first = firsts(self.graph());
        let mut tail = Vec::new();
        let mut value = parts.outputs.get(output)?.value;
        loop {
            let i = producer(&first, parts, value)?;
            let node = &parts.nodes[i];
            if readers(parts, value, output) > usize::from(!tail.is_empty()) {
                return None;
            }
            tail.push(i);
            match &node.operator {
                Operator::Linear(_) => break,
                _ => value = through(node, parts, self.graph())?,
            }
        }
        tail.reverse();
        let linear = &parts.nodes[*tail.first()?];
        let hidden = linear.operands.first().copied().flatten()?;
        let width = weight_width(linear, parts)?;
        let body = self.body(output, hidden).ok()?;
        let head = self.head(output, &tail, &first, width).ok()?;
        Some(Split { body, head, width })
    }

    fn body(&self, output: usize, hidden: usize) -> Result<GraphModel, Fault> {
        let mut parts = self.graph().parts().clone();
        parts.outputs[output].value = hidden;
        GraphModel::new(Graph::new(parts)?)
    }

    /// The nodes of the tail over one input. Tensors stay where they are, so that parameters have their places.
    fn head(
        &self,
        output: usize,
        tail: &[usize],
        first: &[usize],
        width: usize,
    ) -> Result<GraphModel, Fault> {
        let parts = self.graph().parts();
        let rows = SizeSymbol { name: "rows".into(), least: 1, most: None };
        let input = GraphInput {
            name: "hidden".into(),
            dtype: clino_domain::Dtype::F64,
            shape: vec![Axis::Symbol(0), Axis::Fixed(width as u64)],
            shared: false,
        };
        let tensors = parts.tensors.len();
        let mut nodes: Vec<Node> = Vec::new();
        for i in tail {
            let mut node = parts.nodes[*i].clone();
            let before = nodes
                .len()
                .checked_sub(1)
                .map(|last| (first[tail[last]], tensors + 1 + parts.constants.len() + last));
            for (j, operand) in node.operands.iter_mut().enumerate() {
                *operand = operand.map(|value| match before {
                    None if j == 0 => tensors,
                    Some((old, new)) if value == old => new,
                    _ if value >= self.graph().first_constant() => value - parts.inputs.len() + 1,
                    _ => value,
                });
            }
            nodes.push(node);
        }
        let value = tensors + parts.constants.len() + nodes.len();
        let outputs = vec![GraphOutput { name: parts.outputs[output].name.clone(), value }];
        let head = GraphParts {
            producer: parts.producer.clone(),
            tensors: parts.tensors.clone(),
            inputs: vec![input],
            constants: parts.constants.clone(),
            nodes,
            outputs,
            symbols: vec![rows],
        };
        Ok(GraphModel::new(Graph::new(head)?)?.with_input_derivatives())
    }
}

/// First result of each node.
fn firsts(graph: &Graph) -> Vec<usize> {
    let mut firsts = Vec::with_capacity(graph.parts().nodes.len());
    let mut at = graph.first_result();
    for node in &graph.parts().nodes {
        firsts.push(at);
        at += node.results;
    }
    firsts
}

/// The node whose only result a value is.
fn producer(first: &[usize], parts: &GraphParts, value: usize) -> Option<usize> {
    let i = first.binary_search(&value).ok()?;
    (parts.nodes[i].results == 1).then_some(i)
}

/// How many read a value beside the output itself.
fn readers(parts: &GraphParts, value: usize, output: usize) -> usize {
    let nodes =
        parts.nodes.iter().flat_map(|node| &node.operands).filter(|operand| **operand == Some(value)).count();
    let others =
        parts.outputs.iter().enumerate().filter(|(i, one)| *i != output && one.value == value).count();
    nodes + others
}

/// The operand that a node changes element by element, row by row; nothing where it does something else.
fn through(node: &Node, parts: &GraphParts, graph: &Graph) -> Option<usize> {
    // The same for all rows: one number, or one for each column.
    let fixed = |operand: Option<usize>| {
        let value = operand?;
        let shape = match value.checked_sub(graph.first_constant()) {
            Some(constant) => &parts.constants.get(constant)?.shape,
            None => &parts.tensors.get(value)?.shape,
        };
        let rows = shape.len().saturating_sub(1);
        (rows <= 1 && shape[..rows].iter().all(|size| *size == 1)).then_some(())
    };
    match (&node.operator, node.operands.as_slice()) {
        (Operator::Unary(Unary { kind, .. }), [x]) if *kind != UnaryKind::Detach => *x,
        (Operator::Cast(_), [x]) => *x,
        (Operator::Binary(Binary { .. }), [a, b]) => match (fixed(*a), fixed(*b)) {
            (None, Some(())) => *a,
            (Some(()), None) => *b,
            _ => None,
        },
        _ => None,
    }
}

/// The length of the rows that a LINEAR reads; its weight and bias are tensors.
fn weight_width(linear: &Node, parts: &GraphParts) -> Option<usize> {
    let tensor = |operand: usize| parts.tensors.get(operand);
    let weight = tensor(linear.operands.get(1).copied().flatten()?)?;
    if let Some(Some(bias)) = linear.operands.get(2) {
        tensor(*bias)?;
    }
    match weight.shape.as_slice() {
        [_, width] => usize::try_from(*width).ok(),
        _ => None,
    }
}
