//! Computes a graph and its derivatives.
//!
//! Owns: the order of nodes, values while they live. May not touch: what operators do.

use crate::classes::{Storage, When};
use crate::faults;
use crate::lives::reverse_reads;
use crate::model::GraphModel;
use crate::operation::{Context, Gradients, Operand, Operation, Read};
use crate::operators::dispatch;
use crate::plan::ShapePlan;
use crate::prepared::Prepared;
use crate::real::Real;
use crate::value::{Data, View};
use clino_domain::graph::Node;
use clino_domain::{Checkpoint, Fault};
use std::sync::Arc;

/// The arena of parameters in two parts.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a, T> {
    /// Those of kind PARAM: [`GraphModel::trained`] elements.
    pub trained: &'a [T],
    /// Those of kind FROZEN, which lie behind them in the arena.
    pub frozen: &'a [T],
}

impl<'a, T> Parameters<'a, T> {
    /// The parts of an arena of [`GraphModel::total`] elements, of which `trained` are trained.
    pub fn split(arena: &'a [T], trained: usize) -> Self {
        let (trained, frozen) = arena.split_at(trained.min(arena.len()));
        Self { trained, frozen }
    }
}

/// What a pass computes on.
#[derive(Clone, Copy)]
pub struct EvaluatorInput<'a, T> {
    /// The batch.
    pub prepared: &'a Prepared<T>,
    /// All parameters.
    pub params: Parameters<'a, T>,
    /// Asked between nodes.
    pub stop: &'a dyn Checkpoint,
}

/// All elements, wherever they lie.
pub(crate) struct Stores<'a, T> {
    pub plan: &'a ShapePlan,
    pub params: Parameters<'a, T>,
    pub prepared: &'a Prepared<T>,
    pub own: &'a [Option<Data<T>>],
}

impl<'a, T: Real> Stores<'a, T> {
    fn view(&self, value: usize) -> Option<View<'a, T>> {
        let root = self.plan.classes.root[value];
        match &self.plan.classes.storage[root] {
            Storage::Trained(range) => self.params.trained.get(range.clone()).map(View::Work),
            Storage::Frozen(range) => self.params.frozen.get(range.clone()).map(View::Work),
            Storage::Buffer(i) => self.prepared.buffers.get(*i).map(Data::view),
            Storage::Prepared => self.prepared.values[root].as_ref().map(Data::view),
            Storage::Own => self.own.get(root)?.as_ref().map(Data::view),
        }
    }

    fn operand(&self, value: usize, with: bool) -> Operand<'a, T> {
        let data = if with { self.view(value) } else { None };
        Operand { shape: &self.plan.typed[value].shape, data }
    }

    fn context(&self, i: usize, node: &Node, threads: usize) -> Context<'a, T> {
        let first = self.plan.first[i];
        Context {
            operands: node
                .operands
                .iter()
                .map(|operand| operand.map(|value| self.operand(value, true)))
                .collect(),
            results: (first..first + node.results).map(|value| self.operand(value, false)).collect(),
            d: Vec::new(),
            known: &self.plan.known,
            threads,
        }
    }

    /// The results of a node; `None` where its result has the elements of its operand.
    pub fn forward(&self, i: usize, node: &Node, threads: usize) -> Result<Option<Vec<Data<T>>>, Fault> {
        if self.plan.classes.alias[i] {
            return Ok(None);
        }
        let cx = self.context(i, node, threads);
        let results = dispatch!(&node.operator, op => op.forward(&cx));
        results.map(Some).map_err(|wrong| faults::of_node(i, node, wrong))
    }
}

/// An output of a pass.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a, T> {
    /// What the loss calls it.
    pub name: &'a str,
    /// Sizes of its axes.
    pub shape: &'a [usize],
    /// Its elements.
    pub data: View<'a, T>,
}

/// Computes batches of the same shapes, one after the other.
#[derive(Debug)]
pub struct Evaluator<T> {
    model: Arc<GraphModel>,
    plan: Arc<ShapePlan>,
    threads: usize,
    values: Vec<Option<Data<T>>>,
    d: Vec<Option<Vec<T>>>,
}

impl<T: Real> Evaluator<T> {
    /// A worker whose operators may use `threads`; no bit depends on it.
    pub fn new(model: Arc<GraphModel>, plan: Arc<ShapePlan>, threads: usize) -> Self {
        let n = plan.typed.len();
        Self { model, plan, threads: threads.max(1), values: vec![None; n], d: vec![None; n] }
    }

    /// Computes the outputs of a batch; with `keep`, what a backward needs stays.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming a node where an index points nowhere or an integer is divided by 0;
    /// that of `stop` when it should end.
    pub fn forward(&mut self, input: EvaluatorInput<'_, T>, keep: bool) -> Result<(), Fault> {
        let EvaluatorInput { prepared, params, stop } = input;
        self.clear();
        let fits = params.trained.len() == self.model.trained()
            && params.trained.len() + params.frozen.len() == self.model.total();
        if !fits || prepared.values.len() != self.plan.typed.len() {
            return Err(Fault::internal("parameters or a batch of another graph"));
        }
        let dead = if keep { &self.plan.lives.kept } else { &self.plan.lives.forward };
        for (i, node) in self.model.graph().parts().nodes.iter().enumerate() {
            if self.plan.classes.when[i] == When::Pass {
                stop.check()?;
                let stores = Stores { plan: &self.plan, params, prepared, own: &self.values };
                let results = stores.forward(i, node, self.threads)?;
                for (j, data) in results.into_iter().flatten().enumerate() {
                    self.values[self.plan.first[i] + j] = Some(data);
                }
            }
            dead[i].iter().for_each(|value| self.values[*value] = None);
        }
        Ok(())
    }

    /// The outputs of the last forward, in the order of the graph.
    pub fn outputs<'a>(&'a self, prepared: &'a Prepared<T>, params: Parameters<'a, T>) -> Vec<Output<'a, T>> {
        let stores = Stores { plan: &self.plan, params, prepared, own: &self.values };
        let output = |output: &'a clino_domain::graph::GraphOutput| {
            let shape = &self.plan.typed[output.value].shape;
            Some(Output { name: &output.name, shape, data: stores.view(output.value)? })
        };
        self.model.graph().parts().outputs.iter().filter_map(output).collect()
    }

    /// After a forward of the same batch and parameters with `keep`: adds to `gradient` the derivative along all tensors
    /// of kind PARAM, for the derivatives `d` along outputs, by their places; an output without one has none.
    ///
    /// # Errors
    /// That of `stop` when it should end; the gradient is incomplete then.
    pub fn backward(
        &mut self,
        input: EvaluatorInput<'_, T>,
        d: Vec<Option<Vec<T>>>,
        gradient: &mut [T],
    ) -> Result<(), Fault> {
        let model = self.model.clone();
        let plan = self.plan.clone();
        let parts = model.graph().parts();
        if gradient.len() != model.trained() {
            return Err(Fault::internal("a gradient of another graph"));
        }
        self.seed(d, gradient)?;
        for (i, node) in parts.nodes.iter().enumerate().rev() {
            let results = plan.first[i]..plan.first[i] + node.results;
            if plan.classes.when[i] == When::Pass && results.clone().any(|value| self.d[value].is_some()) {
                input.stop.check()?;
                self.back(i, node, input, gradient)?;
            }
            results.for_each(|value| self.d[value] = None);
            plan.lives.backward[i].iter().for_each(|value| self.values[*value] = None);
        }
        Ok(())
    }

    /// Takes the derivatives along outputs.
    fn seed(&mut self, d: Vec<Option<Vec<T>>>, gradient: &mut [T]) -> Result<(), Fault> {
        let outputs = &self.model.graph().parts().outputs;
        for (output, d) in outputs.iter().zip(d) {
            let Some(d) = d else { continue };
            if d.len() != crate::shape::numel(&self.plan.typed[output.value].shape) {
                return Err(Fault::internal("a derivative along an output has another size than the output"));
            }
            let operands = [Some(output.value)];
            let mut grads = Gradients {
                own: &mut self.d,
                gradient: &mut *gradient,
                places: &self.plan.classes.places,
                sizes: &self.plan.typed,
                operands: &operands,
            };
            grads.give(0, d);
        }
        Ok(())
    }

    fn back(
        &mut self,
        i: usize,
        node: &Node,
        input: EvaluatorInput<'_, T>,
        gradient: &mut [T],
    ) -> Result<(), Fault> {
        let EvaluatorInput { prepared, params, .. } = input;
        let plan = &self.plan;
        let first = plan.first[i];
        let mut taken: Vec<Option<Vec<T>>> =
            (first..first + node.results).map(|value| self.d[value].take()).collect();
        let mut grads = Gradients {
            own: &mut self.d,
            gradient,
            places: &plan.classes.places,
            sizes: &plan.typed,
            operands: &node.operands,
        };
        if plan.classes.alias[i] {
            if let Some(d) = taken.first_mut().and_then(Option::take) {
                grads.give(0, d);
            }
            return Ok(());
        }
        let stores = Stores { plan, params, prepared, own: &self.values };
        let operand = |operand: &Option<usize>| operand.map(|value| stores.operand(value, false));
        let mut cx = Context {
            operands: node.operands.iter().map(operand).collect(),
            results: (first..first + node.results).map(|value| stores.operand(value, false)).collect(),
            d: taken.iter().map(Option::as_deref).collect(),
            known: &plan.known,
            threads: self.threads,
        };
        reverse_reads(&plan.classes, first, node, |what, value| match what {
            Read::Operand(j) => cx.operands[j] = Some(stores.operand(value, true)),
            Read::Result(j) => cx.results[j] = stores.operand(value, true),
        });
        let done = dispatch!(&node.operator, op => op.backward(&cx, &mut grads));
        done.map_err(|wrong| faults::of_node(i, node, wrong))
    }

    /// Gives all values back.
    pub fn clear(&mut self) {
        self.values.iter_mut().for_each(|value| *value = None);
        self.d.iter_mut().for_each(|d| *d = None);
    }
}
