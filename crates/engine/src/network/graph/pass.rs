//! A worker that computes with a graph.
//!
//! Owns: what is prepared for the batch at hand. May not touch: how operators compute.

use super::Shared;
use super::heads::UnitAxes;
use crate::device::real::Real;
use crate::network::batch::{Batch, Inputs};
use crate::network::rows::Rows;
use crate::network::{Pass, PassInput};
use clino_domain::Fault;
use clino_graph::{
    BatchTensors, Data, Evaluator, EvaluatorInput, Output, Parameters, Prepared, ShapePlan, View,
};
use std::sync::Arc;

/// The batch of the last forward.
struct Current<T> {
    prepared: Prepared<T>,
    evaluator: Evaluator<T>,
    axes: UnitAxes,
    /// Elements of the main output.
    elements: usize,
}

/// A worker of a graph.
pub struct GraphPass<T> {
    shared: Arc<Shared>,
    threads: usize,
    /// The plan of the last batch, which one of the same shapes has, too.
    plan: Option<(Vec<Vec<usize>>, Arc<ShapePlan>)>,
    current: Option<Current<T>>,
    /// Of the units of the batch, [units, width].
    outputs: Vec<T>,
}

/// The rows of the one batch that a graph takes at a time.
fn rows<'a>(batches: &[&'a Batch]) -> Result<&'a Rows, Fault> {
    let [batch] = batches else { return Err(Fault::internal("a graph takes one batch at a time")) };
    match &batch.inputs {
        Inputs::Rows(rows) => Ok(rows),
        _ => Err(Fault::internal("a batch of another network")),
    }
}

impl<T: Real> GraphPass<T> {
    /// A worker whose operators may use `threads`.
    pub fn new(shared: Arc<Shared>, threads: usize) -> Self {
        Self { shared, threads: threads.max(1), plan: None, current: None, outputs: Vec::new() }
    }

    fn parameters<'a>(&self, input: PassInput<'a, T>) -> Parameters<'a, T> {
        let frozen = self.shared.model.total() - self.shared.model.trained();
        Parameters { trained: input.w, frozen: &input.fixed[..frozen] }
    }

    fn planned(&mut self, rows: &Rows) -> Result<Arc<ShapePlan>, Fault> {
        let shapes = rows.shapes();
        if let Some((_, plan)) = self.plan.as_ref().filter(|(known, _)| *known == shapes) {
            return Ok(plan.clone());
        }
        let plan = Arc::new(self.shared.plan(rows)?);
        self.plan = Some((shapes, plan.clone()));
        Ok(plan)
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

    /// The numbers of every unit: its own, its weight, and the scalars that are added.
    fn gather(&mut self, rows: &Rows, axes: UnitAxes, found: &[Output<'_, T>]) -> Result<(), Fault> {
        let Self { shared, outputs, .. } = self;
        let floats = |output: usize| match found[output].data {
            View::Work(numbers) => Ok(numbers),
            _ => Err(Fault::invalid(
                "model.loss.output",
                "found integers, expected floats: name another output",
            )),
        };
        let heads = &shared.heads;
        let main = floats(heads.main)?;
        let weights = heads.weights.map(floats).transpose()?;
        let added = heads.auxiliary.iter().map(|output| Ok(floats(*output)?[0]));
        let added = added.collect::<Result<Vec<T>, Fault>>()?;
        outputs.clear();
        for unit in &rows.units {
            outputs.extend(axes.places(*unit).map(|place| main[place]));
            outputs.extend(weights.map(|weights| weights[*unit]));
            outputs.extend_from_slice(&added);
        }
        Ok(())
    }
}

impl<T: Real> Pass<T> for GraphPass<T> {
    fn width(&self) -> usize {
        1
    }

    fn forward(&mut self, input: PassInput<'_, T>, keep: bool) -> Result<&[T], Fault> {
        let rows = rows(input.batches)?;
        // Of the batch before, nothing is needed any more.
        self.current = None;
        let plan = self.planned(rows)?;
        let axes = self.shared.axes(&plan)?;
        let tensors = BatchTensors { buffers: self.buffers(input.fixed), inputs: rows.narrowed() };
        let model = self.shared.model.clone();
        let prepared = Prepared::new(&model, &plan, tensors, self.threads, input.stop)?;
        let mut evaluator = Evaluator::new(model, plan, self.threads);
        let params = self.parameters(input);
        evaluator.forward(EvaluatorInput { prepared: &prepared, params, stop: input.stop }, keep)?;
        let found = evaluator.outputs(&prepared, params);
        let elements = found[self.shared.heads.main].shape.iter().product();
        self.gather(rows, axes, &found)?;
        drop(found);
        self.current = keep.then_some(Current { prepared, evaluator, axes, elements });
        Ok(&self.outputs)
    }

    fn backward(&mut self, input: PassInput<'_, T>, slopes: &[T], gradient: &mut [T]) -> Result<(), Fault> {
        let rows = rows(input.batches)?;
        let params = self.parameters(input);
        let Self { shared, current, .. } = self;
        let Some(Current { prepared, evaluator, axes, elements }) = current.as_mut() else {
            return Err(Fault::internal("a backward without a forward"));
        };
        let heads = &shared.heads;
        let mut of_main = vec![T::ZERO; *elements];
        let mut of_added = vec![T::ZERO; heads.auxiliary.len()];
        for (unit, row) in rows.units.iter().zip(slopes.chunks_exact(axes.width + heads.behind())) {
            axes.places(*unit).zip(row).for_each(|(place, slope)| of_main[place] = *slope);
            let behind = row.iter().skip(row.len() - of_added.len());
            of_added.iter_mut().zip(behind).for_each(|(sum, slope)| *sum += *slope);
        }
        let mut d = vec![None; shared.model.graph().parts().outputs.len()];
        for (output, slope) in heads.auxiliary.iter().zip(of_added) {
            d[*output] = Some(vec![slope]);
        }
        d[heads.main] = Some(of_main);
        evaluator.backward(EvaluatorInput { prepared, params, stop: input.stop }, d, gradient)
    }
}
