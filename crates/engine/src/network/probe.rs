//! The tensors of a probe group, read and checked: each is used as it is or refused.
//!
//! Owns: what a column may hold, and what to do where it does not. May not touch: batches, parameters.

use clino_domain::text::{nearest, quoted};
use clino_domain::{Dtype, Fault, ProbeGroup, Tensor};

/// Of an example without a label: what losses of PyTorch leave out.
const IGNORED: i64 = -100;

/// The tensors of one probe group by name. What is not among the known names is not looked at.
pub struct ProbeTensors<'a> {
    tensors: &'a [Tensor],
}

impl<'a> ProbeTensors<'a> {
    /// Refuses a known name that comes twice.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming the tensor.
    pub fn new(group: &'a ProbeGroup, known: &[&str]) -> Result<Self, Fault> {
        for name in known {
            let times = group.tensors.iter().filter(|tensor| tensor.spec.name == *name).count();
            if times > 1 {
                return Err(Fault::invalid(
                    *name,
                    format!("found {times} tensors of this name, expected one"),
                ));
            }
        }
        Ok(Self { tensors: &group.tensors })
    }

    /// The tensor of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<&'a Tensor> {
        self.tensors.iter().find(|tensor| tensor.spec.name == name)
    }

    /// The same where it must be there; `what` says what it is.
    ///
    /// # Errors
    /// When it is missing.
    pub fn need(&self, name: &str, what: &str) -> Result<&'a Tensor, Fault> {
        self.find(name).ok_or_else(|| {
            let named = self.tensors.iter().map(|tensor| quoted(&tensor.spec.name));
            let there: Vec<_> = named.take(8).collect();
            let there = if there.is_empty() { "nothing".into() } else { there.join(", ") };
            let near = nearest(name, self.tensors.iter().map(|tensor| tensor.spec.name.as_str()));
            let rename = near.map(|near| format!("; rename {} to {name}", quoted(near))).unwrap_or_default();
            Fault::invalid(
                name,
                format!("missing from the probe, which has {there}; expected {what}{rename}"),
            )
        })
    }

    /// Labels [examples] (or [examples, 1]), each below `classes`.
    ///
    /// # Errors
    /// When they are missing, misshapen, out of range, or none.
    pub fn labels(&self, classes: usize) -> Result<Vec<usize>, Fault> {
        let tensor = self.need("labels", "integers [examples], the class of each example")?;
        let wrong = |description: String| Err(Fault::invalid("labels", description));
        let last = classes - 1;
        let Some(values) = integers(tensor)? else {
            let found = tensor.spec.dtype.name();
            return wrong(format!(
                "found dtype {found}, expected integers from 0 to {last}, the class of each example: floats mean \
                regression or several labels per example, which clino does not measure; send classes as integers"
            ));
        };
        let ([_] | [_, 1]) = tensor.spec.shape[..] else {
            let found = &tensor.spec.shape;
            return wrong(format!(
                "found shape {found:?}, expected [examples], one class per example: send the argmax of one-hot rows; \
                clino does not measure several labels per example"
            ));
        };
        if values.is_empty() {
            return wrong("found no examples, expected at least one".into());
        }
        if values.iter().all(|label| *label == IGNORED) {
            let examples = values.len();
            return wrong(format!(
                "found {IGNORED} for all {examples} examples, expected the class of each, 0 to {last}: a split \
                without labels cannot be measured, use one with labels"
            ));
        }
        values.iter().enumerate().map(|(at, label)| class(*label, at, classes)).collect()
    }

    /// Token values [examples, tokens], each below `below`, when the tensor is there.
    ///
    /// # Errors
    /// When they are misshapen or out of range.
    pub fn tokens(
        &self,
        name: &str,
        examples: usize,
        below: usize,
    ) -> Result<Option<(Vec<u32>, usize)>, Fault> {
        let Some(tensor) = self.find(name) else { return Ok(None) };
        match tensor.spec.shape[..] {
            [rows, tokens] if rows == examples as u64 && tokens > 0 => {
                Ok(Some((small(tensor, below)?, tokens as usize)))
            }
            _ => {
                let found = &tensor.spec.shape;
                let expected = format!("[{examples}, tokens], a row for each of the {examples} labels");
                Err(Fault::invalid(name, format!("found shape {found:?}, expected {expected}")))
            }
        }
    }

    /// The same where it must be there; `what` says what it is.
    ///
    /// # Errors
    /// Those of [`ProbeTensors::tokens`], and when it is missing.
    pub fn needed_tokens(
        &self,
        name: &str,
        what: &str,
        examples: usize,
        below: usize,
    ) -> Result<(Vec<u32>, usize), Fault> {
        self.need(name, &format!("integers [{examples}, tokens]: {what}"))?;
        let found = self.tokens(name, examples, below)?;
        found.ok_or_else(|| Fault::internal("a tensor that was there is gone"))
    }

    /// Features [examples, `width`].
    ///
    /// # Errors
    /// When they are missing, misshapen or not finite.
    pub fn features(&self, examples: usize, width: usize) -> Result<Vec<f64>, Fault> {
        let tensor =
            self.need("inputs", &format!("floats [{examples}, {width}], the features of each example"))?;
        let wrong = |description: String| Err(Fault::invalid("inputs", description));
        let dtype = tensor.spec.dtype;
        let found = &tensor.spec.shape;
        if *found != [examples as u64, width as u64] {
            return wrong(format!(
                "found shape {found:?}, expected [{examples}, {width}]: a row for each of the {examples} labels, as \
                 wide as the first of the configuration's sizes; flatten images"
            ));
        }
        if !dtype.is_float() {
            let found = dtype.name();
            return wrong(format!(
                "found dtype {found}, expected a float: convert and scale the features as for training"
            ));
        }
        let mut values = vec![0.0; tensor.data.len() / dtype.size() as usize];
        dtype.widen(&tensor.data, &mut values);
        match values.iter().position(|x| !x.is_finite()) {
            None => Ok(values),
            Some(at) => {
                let row = at / width;
                let column = at % width;
                let found = values[at];
                wrong(format!("found {found} at [{row}, {column}], expected a finite number"))
            }
        }
    }
}

/// The class that a label names.
fn class(label: i64, at: usize, classes: usize) -> Result<usize, Fault> {
    let why = match usize::try_from(label) {
        Ok(class) if class < classes => return Ok(class),
        Ok(_) => format!(
            "the configuration has {classes} classes (id2label or num_labels of a transformer, the last of an mlp's sizes)"
        ),
        Err(_) => "a label below 0 marks an example without one: leave these examples out".into(),
    };
    let last = classes - 1;
    Err(Fault::invalid("labels", format!("found {label} at element {at}, expected 0 to {last}: {why}")))
}

/// The elements of an integer tensor; `None` for floats.
fn integers(tensor: &Tensor) -> Result<Option<Vec<i64>>, Fault> {
    let Some(values) = tensor.spec.dtype.integers(&tensor.data) else { return Ok(None) };
    let odd = |value: &i64| tensor.spec.dtype == Dtype::Bool && !matches!(value, 0 | 1);
    match values.iter().position(odd) {
        None => Ok(Some(values)),
        Some(at) => {
            let description = format!("found byte {} at element {at}, expected 0 or 1 in a BOOL", values[at]);
            Err(Fault::invalid(&tensor.spec.name, description))
        }
    }
}

/// Integers that are each below `below`.
fn small(tensor: &Tensor, below: usize) -> Result<Vec<u32>, Fault> {
    let name = &tensor.spec.name;
    let Some(values) = integers(tensor)? else {
        let found = tensor.spec.dtype.name();
        let integers =
            "expected integers (BOOL, U8, I8, I16, U16, I32 or I64): convert it, in PyTorch with .long()";
        return Err(Fault::invalid(name, format!("found dtype {found}, {integers}")));
    };
    let check = |(at, value): (usize, i64)| match u32::try_from(value) {
        Ok(small) if (small as usize) < below => Ok(small),
        _ => Err(Fault::invalid(name, format!("found {value} at element {at}, expected 0 to {}", below - 1))),
    };
    values.into_iter().enumerate().map(check).collect()
}

#[cfg(test)]
mod tests;
