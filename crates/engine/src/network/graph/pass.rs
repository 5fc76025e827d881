//! A worker that computes with a graph.
//!
//! Owns: what is prepared for the batch at hand. May not touch: how operators compute.

use super::{ScoreAxes, Shared, planned};
use crate::device::real::Real;
use crate::network::batch::{Batch, Inputs};
use crate::network::rows::Rows;
use crate::network::{Pass, PassInput};
use clino_domain::Fault;
use clino_graph::{BatchTensors, Data, Evaluator, EvaluatorInput, Parameters, Prepared, View};
use std::sync::Arc;

/// A worker of a graph.
pub struct GraphPass<T> {
    shared: Arc<Shared>,
    threads: usize,
    /// The batch of the last forward.
    at: Option<(Prepared<T>, Evaluator<T>)>,
    /// Of the units of the batch, [units, classes].
    scores: Vec<T>,
    axes: ScoreAxes,
}

impl<T: Real> GraphPass<T> {
    /// A worker whose operators may use `threads`.
    pub fn new(shared: Arc<Shared>, threads: usize) -> Self {
        Self {
            shared,
            threads: threads.max(1),
            at: None,
            scores: Vec::new(),
            axes: ScoreAxes { positions: 1, classes: 1 },
        }
    }

    fn parameters<'a>(&self, input: PassInput<'a, T>) -> Parameters<'a, T> {
        let frozen = self.shared.model.total() - self.shared.model.trained();
        Parameters { trained: input.w, frozen: &input.fixed[..frozen] }
    }

    /// Works out what depends on no parameter.
    fn prepare(&self, input: PassInput<'_, T>, batch: &Batch) -> Result<(Prepared<T>, Evaluator<T>), Fault> {
        let model = &self.shared.model;
        let plan = Arc::new(planned(&self.shared, batch)?);
        let inputs = BatchTensors { buffers: self.buffers(input.fixed), inputs: inputs(batch)? };
        let prepared = Prepared::new(model, &plan, inputs, self.threads, input.stop)?;
        Ok((prepared, Evaluator::new(model.clone(), plan, self.threads)))
    }

    /// Buffers lie behind the frozen tensors.
    fn buffers(&self, fixed: &[T]) -> Arc<Vec<Data<T>>> {
        let model = &self.shared.model;
        let mut rest = &fixed[model.total() - model.trained()..];
        let buffer = |place: &usize| {
            let shape = &model.graph().parts().tensors[*place].shape;
            let (own, behind) = rest.split_at(shape.iter().product::<u64>() as usize);
            rest = behind;
            Data::Work(own.to_vec())
        };
        Arc::new(model.buffers().iter().map(buffer).collect())
    }
}

fn rows(batch: &Batch) -> Result<&Rows, Fault> {
    match &batch.inputs {
        Inputs::Rows(rows) => Ok(rows),
        _ => Err(Fault::internal("a batch of another network")),
    }
}

fn units(batch: &Batch) -> Result<&[usize], Fault> {
    Ok(&rows(batch)?.units)
}

/// Where the scores of a row lie, one for each class.
fn places(row: usize, axes: ScoreAxes, classes_first: bool) -> impl Iterator<Item = usize> {
    let ScoreAxes { positions, classes } = axes;
    let example = row / positions * positions * classes;
    let position = row % positions;
    let [first, step] = if classes_first { [position, positions] } else { [position * classes, 1] };
    (0..classes).map(move |class| example + first + class * step)
}

/// What a batch brings, in the precision of the pass.
fn inputs<T: Real>(batch: &Batch) -> Result<Vec<Data<T>>, Fault> {
    let rows = rows(batch)?;
    let narrow = |data: &Data<f64>| match data {
        Data::Work(x) => Data::Work(x.iter().map(|x| T::of(*x)).collect()),
        Data::I64(x) => Data::I64(x.clone()),
        Data::Bool(x) => Data::Bool(x.clone()),
    };
    Ok(rows.columns.iter().map(|column| narrow(&column.data)).collect())
}

impl<T: Real> Pass<T> for GraphPass<T> {
    fn width(&self) -> usize {
        1
    }

    fn forward(&mut self, input: PassInput<'_, T>, keep: bool) -> Result<&[T], Fault> {
        let [batch] = input.batches else { return Err(Fault::internal("a graph takes one batch at a time")) };
        // Of the batch before, nothing is needed any more.
        self.at = None;
        let (prepared, mut evaluator) = self.prepare(input, batch)?;
        let parameters = self.parameters(input);
        evaluator
            .forward(EvaluatorInput { prepared: &prepared, params: parameters, stop: input.stop }, keep)?;
        let outputs = evaluator.outputs(&prepared, parameters);
        let Some(View::Work(scores)) = outputs.get(self.shared.scores).map(|output| output.data) else {
            return Err(Fault::invalid("model.loss.output", "found integers, expected scores"));
        };
        let axes = self.shared.axes(outputs[self.shared.scores].shape)?;
        self.scores.clear();
        for unit in units(batch)? {
            self.scores.extend(places(*unit, axes, self.shared.classes_first).map(|place| scores[place]));
        }
        self.axes = axes;
        self.at = keep.then_some((prepared, evaluator));
        Ok(&self.scores)
    }

    fn backward(&mut self, input: PassInput<'_, T>, d_logits: &[T], gradient: &mut [T]) -> Result<(), Fault> {
        let parameters = self.parameters(input);
        let Some((prepared, evaluator)) = self.at.as_mut() else {
            return Err(Fault::internal("a backward without a forward"));
        };
        let mut d = vec![None; self.shared.model.graph().parts().outputs.len()];
        let [batch] = input.batches else { return Err(Fault::internal("a graph takes one batch at a time")) };
        let examples = rows(batch)?.examples;
        let mut d_scores = vec![T::ZERO; examples * self.axes.positions * self.axes.classes];
        for (unit, d_row) in units(batch)?.iter().zip(d_logits.chunks_exact(self.axes.classes)) {
            for (place, d) in places(*unit, self.axes, self.shared.classes_first).zip(d_row) {
                d_scores[place] = *d;
            }
        }
        d[self.shared.scores] = Some(d_scores);
        evaluator.backward(EvaluatorInput { prepared, params: parameters, stop: input.stop }, d, gradient)
    }
}
