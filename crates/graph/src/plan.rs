//! All that is known of a batch from its shapes alone.
//!
//! Owns: inference over the whole graph, in checked arithmetic. May not touch: elements.

use crate::classes::{self, Classes};
use crate::faults;
use crate::lives::{self, Lives};
use crate::memory;
use crate::model::GraphModel;
use crate::operation::{Cost, Infer, Operation, Place, Typed};
use crate::operators::dispatch;
use crate::shape::{MOST, elements};
use crate::value::Known;
use crate::wrong::{Field, Wrong};
use clino_domain::Fault;
use clino_domain::graph::{Axis, Graph, GraphConstant, GraphInput, Node, Operator, SizeSymbol, value_type};
use std::collections::HashSet;

/// How much a graph may ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Elements of one value.
    pub elements: usize,
    /// Elements of all values together.
    pub all_elements: usize,
    /// Additions and multiplications of a forward.
    pub work: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { elements: 1 << 29, all_elements: 1 << 36, work: (1u64 << 53) as f64 }
    }
}

/// Shapes, places and lives of all values for inputs of some shapes.
#[derive(Debug, Clone)]
pub struct ShapePlan {
    /// By value.
    pub(crate) typed: Vec<Typed>,
    /// By value: what is known before anything is computed.
    pub(crate) known: Vec<Option<Known>>,
    pub(crate) classes: Classes,
    pub(crate) lives: Lives,
    /// First result of each node.
    pub(crate) first: Vec<usize>,
    work: f64,
}

impl ShapePlan {
    /// Shape of the output with this place.
    pub fn output(&self, graph: &Graph, i: usize) -> Option<&[usize]> {
        let value = graph.parts().outputs.get(i)?.value;
        Some(&self.typed.get(value)?.shape)
    }

    /// Additions and multiplications of a forward, about.
    pub fn work(&self) -> f64 {
        self.work
    }

    /// Bytes of values and of what operators lay by in a pass, at most: of a forward, or with `keep` of a forward and
    /// backward. Parameters, gradient and the prepared batch come on top. `size`: bytes of an element of WORK.
    pub fn memory(&self, model: &GraphModel, keep: bool, size: usize, threads: usize) -> u64 {
        memory::of_pass(model.graph(), self, memory::Pass { keep, size, threads })
    }

    /// Bytes of a prepared batch, and the most that preparing it takes.
    pub fn prepared_memory(&self, model: &GraphModel, size: usize, threads: usize) -> [u64; 2] {
        memory::of_prepared(model.graph(), self, size, threads)
    }

    /// What an operator is asked about memory with.
    pub(crate) fn cost<'a>(&'a self, i: usize, node: &Node, pass: memory::Pass, back: bool) -> Cost<'a> {
        let wants = |operand: &Option<usize>| operand.is_some_and(|value| self.classes.wants(value));
        let mut seen = HashSet::new();
        let is_apart = |operand: &Option<usize>| {
            operand.is_some_and(|value| {
                matches!(self.classes.places[value], Place::Gradient(_)) || !seen.insert(value)
            })
        };
        Cost {
            operands: node.operands.iter().map(|operand| operand.map(|value| &self.typed[value])).collect(),
            results: &self.typed[self.first[i]..self.first[i] + node.results],
            wants: back.then(|| node.operands.iter().map(wants).collect()),
            apart: if back { node.operands.iter().map(is_apart).collect() } else { Vec::new() },
            size: pass.size,
            threads: pass.threads,
        }
    }
}

/// What is gathered node by node.
struct Inference<'a> {
    graph: &'a Graph,
    limits: &'a Limits,
    typed: Vec<Typed>,
    known: Vec<Option<Known>>,
    first: Vec<usize>,
    elements: usize,
    work: f64,
    /// By node: whether an output depends on it; no others are computed.
    live: Vec<bool>,
}

/// Works out everything.
pub fn plan(model: &GraphModel, inputs: &[Vec<usize>], limits: &Limits) -> Result<ShapePlan, Fault> {
    let graph = model.graph();
    let mut inference = Inference {
        graph,
        limits,
        typed: Vec::with_capacity(graph.values()),
        known: Vec::with_capacity(graph.values()),
        first: Vec::with_capacity(graph.parts().nodes.len()),
        elements: 0,
        work: 0.0,
        live: classes::live(graph),
    };
    inference.sources(inputs)?;
    for (i, node) in graph.parts().nodes.iter().enumerate() {
        inference.node(i, node).map_err(|wrong| faults::of_node(i, node, wrong))?;
    }
    let Inference { typed, known, first, work, .. } = inference;
    let classes = classes::classify(model, &typed, &known, &first);
    let lives = lives::lives(graph, &classes, &first);
    Ok(ShapePlan { typed, known, classes, lives, first, work })
}

fn sizes(shape: &[u64]) -> Vec<usize> {
    shape.iter().map(|size| usize::try_from(*size).unwrap_or(usize::MAX)).collect()
}

impl Inference<'_> {
    fn push(&mut self, typed: Typed, known: Option<Known>) {
        self.typed.push(typed);
        self.known.push(known);
    }

    /// Tensors, inputs and constants.
    fn sources(&mut self, inputs: &[Vec<usize>]) -> Result<(), Fault> {
        let parts = self.graph.parts();
        for (i, tensor) in parts.tensors.iter().enumerate() {
            let shape = sizes(&tensor.shape);
            // Others are as great as the snapshot that brings them.
            let fits =
                if shape.contains(&0) { self.limit(&shape) } else { elements(&shape, MOST).map(|_| ()) };
            if let Err(wrong) = fits {
                return Err(Fault::invalid(format!("model.graph.tensors[{i}].shape"), wrong.description));
            }
            self.push(Typed { kind: tensor.value_type(), shape }, None);
        }
        if inputs.len() != parts.inputs.len() {
            let description = format!("found {} inputs, expected {}", inputs.len(), parts.inputs.len());
            return Err(Fault::invalid("model.graph.inputs", description));
        }
        let mut symbols = vec![None; parts.symbols.len()];
        for (input, shape) in parts.inputs.iter().zip(inputs) {
            check_input(input, shape, &parts.symbols, &mut symbols)?;
            if let Err(wrong) = self.limit(shape) {
                return Err(Fault::invalid(input.name.clone(), wrong.description));
            }
            self.push(Typed { kind: value_type(input.dtype), shape: shape.clone() }, None);
        }
        for (i, constant) in parts.constants.iter().enumerate() {
            let typed = Typed { kind: value_type(constant.dtype), shape: sizes(&constant.shape) };
            if let Err(wrong) = self.limit(&typed.shape) {
                return Err(Fault::invalid(format!("model.graph.constants[{i}].shape"), wrong.description));
            }
            self.push(typed, scalar(constant));
        }
        Ok(())
    }

    /// Counts the elements of a shape.
    fn limit(&mut self, shape: &[usize]) -> Result<(), Wrong> {
        let n = elements(shape, self.limits.elements)?;
        self.count(n)
    }

    fn count(&mut self, n: usize) -> Result<(), Wrong> {
        self.elements = self.elements.saturating_add(n);
        match self.elements <= self.limits.all_elements {
            true => Ok(()),
            false => {
                let description = format!(
                    "found more than {} elements of all values together: send fewer examples a batch, or shorter ones",
                    self.limits.all_elements
                );
                Err(Wrong { field: Field::Attribute(""), description })
            }
        }
    }

    fn node(&mut self, i: usize, node: &Node) -> Result<(), Wrong> {
        self.first.push(self.typed.len());
        let operands: Vec<_> =
            node.operands.iter().map(|operand| operand.map(|value| &self.typed[value])).collect();
        let infer = Infer { operands, known: &self.known };
        let mut results = dispatch!(&node.operator, op => op.infer(&infer))?;
        results.truncate(node.results);
        if results.len() < node.results {
            let description =
                format!("found {} results, expected {}: see docs/graph.md", node.results, results.len());
            return Err(Wrong { field: Field::Attribute(""), description });
        }
        let operands = infer.operands;
        let cost = Cost { operands, results: &results, wants: None, apart: Vec::new(), size: 8, threads: 1 };
        // What no output needs is not computed.
        let most = if self.live[i] { self.limits.elements } else { MOST };
        let all = results.iter().map(|typed| elements(&typed.shape, most)).sum::<Result<usize, Wrong>>()?;
        if self.live[i] {
            let work = dispatch!(&node.operator, op => op.work(&cost));
            self.count(all)?;
            self.work += work;
        }
        // A sum that is no number is too much, as well.
        let is_within = self.work <= self.limits.work;
        if !is_within {
            let description =
                format!("found more than {:.1e} operations up to node {i}, expected fewer", self.limits.work);
            return Err(Wrong { field: Field::Attribute(""), description });
        }
        let known = self.known(node, &results);
        for (j, typed) in results.into_iter().enumerate() {
            self.push(typed, known.filter(|_| j == 0));
        }
        Ok(())
    }

    /// The one result, where it is a scalar that depends on sizes alone.
    fn known(&self, node: &Node, results: &[Typed]) -> Option<Known> {
        let [result] = results else { return None };
        if let (Operator::Dim(op), [Some(x)]) = (&node.operator, node.operands.as_slice()) {
            return Some(Known::I64(*self.typed[*x].shape.get(op.axis)? as i64));
        }
        if !result.shape.is_empty() {
            return None;
        }
        let known: Vec<Known> =
            node.operands.iter().map(|operand| self.known[(*operand)?]).collect::<Option<_>>()?;
        dispatch!(&node.operator, op => op.scalar(&known)).filter(|known| known.kind() == result.kind)
    }
}

fn check_input(
    input: &GraphInput,
    shape: &[usize],
    symbols: &[SizeSymbol],
    sizes: &mut [Option<usize>],
) -> Result<(), Fault> {
    let wrong = |description: String| Err(Fault::invalid(input.name.clone(), description));
    if shape.len() != input.shape.len() {
        return wrong(format!("found {shape:?}, expected {} axes", input.shape.len()));
    }
    for (i, (axis, found)) in input.shape.iter().zip(shape).enumerate() {
        match axis {
            Axis::Fixed(size) if *size != *found as u64 => {
                return wrong(format!(
                    "found {found} as axis {i}, expected {size}: the graph holds for that size alone"
                ));
            }
            Axis::Fixed(_) => {}
            Axis::Symbol(symbol) => {
                let SizeSymbol { name, least, most } = &symbols[*symbol];
                let expected = *sizes[*symbol].get_or_insert(*found);
                if expected != *found {
                    return wrong(format!(
                        "found {found} as axis {i}, expected {expected}, the {name} of another axis"
                    ));
                }
                let size = *found as u64;
                if size < *least || most.is_some_and(|most| size > most) {
                    let most = most.map_or(String::new(), |most| format!(" to {most}"));
                    return wrong(format!("found {found} as axis {i} ({name}), expected {least}{most}"));
                }
            }
        }
    }
    Ok(())
}

/// A constant without axes.
fn scalar(constant: &GraphConstant) -> Option<Known> {
    if !constant.shape.is_empty() {
        return None;
    }
    let bytes = &constant.data;
    Some(match constant.dtype {
        clino_domain::Dtype::I64 => Known::I64(i64::from_le_bytes(bytes.as_ref().try_into().ok()?)),
        clino_domain::Dtype::F64 => Known::Work(f64::from_le_bytes(bytes.as_ref().try_into().ok()?)),
        clino_domain::Dtype::F32 => Known::Work(f32::from_le_bytes(bytes.as_ref().try_into().ok()?).into()),
        _ => Known::Bool(*bytes.first()? != 0),
    })
}
