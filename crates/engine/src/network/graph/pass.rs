//! A worker that computes with a graph.
//!
//! Owns: what is prepared for the batch at hand. May not touch: how operators compute.

use super::{Shared, planned};
use crate::device::real::Real;
use crate::network::batch::{Batch, Inputs};
use crate::network::{Pass, PassInput};
use clino_domain::Fault;
use clino_graph::{Data, Evaluator, Parameters, Prepared, View};
use std::sync::Arc;

/// A worker of a graph.
pub struct GraphPass<T> {
    shared: Arc<Shared>,
    threads: usize,
    /// The batch of the last forward.
    at: Option<(Prepared<T>, Evaluator<T>)>,
    scores: Vec<T>,
}

impl<T: Real> GraphPass<T> {
    /// A worker whose operators may use `threads`.
    pub fn new(shared: Arc<Shared>, threads: usize) -> Self {
        Self { shared, threads: threads.max(1), at: None, scores: Vec::new() }
    }

    fn parameters<'a>(&self, input: PassInput<'a, T>) -> Parameters<'a, T> {
        let frozen = self.shared.model.total() - self.shared.model.trained();
        Parameters { trained: input.w, frozen: &input.fixed[..frozen] }
    }

    /// Works out what depends on no parameter.
    fn prepare(&self, input: PassInput<'_, T>, batch: &Batch) -> Result<(Prepared<T>, Evaluator<T>), Fault> {
        let model = &self.shared.model;
        let plan = Arc::new(planned(&self.shared, batch)?);
        let inputs = (self.buffers(input.fixed), inputs(batch)?);
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

/// What a batch brings, in the precision of the pass.
fn inputs<T: Real>(batch: &Batch) -> Result<Vec<Data<T>>, Fault> {
    let Inputs::Rows(rows) = &batch.inputs else { return Err(Fault::internal("a batch of another network")) };
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
        evaluator.forward(&prepared, parameters, keep, input.stop)?;
        let outputs = evaluator.outputs(&prepared, parameters);
        let Some(View::Work(scores)) = outputs.get(self.shared.scores).map(|output| output.data) else {
            return Err(Fault::invalid("model.loss.output", "found integers, expected scores"));
        };
        self.scores.clear();
        self.scores.extend_from_slice(scores);
        self.at = keep.then_some((prepared, evaluator));
        Ok(&self.scores)
    }

    fn backward(&mut self, input: PassInput<'_, T>, d_logits: &[T], gradient: &mut [T]) -> Result<(), Fault> {
        let parameters = self.parameters(input);
        let Some((prepared, evaluator)) = self.at.as_mut() else {
            return Err(Fault::internal("a backward without a forward"));
        };
        let mut d = vec![None; self.shared.model.graph().parts().outputs.len()];
        d[self.shared.scores] = Some(d_logits.to_vec());
        evaluator.backward(prepared, parameters, d, gradient, input.stop)
    }
}
