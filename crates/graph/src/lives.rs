//! After which step each value is read no more.
//!
//! Owns: last readers, in a forward alone and with a backward behind it. May not touch: sizes.

use crate::classes::{Classes, Storage, When};
use crate::operation::{Operation, Read};
use crate::operators::dispatch;
use clino_domain::graph::{Graph, Node};

/// Values that die, by step.
#[derive(Debug, Clone)]
pub struct Lives {
    /// While a batch is prepared, behind each node.
    pub prepared: Vec<Vec<usize>>,
    /// Of the sources of a batch: those that nobody reads, and that are never made.
    pub unread: Vec<bool>,
    /// In a forward alone, behind each node.
    pub forward: Vec<Vec<usize>>,
    /// In a forward before a backward, behind each node.
    pub kept: Vec<Vec<usize>>,
    /// In a backward, behind each node.
    pub backward: Vec<Vec<usize>>,
}

/// When a value is read for the last time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Last {
    /// Behind this node, which may be the one that makes it.
    Forward(usize),
    /// In the reverse of a node, counted from the end.
    Backward(usize),
    /// Never: it comes out.
    Never,
}

fn later(last: &mut Option<Last>, new: Last) {
    *last = Some(last.map_or(new, |last| last.max(new)));
}

/// Calls `f` with each value that the reverse rule of a node reads.
pub fn reverse_reads(classes: &Classes, first: usize, node: &Node, mut f: impl FnMut(Read, usize)) {
    if !classes.reached(first, node) {
        return;
    }
    let wants = |i: usize| node.operands.get(i).copied().flatten().is_some_and(|value| classes.wants(value));
    for (i, operand) in node.operands.iter().enumerate() {
        let what = Read::Operand(i);
        if let Some(value) = operand.filter(|_| dispatch!(&node.operator, op => op.reads(what, &wants))) {
            f(what, value);
        }
    }
    for i in 0..node.results {
        let what = Read::Result(i);
        if dispatch!(&node.operator, op => op.reads(what, &wants)) {
            f(what, first + i);
        }
    }
}

/// By root, who reads it for the last time in a forward.
fn forward_lasts(graph: &Graph, classes: &Classes, first: &[usize]) -> Vec<Option<Last>> {
    let mut lasts: Vec<Option<Last>> = vec![None; classes.root.len()];
    for (i, node) in graph.parts().nodes.iter().enumerate() {
        if classes.when[i] == When::Known {
            continue;
        }
        for value in first[i]..first[i] + node.results {
            later(&mut lasts[classes.root[value]], Last::Forward(i));
        }
        for value in node.operands.iter().flatten() {
            later(&mut lasts[classes.root[*value]], Last::Forward(i));
        }
    }
    for output in &graph.parts().outputs {
        later(&mut lasts[classes.root[output.value]], Last::Never);
    }
    lasts
}

/// Works out when values die.
pub fn lives(graph: &Graph, classes: &Classes, first: &[usize]) -> Lives {
    let nodes = &graph.parts().nodes;
    let empty = || vec![Vec::new(); nodes.len()];
    let unread = vec![false; classes.root.len()];
    let mut lives = Lives { prepared: empty(), unread, forward: empty(), kept: empty(), backward: empty() };
    let forward = forward_lasts(graph, classes, first);
    let mut kept = forward.clone();
    for (i, node) in nodes.iter().enumerate().filter(|(i, _)| classes.when[*i] == When::Pass) {
        reverse_reads(classes, first[i], node, |_, value| {
            later(&mut kept[classes.root[value]], Last::Backward(nodes.len() - 1 - i));
        });
    }
    let passed = read_by_passes(graph, classes, first);
    for value in (0..classes.root.len()).filter(|value| classes.root[*value] == *value) {
        match classes.storage[value] {
            Storage::Own => {
                if let Some(Last::Forward(i)) = forward[value] {
                    lives.forward[i].push(value);
                }
                match kept[value] {
                    Some(Last::Forward(i)) => lives.kept[i].push(value),
                    Some(Last::Backward(i)) => lives.backward[nodes.len() - 1 - i].push(value),
                    _ => {}
                }
            }
            Storage::Prepared => match forward[value] {
                None => lives.unread[value] = true,
                Some(Last::Forward(i)) if !passed[value] => lives.prepared[i].push(value),
                _ => {}
            },
            Storage::Trained(_) | Storage::Frozen(_) | Storage::Buffer(_) => {}
        }
    }
    lives
}

/// Roots that passes read.
fn read_by_passes(graph: &Graph, classes: &Classes, first: &[usize]) -> Vec<bool> {
    let mut read = vec![false; classes.root.len()];
    for output in &graph.parts().outputs {
        read[classes.root[output.value]] = true;
    }
    for (i, node) in graph.parts().nodes.iter().enumerate().filter(|(i, _)| classes.when[*i] == When::Pass) {
        for value in node.operands.iter().flatten() {
            read[classes.root[*value]] = true;
        }
        reverse_reads(classes, first[i], node, |_, value| read[classes.root[value]] = true);
    }
    read
}
