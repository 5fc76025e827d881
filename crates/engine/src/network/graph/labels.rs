//! The labels of a probe as units of a loss: an example each, or a token each.
//!
//! Owns: which labels count, and which row of scores each of them is held against. May not touch: scores.

use super::Shared;
use clino_domain::{Fault, Tensor};
use std::ops::Range;

/// What a loss says of labels.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelSpec {
    /// Name of their tensor in probes.
    pub name: String,
    /// Labels that do not count.
    pub ignored: Option<i64>,
    /// A row of scores is held against the label so many positions behind it.
    pub shift: usize,
}

/// Labels of a group.
pub struct Labels<'a> {
    spec: &'a LabelSpec,
    values: Vec<i64>,
    /// Number of examples.
    pub examples: usize,
    /// Labels of each.
    each: usize,
    classes: usize,
}

/// Reads the labels [examples] or [examples, tokens...].
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] for what are no integers, or none.
pub fn read<'a>(shared: &'a Shared, tensor: &Tensor) -> Result<Labels<'a>, Fault> {
    let spec = &shared.labels;
    let wrong = |description: String| Err(Fault::invalid(&spec.name, description));
    let Some(values) = tensor.spec.dtype.integers(&tensor.data) else {
        let found = tensor.spec.dtype.name();
        return wrong(format!("found dtype {found}, expected integers: the class of each example or token"));
    };
    let examples = tensor.spec.shape.first().copied().unwrap_or(0) as usize;
    if values.is_empty() {
        let found = &tensor.spec.shape;
        return wrong(format!("found shape {found:?}, expected at least one label"));
    }
    Ok(Labels { spec, each: values.len() / examples, values, examples, classes: shared.classes })
}

impl Labels<'_> {
    /// Of a few examples with so many rows of scores each: the rows that count, and the class of each.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] for another number of labels than of rows, and for classes that there are not.
    pub fn units(&self, examples: Range<usize>, positions: usize) -> Result<(Vec<usize>, Vec<usize>), Fault> {
        let wrong = |description: String| Err(Fault::invalid(&self.spec.name, description));
        if self.each != positions {
            let found = self.each;
            return wrong(format!(
                "found {found} labels for each example, expected {positions}, one for each row of scores"
            ));
        }
        let mut rows = Vec::new();
        let mut classes = Vec::new();
        for (i, example) in examples.enumerate() {
            for position in 0..positions.saturating_sub(self.spec.shift) {
                let label = self.values[example * positions + position + self.spec.shift];
                if Some(label) == self.spec.ignored {
                    continue;
                }
                let class = usize::try_from(label).ok().filter(|class| *class < self.classes);
                let Some(class) = class else {
                    let last = self.classes - 1;
                    return wrong(format!(
                        "found {label} in example {example}, expected a class from 0 to {last}"
                    ));
                };
                rows.push(i * positions + position);
                classes.push(class);
            }
        }
        rows.shrink_to_fit();
        classes.shrink_to_fit();
        Ok((rows, classes))
    }
}
