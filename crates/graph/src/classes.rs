//! Which values depend on what, where elements lie, and along which values derivatives are wanted.
//!
//! Owns: dependence on parameters, shared elements, the path of the gradient. May not touch: when values die.

use crate::model::{GraphModel, TensorPlace};
use crate::operation::{Cost, Operation, Place, Typed};
use crate::operators::dispatch;
use crate::value::Known;
use clino_domain::graph::{Graph, Node, ValueType};
use std::ops::Range;

/// Where the elements of a value lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// Among the parameters that are trained.
    Trained(Range<usize>),
    /// Among those that are not.
    Frozen(Range<usize>),
    /// In the list of buffers.
    Buffer(usize),
    /// In the prepared batch: what depends on no parameter.
    Prepared,
    /// In the evaluator: what depends on parameters.
    Own,
}

/// When a node is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Never: its result is known, or no output depends on it.
    Known,
    /// Once a batch.
    Prepared,
    /// In each pass.
    Pass,
}

/// What is known of values beside their shapes.
#[derive(Debug, Clone)]
pub struct Classes {
    /// By value: the value whose elements it has; itself, mostly.
    pub root: Vec<usize>,
    /// By value, of roots.
    pub storage: Vec<Storage>,
    /// By node.
    pub when: Vec<When>,
    /// By node: whether its only result has the elements of operand 0.
    pub alias: Vec<bool>,
    /// By value: where the derivative along it goes.
    pub places: Vec<Place>,
}

impl Classes {
    /// Whether the derivative along a value is wanted.
    pub fn wants(&self, value: usize) -> bool {
        self.places[value] != Place::Nowhere
    }

    /// Whether any result of a node has a derivative.
    pub fn reached(&self, first: usize, node: &Node) -> bool {
        (first..first + node.results).any(|value| self.wants(value))
    }
}

/// By node: whether an output depends on it.
pub fn live(graph: &Graph) -> Vec<bool> {
    let parts = graph.parts();
    let mut read = vec![false; graph.values()];
    parts.outputs.iter().for_each(|output| read[output.value] = true);
    let mut live = vec![false; parts.nodes.len()];
    let mut first = read.len();
    for (live, node) in live.iter_mut().zip(&parts.nodes).rev() {
        first -= node.results;
        *live = read[first..first + node.results].contains(&true);
        if *live {
            node.operands.iter().flatten().for_each(|value| read[*value] = true);
        }
    }
    live
}

/// Classifies all values and nodes.
pub fn classify(model: &GraphModel, typed: &[Typed], known: &[Option<Known>], first: &[usize]) -> Classes {
    let graph = model.graph();
    let mut classes = Classes {
        root: (0..typed.len()).collect(),
        storage: Vec::with_capacity(typed.len()),
        when: Vec::with_capacity(first.len()),
        alias: Vec::with_capacity(first.len()),
        places: Vec::with_capacity(typed.len()),
    };
    for i in 0..graph.first_input() {
        let (storage, place) = match model.place(i) {
            TensorPlace::Arena(range) if range.end <= model.trained() => {
                (Storage::Trained(range.clone()), Place::Gradient(range.clone()))
            }
            TensorPlace::Arena(range) => {
                let first = model.trained();
                (Storage::Frozen(range.start - first..range.end - first), Place::Nowhere)
            }
            TensorPlace::Buffer(i) => (Storage::Buffer(*i), Place::Nowhere),
        };
        classes.storage.push(storage);
        classes.places.push(place);
    }
    let sources = graph.first_result() - graph.first_input();
    classes.storage.extend(std::iter::repeat_n(Storage::Prepared, sources));
    classes.places.extend(std::iter::repeat_n(Place::Nowhere, sources));
    let live = live(graph);
    for (i, node) in graph.parts().nodes.iter().enumerate() {
        classes.node(first[i], node, typed, if live[i] { known[first[i]].is_some() } else { true });
    }
    classes.prune(model, first);
    classes
}

impl Classes {
    fn node(&mut self, first: usize, node: &Node, typed: &[Typed], known: bool) {
        let varies = |value: usize| {
            let from = &self.storage[self.root[value]];
            matches!(from, Storage::Trained(_) | Storage::Frozen(_) | Storage::Own) || self.wants(value)
        };
        let when = match () {
            () if known => When::Known,
            () if node.operands.iter().flatten().any(|value| varies(*value)) => When::Pass,
            () => When::Prepared,
        };
        let results = &typed[first..first + node.results];
        let operands = node.operands.iter().map(|operand| operand.map(|value| &typed[value])).collect();
        let cost = Cost { operands, results, wants: None, apart: Vec::new(), size: 8, threads: 1 };
        let alias = when != When::Known && dispatch!(&node.operator, op => op.alias(&cost));
        let through = |(i, operand): (usize, &Option<usize>)| {
            operand.is_some_and(|value| self.wants(value)) && dispatch!(&node.operator, op => op.passes(i))
        };
        let wanted = when == When::Pass && node.operands.iter().enumerate().any(through);
        let storage = if when == When::Pass { Storage::Own } else { Storage::Prepared };
        for (j, typed) in results.iter().enumerate() {
            let own = wanted && typed.kind == ValueType::Work;
            self.places.push(if own { Place::Own } else { Place::Nowhere });
            self.storage.push(storage.clone());
            if let (true, 0, Some(Some(value))) = (alias, j, node.operands.first()) {
                self.root[first] = self.root[*value];
            }
        }
        self.when.push(when);
        self.alias.push(alias);
    }

    /// Derivatives are wanted only along values on which an output depends.
    fn prune(&mut self, model: &GraphModel, first: &[usize]) {
        let graph = model.graph();
        let mut reached = vec![false; self.places.len()];
        for output in &graph.parts().outputs {
            reached[output.value] = true;
        }
        for (i, node) in graph.parts().nodes.iter().enumerate().rev() {
            let results = first[i]..first[i] + node.results;
            if results.clone().any(|value| reached[value] && self.wants(value)) {
                for (j, operand) in node.operands.iter().enumerate() {
                    if let Some(value) = operand.filter(|_| dispatch!(&node.operator, op => op.passes(j))) {
                        reached[value] = true;
                    }
                }
            }
            for value in results.filter(|value| !reached[*value]) {
                self.places[value] = Place::Nowhere;
            }
        }
    }
}
