//! A batch with all that depends on no parameter: masks, positions, tables.
//!
//! Owns: values that are worked out once a batch. May not touch: parameters.

use crate::classes::When;
use crate::evaluator::{Parameters, Stores};
use crate::model::GraphModel;
use crate::plan::ShapePlan;
use crate::real::Real;
use crate::shape::numel;
use crate::value::Data;
use clino_domain::graph::{GraphConstant, ValueType, value_type};
use clino_domain::{Checkpoint, Fault};
use std::sync::Arc;

/// What a batch is made of.
#[derive(Debug, Clone)]
pub struct BatchTensors<T> {
    /// In the order of [`GraphModel::buffers`].
    pub buffers: Arc<Vec<Data<T>>>,
    /// In the order of the graph's inputs.
    pub inputs: Vec<Data<T>>,
}

/// A prepared batch. It holds for the buffers and inputs that it was made of.
#[derive(Debug, Clone)]
pub struct Prepared<T> {
    /// By value, of roots.
    pub(crate) values: Vec<Option<Data<T>>>,
    pub(crate) buffers: Arc<Vec<Data<T>>>,
}

impl<T: Real> Prepared<T> {
    /// Computes what depends on no parameter.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] when a buffer or input has another type or number of elements than the plan
    /// says, or when an index points nowhere; that of `stop` when it should end.
    pub fn new(
        model: &GraphModel,
        plan: &ShapePlan,
        tensors: BatchTensors<T>,
        threads: usize,
        stop: &dyn Checkpoint,
    ) -> Result<Self, Fault> {
        let graph = model.graph();
        let BatchTensors { buffers, inputs } = tensors;
        check(model, plan, &buffers, &inputs)?;
        let mut prepared = Self { values: vec![None; plan.typed.len()], buffers };
        for (i, input) in inputs.into_iter().enumerate() {
            let value = graph.first_input() + i;
            prepared.values[value] = (!plan.lives.unread[value]).then_some(input);
        }
        for (i, constant) in graph.parts().constants.iter().enumerate() {
            let value = graph.first_constant() + i;
            if !plan.lives.unread[value] {
                prepared.values[value] = Some(decoded(constant));
            }
        }
        for (value, known) in plan.known.iter().enumerate().skip(graph.first_result()) {
            prepared.values[value] = known.filter(|_| !plan.lives.unread[value]).map(|known| known.data());
        }
        for (i, node) in graph.parts().nodes.iter().enumerate() {
            if plan.classes.when[i] == When::Prepared {
                stop.check()?;
                let stores = Stores {
                    plan,
                    params: Parameters { trained: &[], frozen: &[] },
                    prepared: &prepared,
                    own: &[],
                };
                if let Some(results) = stores.forward(i, node, threads)? {
                    for (j, data) in results.into_iter().enumerate() {
                        prepared.values[plan.first[i] + j] = Some(data);
                    }
                }
            }
            plan.lives.prepared[i].iter().for_each(|value| prepared.values[*value] = None);
        }
        Ok(prepared)
    }
}

fn check<T: Real>(
    model: &GraphModel,
    plan: &ShapePlan,
    buffers: &[Data<T>],
    inputs: &[Data<T>],
) -> Result<(), Fault> {
    let graph = model.graph();
    if buffers.len() != model.buffers().len() || inputs.len() != graph.parts().inputs.len() {
        return Err(Fault::internal("a batch has other numbers of buffers or inputs than its graph"));
    }
    let named = model.buffers().iter().map(|tensor| (*tensor, graph.parts().tensors[*tensor].name.as_str()));
    let first = graph.first_input();
    let named = named
        .chain(graph.parts().inputs.iter().enumerate().map(|(i, input)| (first + i, input.name.as_str())));
    for ((value, name), data) in named.zip(buffers.iter().chain(inputs)) {
        let typed = &plan.typed[value];
        let view = data.view();
        if view.kind() != typed.kind || view.len() != numel(&typed.shape) {
            let found = format!("{} elements of {}", view.len(), view.kind().name());
            let description = format!("found {found}, expected {} {:?}", typed.kind.name(), typed.shape);
            return Err(Fault::invalid(name, description));
        }
    }
    Ok(())
}

/// The elements of a constant, whose length was checked.
fn decoded<T: Real>(constant: &GraphConstant) -> Data<T> {
    let n = constant.data.len() / constant.dtype.size() as usize;
    match value_type(constant.dtype) {
        ValueType::Work => {
            let mut wide = vec![0.0; n];
            constant.dtype.widen(&constant.data, &mut wide);
            Data::Work(wide.into_iter().map(T::of).collect())
        }
        ValueType::I64 => Data::I64(constant.dtype.integers(&constant.data).unwrap_or_default()),
        ValueType::Bool => Data::Bool(constant.data.iter().map(|byte| *byte != 0).collect()),
    }
}
