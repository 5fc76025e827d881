//! The tensors of a probe group, cut into batches of a graph.
//!
//! Owns: how many examples go together. May not touch: parameters.

use super::{Shared, labels};
use crate::network::batch::{BATCH_ROWS, Batch, Inputs};
use crate::network::probe::ProbeTensors;
use crate::network::rows::{Column, Rows};
use clino_domain::graph::{Axis, GraphInput, ValueType, value_type};
use clino_domain::{Fault, ProbeGroup, Tensor};
use clino_graph::{Data, ShapePlan};

/// Bytes of a pass with what a backward needs, up to which examples go together.
const PASS: u64 = 64 << 20;

/// Batches of a group for a graph, each of as many examples as its memory allows.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] naming the tensor at fault.
pub fn batches(shared: &Shared, group: &ProbeGroup) -> Result<Vec<Batch>, Fault> {
    let inputs = &shared.model.graph().parts().inputs;
    let known = inputs.iter().map(|input| input.name.as_str()).chain(shared.labels.name());
    let tensors = ProbeTensors::new(group, &known.collect::<Vec<_>>())?;
    let (labels, labelled) = match shared.labels.name() {
        Some(name) => {
            labels::read(&shared.labels, tensors.need(name, "the label of each example or token")?)?
        }
        None => (labels::Labels::None, 0),
    };
    let examples = match labelled {
        0 => examples(&tensors, inputs)?,
        labelled => labelled,
    };
    let column =
        |input: &GraphInput| column(tensors.need(&input.name, "an input of the graph")?, input, examples);
    let columns = inputs.iter().map(column).collect::<Result<Vec<_>, Fault>>()?;
    let whole = Rows { columns, examples, ..Rows::default() };
    let together = together(shared, &whole)?;
    let mut batches = Vec::with_capacity(examples.div_ceil(together));
    for start in (0..examples).step_by(together) {
        let some = start..(start + together).min(examples);
        let mut rows = whole.cut(some.clone());
        let plan = shared.plan(&rows)?;
        rows.pass_bytes = [4, 8].map(|size| [false, true].map(|keep| bytes(shared, &plan, size, keep)));
        let axes = shared.axes(&plan)?;
        rows.positions = axes.positions;
        let (units, targets) = labels.units(some, axes)?;
        rows.units = units;
        if !rows.units.is_empty() {
            batches.push(Batch { inputs: Inputs::Rows(rows), targets });
        }
    }
    match batches.is_empty() {
        false => Ok(batches),
        true => {
            let name = shared.labels.name().unwrap_or("labels");
            Err(Fault::invalid(name, "found no label that counts, expected at least one"))
        }
    }
}

/// How many examples there are, where no labels tell it.
fn examples(tensors: &ProbeTensors<'_>, inputs: &[GraphInput]) -> Result<usize, Fault> {
    let Some(first) = inputs.iter().find(|input| !input.shared) else {
        let description = "found no input with an axis of examples, expected one: the loss reads no labels";
        return Err(Fault::invalid("model.graph.inputs", description));
    };
    let tensor = tensors.need(&first.name, "an input of the graph")?;
    let found = tensor.spec.shape.first().map_or(0, |axis| usize::try_from(*axis).unwrap_or(0));
    match found {
        0 => Err(Fault::invalid(&first.name, "found no example, expected at least one")),
        found => Ok(found),
    }
}

/// Bytes of a pass over a batch, and of what is prepared for it.
fn bytes(shared: &Shared, plan: &ShapePlan, size: usize, keep: bool) -> u64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let [kept, most] = plan.prepared_memory(&shared.model, size, threads);
    let pass = plan.memory(&shared.model, keep, size, threads);
    most.max(kept.saturating_add(pass))
}

/// How many examples go together: halves of the most until they take little enough. Where the loss couples them, all.
fn together(shared: &Shared, whole: &Rows) -> Result<usize, Fault> {
    if let Some(fixed) = fixed_batch(shared) {
        if !whole.examples.is_multiple_of(fixed) || (shared.coupled && whole.examples != fixed) {
            let found = whole.examples;
            let expected = if shared.coupled { "exactly" } else { "a multiple of" };
            let description = format!(
                "found {found} examples, expected {expected} {fixed}, the batch with which the graph was exported: \
                export it with a batch of any size, or give another number of examples"
            );
            return Err(Fault::invalid(shared.labels.name().unwrap_or("labels"), description));
        }
        return Ok(fixed);
    }
    if shared.coupled {
        return Ok(whole.examples);
    }
    let mut together = BATCH_ROWS.min(whole.examples);
    while together > 1 && bytes(shared, &shared.plan(&whole.cut(0..together))?, size_of::<f64>(), true) > PASS
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
                "{axes} axes, of which the first has a row for each of the {examples} examples"
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
