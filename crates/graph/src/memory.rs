//! How many bytes a batch and a pass take: the same steps as those of the evaluator, with sizes in the place of elements.
//!
//! Owns: sums and peaks. May not touch: elements.

use crate::classes::{Storage, When};
use crate::operation::{Operation, Place};
use crate::operators::dispatch;
use crate::plan::ShapePlan;
use crate::shape::numel;
use crate::value::{Data, element_size};
use clino_domain::graph::{Graph, Node, ValueType};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Pass {
    /// Whether a backward follows.
    pub keep: bool,
    /// Bytes of an element of WORK.
    pub size: usize,
    /// Threads that operators may use.
    pub threads: usize,
}

/// Bytes that an operand of a node takes while it is computed, or an output while it is reversed, and a few more that do not depend on the graph.
const OPERAND: usize = 128;
const FIXED: usize = 4096;

#[derive(Default)]
struct Sum {
    now: usize,
    most: usize,
}

impl Sum {
    fn add(&mut self, bytes: usize) {
        self.now = self.now.saturating_add(bytes);
        self.most = self.most.max(self.now);
    }

    fn free(&mut self, bytes: usize) {
        self.now = self.now.saturating_sub(bytes);
    }

    fn passing(&mut self, bytes: usize) {
        self.most = self.most.max(self.now.saturating_add(bytes));
    }
}

impl ShapePlan {
    fn bytes(&self, value: usize, size: usize) -> usize {
        numel(&self.typed[value].shape).saturating_mul(element_size(self.typed[value].kind, size))
    }

    /// One node forwards: its results come.
    fn step(&self, sum: &mut Sum, i: usize, node: &Node, pass: Pass) {
        if !self.classes.alias[i] {
            (self.first[i]..self.first[i] + node.results)
                .for_each(|value| sum.add(self.bytes(value, pass.size)));
            let cost = self.cost(i, node, pass, false);
            let scratch = dispatch!(&node.operator, op => op.scratch(&cost));
            sum.passing(scratch.saturating_add(node.operands.len() * OPERAND + FIXED));
        }
    }

    /// Bytes of lists that have an entry for each value.
    fn lists(&self) -> usize {
        self.typed.len() * (size_of::<Option<Data<f64>>>() + size_of::<Option<Vec<f64>>>())
    }
}

/// The peak of a pass.
pub fn of_pass(graph: &Graph, plan: &ShapePlan, pass: Pass) -> u64 {
    let nodes = &graph.parts().nodes;
    let mut sum = Sum::default();
    sum.add(plan.lists());
    let dead = if pass.keep { &plan.lives.kept } else { &plan.lives.forward };
    for (i, node) in nodes.iter().enumerate().filter(|(i, _)| plan.classes.when[*i] == When::Pass) {
        plan.step(&mut sum, i, node, pass);
        dead[i].iter().for_each(|value| sum.free(plan.bytes(*value, pass.size)));
    }
    if pass.keep {
        backward(graph, plan, pass, &mut sum);
    }
    sum.most as u64
}

fn backward(graph: &Graph, plan: &ShapePlan, pass: Pass, sum: &mut Sum) {
    let classes = &plan.classes;
    let mut there = vec![false; plan.typed.len()];
    let come = |sum: &mut Sum, there: &mut Vec<bool>, value: usize| {
        if classes.places[value] == Place::Own && !std::mem::replace(&mut there[value], true) {
            sum.add(plan.bytes(value, pass.size));
        }
    };
    // The caller makes one for each output, also where it goes into the gradient or nowhere; those are gone at once.
    let mut gone = 0usize;
    for output in graph.parts().outputs.iter().filter(|one| plan.typed[one.value].kind == ValueType::Work) {
        match classes.places[output.value] == Place::Own && !there[output.value] {
            true => come(sum, &mut there, output.value),
            false => gone = gone.saturating_add(plan.bytes(output.value, pass.size)),
        }
    }
    sum.passing(gone.saturating_add(graph.parts().outputs.len() * OPERAND));
    for (i, node) in graph.parts().nodes.iter().enumerate().rev() {
        let first = plan.first[i];
        let results = first..first + node.results;
        if classes.when[i] == When::Pass && results.clone().any(|value| there[value]) {
            let alias = classes.alias[i];
            if alias {
                // The derivative itself goes on.
                there[first] = false;
                sum.free(plan.bytes(first, pass.size));
            }
            for value in node.operands.iter().flatten() {
                come(sum, &mut there, *value);
            }
            if !alias {
                let cost = plan.cost(i, node, pass, true);
                let scratch = dispatch!(&node.operator, op => op.scratch(&cost));
                sum.passing(scratch.saturating_add(node.operands.len() * OPERAND + FIXED));
            }
            for value in results.filter(|value| std::mem::take(&mut there[*value])) {
                sum.free(plan.bytes(value, pass.size));
            }
        }
        plan.lives.backward[i].iter().for_each(|value| sum.free(plan.bytes(*value, pass.size)));
    }
}

/// What a prepared batch keeps, and the peak of preparing it.
pub fn of_prepared(graph: &Graph, plan: &ShapePlan, size: usize, threads: usize) -> [u64; 2] {
    let pass = Pass { keep: false, size, threads };
    let mut sum = Sum::default();
    sum.add(plan.lists());
    for value in graph.first_input()..plan.typed.len() {
        let known = value >= graph.first_constant() && plan.known[value].is_some();
        let source = value < graph.first_result() || known;
        if source && !plan.lives.unread[value] && plan.classes.storage[value] == Storage::Prepared {
            sum.add(plan.bytes(value, size));
        }
    }
    for (i, node) in graph.parts().nodes.iter().enumerate() {
        if plan.classes.when[i] == When::Prepared {
            plan.step(&mut sum, i, node, pass);
        }
        plan.lives.prepared[i].iter().for_each(|value| sum.free(plan.bytes(*value, size)));
    }
    [sum.now as u64, sum.most as u64]
}
