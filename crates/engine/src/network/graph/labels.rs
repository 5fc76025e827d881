//! The labels of a probe as targets of units.
//!
//! Owns: which labels count, and which unit each of them belongs to. May not touch: outputs.

use super::heads::UnitAxes;
use crate::network::targets::Targets;
use clino_domain::graph::{LossKind, LossSpec};
use clino_domain::{Fault, Tensor};
use std::ops::Range;

/// What a loss says of labels.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelSpec {
    /// The class of each example or token.
    Classes(ClassLabels),
    /// Numbers of each example, by the name of their tensor.
    Numbers(String),
    /// The graph has made losses of them.
    None,
}

/// What a loss says of classes.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassLabels {
    /// Name of their tensor in probes.
    pub name: String,
    /// Labels that do not count.
    pub ignored: Option<i64>,
    /// A row of scores is held against the label so many positions behind it.
    pub shift: usize,
}

impl LabelSpec {
    /// That of a loss.
    pub fn of(loss: &LossSpec) -> Self {
        let name = loss.labels.clone();
        match &loss.kind {
            LossKind::CrossEntropy(entropy) => Self::Classes(ClassLabels {
                name,
                ignored: entropy.ignore_index,
                shift: entropy.shift as usize,
            }),
            LossKind::Given { .. } => Self::None,
            LossKind::SquaredError | LossKind::Huber { .. } | LossKind::BinaryCrossEntropy { .. } => {
                Self::Numbers(name)
            }
        }
    }

    /// Name of their tensor in probes, where there is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Classes(classes) => Some(&classes.name),
            Self::Numbers(name) => Some(name),
            Self::None => None,
        }
    }
}

/// Labels of a group.
pub enum Labels<'a> {
    /// Classes, as many for each example.
    Classes { spec: &'a ClassLabels, values: Vec<i64>, each: usize },
    /// Numbers, as many for each example.
    Numbers { name: &'a str, values: Vec<f64>, each: usize },
    /// None are needed.
    None,
}

/// Number of examples, and labels of each.
fn counts(name: &str, tensor: &Tensor) -> Result<[usize; 2], Fault> {
    let shape = &tensor.spec.shape;
    let examples = shape.first().map_or(0, |axis| usize::try_from(*axis).unwrap_or(0));
    let all = tensor.spec.numel().map_or(0, |all| usize::try_from(all).unwrap_or(0));
    if examples == 0 || all == 0 {
        let description = format!(
            "found shape {shape:?}, expected [examples] or [examples, tokens] with at least one label"
        );
        return Err(Fault::invalid(name, description));
    }
    Ok([examples, all / examples])
}

/// Reads the labels [examples] or [examples, tokens...]; the second value is the number of examples.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] for labels of another type, or none.
pub fn read<'a>(spec: &'a LabelSpec, tensor: &Tensor) -> Result<(Labels<'a>, usize), Fault> {
    match spec {
        LabelSpec::Classes(spec) => {
            let [examples, each] = counts(&spec.name, tensor)?;
            let Some(values) = tensor.spec.dtype.integers(&tensor.data) else {
                let found = tensor.spec.dtype.name();
                let description =
                    format!("found dtype {found}, expected integers: the class of each example or token");
                return Err(Fault::invalid(&spec.name, description));
            };
            Ok((Labels::Classes { spec, values, each }, examples))
        }
        LabelSpec::Numbers(name) => {
            let [examples, each] = counts(name, tensor)?;
            let values = numbers(tensor);
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                let description = format!("found {} at element {at}, expected finite numbers", values[at]);
                return Err(Fault::invalid(name, description));
            }
            Ok((Labels::Numbers { name, values, each }, examples))
        }
        LabelSpec::None => Ok((Labels::None, 0)),
    }
}

/// The elements of a tensor of any type.
fn numbers(tensor: &Tensor) -> Vec<f64> {
    if let Some(integers) = tensor.spec.dtype.integers(&tensor.data) {
        return integers.into_iter().map(|x| x as f64).collect();
    }
    let mut wide = vec![0.0; tensor.data.len() / tensor.spec.dtype.size() as usize];
    tensor.spec.dtype.widen(&tensor.data, &mut wide);
    wide
}

impl Labels<'_> {
    /// Of a few examples whose outputs lie so: which units count, by their places among those of all of them, and their
    /// targets.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] for another number of labels than the outputs have, and for classes that there
    /// are not.
    pub fn units(&self, examples: Range<usize>, axes: UnitAxes) -> Result<(Vec<usize>, Targets), Fault> {
        match self {
            Self::Classes { spec, values, each } => {
                fits(&spec.name, *each, axes.positions, "one for each row of scores")?;
                classes(spec, values, examples, axes)
            }
            Self::Numbers { name, values, each } => {
                fits(name, *each, axes.width, "one for each output")?;
                let units = examples.len();
                let values = values[examples.start * each..examples.end * each].to_vec();
                Ok(((0..units).collect(), Targets::Values { values, width: *each, units }))
            }
            Self::None => {
                let units = examples.len() * axes.positions;
                Ok(((0..units).collect(), Targets::Values { values: Vec::new(), width: 0, units }))
            }
        }
    }
}

fn fits(name: &str, found: usize, expected: usize, what: &str) -> Result<(), Fault> {
    if found == expected {
        return Ok(());
    }
    Err(Fault::invalid(name, format!("found {found} labels for each example, expected {expected}, {what}")))
}

fn classes(
    spec: &ClassLabels,
    values: &[i64],
    examples: Range<usize>,
    axes: UnitAxes,
) -> Result<(Vec<usize>, Targets), Fault> {
    let UnitAxes { positions, width, .. } = axes;
    let mut units = Vec::new();
    let mut classes = Vec::new();
    for (i, example) in examples.enumerate() {
        for position in 0..positions.saturating_sub(spec.shift) {
            let label = values[example * positions + position + spec.shift];
            if Some(label) == spec.ignored {
                continue;
            }
            let class = usize::try_from(label).ok().filter(|class| *class < width);
            let Some(class) = class else {
                let last = width - 1;
                let ignore = match spec.ignored {
                    Some(ignored) => format!(" or {ignored}, which does not count"),
                    None => String::new(),
                };
                let description =
                    format!("found {label} in example {example}, expected a class from 0 to {last}{ignore}");
                return Err(Fault::invalid(&spec.name, description));
            };
            units.push(i * positions + position);
            classes.push(class);
        }
    }
    units.shrink_to_fit();
    classes.shrink_to_fit();
    Ok((units, Targets::Classes(classes)))
}
