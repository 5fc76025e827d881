//! Readings: what a measure says of a snapshot on a probe group.
//!
//! Owns: the names inside a reading (those of the catalogue) and its JSON form. May not touch: how it is sent.

use super::{Precision, SnapshotRef, Value};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// The group that holds the examples of all groups together.
pub const POOLED: &str = "pooled";

/// Whether there is a number, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// There is.
    Measured,
    /// It has no defined value here: non-finite parameters, a norm of zero.
    Undefined,
    /// Something that it needs is absent: the initialization, a previous snapshot.
    Unavailable,
    /// The daemon failed or was stopped.
    Failed,
}

/// Spread of the draws of a random measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Mean of the draws.
    pub mean: f64,
    /// Standard error of the mean: sample deviation (n - 1) over √n; `None` for a single draw.
    pub stderr: Option<f64>,
    /// Least draw.
    pub min: f64,
    /// Greatest draw.
    pub max: f64,
}

impl Estimate {
    /// Of at least one draw; `None` for no draws.
    pub fn of(draws: &[f64]) -> Option<Self> {
        let n = draws.len() as f64;
        if draws.is_empty() {
            return None;
        }
        let mean = draws.iter().sum::<f64>() / n;
        let squares = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
        let stderr = (draws.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt());
        let fold = |f: fn(f64, f64) -> f64| draws.iter().copied().reduce(f).unwrap_or(mean);
        Some(Self { mean, stderr, min: fold(f64::min), max: fold(f64::max) })
    }
}

/// One of several numbers of a reading; `None` where it is undefined.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Name in the catalogue.
    pub name: String,
    /// The number.
    pub value: Option<f64>,
}

/// Numbers of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorParts {
    /// Name of the tensor.
    pub tensor: String,
    /// Its numbers.
    pub parts: Vec<Part>,
}

/// One radius of a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Rung {
    /// Relative radius.
    pub alpha: f64,
    /// Mean of the draws.
    pub value: f64,
    /// In draw order.
    pub draws: Vec<f64>,
    /// Standard error of the mean.
    pub stderr: Option<f64>,
}

/// What one measure says of one snapshot on one probe group.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Name in the catalogue.
    pub measure: String,
    /// All parameters, defaults filled in.
    pub parameters: BTreeMap<String, Value>,
    /// `None` for measures of the weights alone.
    pub group: Option<String>,
    /// Of which snapshot.
    pub snapshot: SnapshotRef,
    /// Whether there is a number.
    pub outcome: Outcome,
    /// The principal number.
    pub value: Option<f64>,
    /// In draw order; empty for measures without chance.
    pub draws: Vec<f64>,
    /// Of the draws.
    pub estimate: Option<Estimate>,
    /// Where there are several numbers; the first is the value.
    pub parts: Vec<Part>,
    /// By tensor, in the order of the names' bytes.
    pub tensors: Vec<TensorParts>,
    /// Of a profile.
    pub rungs: Vec<Rung>,
    /// Why there is no value.
    pub reason: Option<String>,
    /// Wall time.
    pub seconds: f64,
    /// Arithmetic that was used.
    pub precision: Precision,
}

fn part_map<S: Serializer>(map: &mut S::SerializeMap, parts: &[Part]) -> Result<(), S::Error> {
    parts.iter().try_for_each(|part| map.serialize_entry(&part.name, &part.value))
}

struct Parts<'a>(&'a [Part], &'a [Rung]);

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        part_map::<S>(&mut map, self.0)?;
        if !self.1.is_empty() {
            map.serialize_entry("rungs", self.1)?;
        }
        map.end()
    }
}

impl Serialize for Rung {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("alpha", &self.alpha)?;
        map.serialize_entry("value", &self.value)?;
        map.serialize_entry("draws", &self.draws)?;
        map.serialize_entry("stderr", &self.stderr)?;
        map.end()
    }
}

struct Tensors<'a>(&'a [TensorParts]);

impl Serialize for Tensors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for tensor in self.0 {
            map.serialize_entry(&tensor.tensor, &Parts(&tensor.parts, &[]))?;
        }
        map.end()
    }
}

/// The JSON form: `measure`, `group`, `parameters`, `step`, `attempt`, `outcome`, `value`, then what applies of
/// `draws`, `mean`, `stderr`, `min`, `max`, `parts`, `tensors`, `reason`, and `seconds` and `precision`.
impl Serialize for Reading {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("measure", &self.measure)?;
        map.serialize_entry("group", &self.group)?;
        map.serialize_entry("parameters", &self.parameters)?;
        map.serialize_entry("step", &self.snapshot.step)?;
        map.serialize_entry("attempt", &self.snapshot.attempt)?;
        map.serialize_entry("outcome", &self.outcome)?;
        map.serialize_entry("value", &self.value)?;
        if let Some(estimate) = &self.estimate {
            map.serialize_entry("draws", &self.draws)?;
            map.serialize_entry("mean", &estimate.mean)?;
            map.serialize_entry("stderr", &estimate.stderr)?;
            map.serialize_entry("min", &estimate.min)?;
            map.serialize_entry("max", &estimate.max)?;
        }
        if !self.parts.is_empty() || !self.rungs.is_empty() {
            map.serialize_entry("parts", &Parts(&self.parts, &self.rungs))?;
        }
        if !self.tensors.is_empty() {
            map.serialize_entry("tensors", &Tensors(&self.tensors))?;
        }
        if let Some(reason) = &self.reason {
            map.serialize_entry("reason", reason)?;
        }
        map.serialize_entry("seconds", &self.seconds)?;
        map.serialize_entry("precision", &self.precision)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_uses_the_sample_deviation() {
        let estimate = Estimate::of(&[1.0, 2.0, 6.0]).expect("three draws");
        assert_eq!((estimate.mean, estimate.min, estimate.max), (3.0, 1.0, 6.0));
        assert!((estimate.stderr.expect("several draws") - (7.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(Estimate::of(&[4.0]).expect("one draw").stderr, None);
        assert_eq!(Estimate::of(&[]), None);
    }
}
