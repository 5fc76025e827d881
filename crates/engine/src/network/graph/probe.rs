//! The tensors of a probe group, cut into batches of a graph.
//!
//! Owns: how many examples go together. May not touch: parameters.

use super::{Shared, labels};
use crate::network::batch::{BATCH_ROWS, Batch, Inputs};
use crate::network::probe::ProbeTensors;
use crate::network::rows::{Column, Rows};
use clino_domain::graph::{Axis, GraphInput, ValueType, value_type};
use clino_domain::{Fault, ProbeGroup, Tensor};
use clino_graph::{Data, Limits, ShapePlan};

/// Bytes of a pass with what a backward needs, up to which examples go together.
const PASS: u64 = 64 << 20;

/// Batches of a group for a graph, each of as many examples as its memory allows.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming the tensor at fault.
pub fn batches(shared: &Shared, group: &ProbeGroup) -> Result<Vec<Batch>, Fault> {
    let inputs = &shared.model.graph().parts().inputs;
    let known = inputs.iter().map(|input| input.name.as_str()).chain([shared.labels.name.as_str()]);
    let tensors = ProbeTensors::new(group, &known.collect::<Vec<_>>())?;
    let labels =
        labels::read(shared, tensors.need(&shared.labels.name, "the label of each example or token")?)?;
    let column = |input: &GraphInput| {
        column(tensors.need(&input.name, "an input of the graph")?, input, labels.examples)
    };
    let columns = inputs.iter().map(column).collect::<Result<Vec<_>, Fault>>()?;
    let whole =
        Rows { columns, examples: labels.examples, positions: 1, units: Vec::new(), pass_bytes: [[0; 2]; 2] };
    let together = together(shared, &whole)?;
    let mut batches = Vec::with_capacity(labels.examples.div_ceil(together));
    for start in (0..labels.examples).step_by(together) {
        let examples = start..(start + together).min(labels.examples);
        let mut rows = whole.cut(examples.clone());
        let plan = plan(shared, &rows)?;
        rows.pass_bytes = [4, 8].map(|size| [false, true].map(|keep| bytes(shared, &plan, size, keep)));
        rows.positions = positions(shared, &plan)?;
        let (units, classes) = labels.units(examples, rows.positions)?;
        rows.units = units;
        if !classes.is_empty() {
            batches.push(Batch { inputs: Inputs::Rows(rows), labels: classes });
        }
    }
    match batches.is_empty() {
        false => Ok(batches),
        true => Err(Fault::invalid(&shared.labels.name, "found no label that counts, expected at least one")),
    }
}

/// Rows of scores that an example has.
fn positions(shared: &Shared, plan: &ShapePlan) -> Result<usize, Fault> {
    let shape = plan.output(shared.model.graph(), shared.scores).unwrap_or_default();
    let axes = shared.axes(shape)?;
    Ok(axes.positions)
}

fn plan(shared: &Shared, rows: &Rows) -> Result<ShapePlan, Fault> {
    shared.model.shapes(&rows.shapes(), &Limits::default())
}

/// Bytes of a pass over a batch, and of what is prepared for it.
fn bytes(shared: &Shared, plan: &ShapePlan, size: usize, keep: bool) -> u64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let [kept, most] = plan.prepared_memory(&shared.model, size, threads);
    let pass = plan.memory(&shared.model, keep, size, threads);
    most.max(kept.saturating_add(pass))
}

/// How many examples go together: halves of the most until they take little enough.
fn together(shared: &Shared, whole: &Rows) -> Result<usize, Fault> {
    if let Some(fixed) = fixed_batch(shared) {
        if !whole.examples.is_multiple_of(fixed) {
            let found = whole.examples;
            let description = format!(
                "found {found} examples, expected a multiple of {fixed}, the batch with which the graph was exported: \
                export it with a batch of any size, or leave {} examples out",
                found % fixed
            );
            return Err(Fault::invalid(&shared.labels.name, description));
        }
        return Ok(fixed);
    }
    let mut together = BATCH_ROWS.min(whole.examples);
    while together > 1
        && bytes(shared, &plan(shared, &whole.cut(0..together))?, size_of::<f64>(), true) > PASS
    {
        together = together.div_ceil(2);
    }
    Ok(together)
}

/// The one size of a batch that a graph takes, if there is but one.
fn fixed_batch(shared: &Shared) -> Option<usize> {
    let parts = shared.model.graph().parts();
    let first = parts.inputs.iter().filter(|input| !input.shared).find_map(|input| input.shape.first())?;
    let fixed = match first {
        Axis::Fixed(size) => *size,
        Axis::Symbol(symbol) => {
            let symbol = &parts.symbols[*symbol];
            symbol.most.filter(|most| *most == symbol.least)?
        }
    };
    usize::try_from(fixed).ok().filter(|fixed| *fixed > 0)
}

/// A tensor of a probe as an input reads it.
fn column(tensor: &Tensor, input: &GraphInput, examples: usize) -> Result<Column, Fault> {
    let found: Vec<usize> =
        tensor.spec.shape.iter().map(|axis| usize::try_from(*axis).unwrap_or(usize::MAX)).collect();
    let wrong = |expected: String| {
        let found = format!("found {} {found:?}", tensor.spec.dtype.name());
        Err(Fault::invalid(input.name.as_str(), format!("{found}, expected {expected}")))
    };
    let shape = match input.shared {
        true => found.clone(),
        false if found.first() == Some(&examples) && found.len() == input.shape.len() => found[1..].to_vec(),
        false => {
            let axes = input.shape.len();
            return wrong(format!(
                "{axes} axes, of which the first has a row for each of the {examples} labels"
            ));
        }
    };
    let data = match value_type(input.dtype) {
        ValueType::Work if tensor.spec.dtype.is_float() => {
            let mut wide = vec![0.0; tensor.spec.numel().unwrap_or(0) as usize];
            tensor.spec.dtype.widen(&tensor.data, &mut wide);
            Data::Work(wide)
        }
        ValueType::Work => return wrong("floats".into()),
        kind => {
            let Some(integers) = tensor.spec.dtype.integers(&tensor.data) else {
                return wrong("integers".into());
            };
            match kind {
                ValueType::Bool => Data::Bool(integers.iter().map(|x| *x != 0).collect()),
                _ => Data::I64(integers),
            }
        }
    };
    Ok(Column { data, shape, shared: input.shared })
}
