//! Readings: what a measure says of a snapshot on a probe group.
//!
//! Owns: the names inside a reading (those of the catalogue) and its JSON form. May not touch: how it is sent.

use super::{MeasureRequest, Precision, SnapshotRef, Value, Work, student};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;

/// The group that holds the examples of all groups together.
pub const POOLED: &str = "pooled";

/// Whether there is a number, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The reading has a value.
    Measured,
    /// It has no defined value here: non-finite parameters, a norm of zero.
    Undefined,
    /// Something that it needs is absent: the initialization, a previous snapshot.
    Unavailable,
    /// The daemon failed or was stopped.
    Failed,
    /// It did not fit into the budget of its snapshot.
    Skipped,
}

impl Outcome {
    /// As it is written in JSON, in the history and on labels of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Undefined => "undefined",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What ended the draws of a random measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// As many as were asked for have been made.
    Draws,
    /// The standard error reached its target.
    Target,
    /// The most draws were made before the target was reached.
    MaxDraws,
    /// The time was up before the target was reached.
    MaxSeconds,
}

/// Spread of a random measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Mean of the draws, or the value where it is no mean of draws.
    pub mean: f64,
    /// Standard error of the mean: sample deviation (n - 1) over √n; `None` for a single draw.
    pub stderr: Option<f64>,
    /// The smallest value among the draws.
    pub min: f64,
    /// The largest value among the draws.
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

/// Level of the intervals that readings carry.
pub const LEVEL: f64 = 0.95;

/// Between which numbers the value of a random measure lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Share of repetitions, each with another seed, whose interval holds what their values are about.
    pub level: f64,
}

impl Interval {
    /// By Student's distribution around a number whose standard error was estimated with `freedom` degrees; `None`
    /// without a degree.
    pub fn around(center: f64, stderr: f64, freedom: usize) -> Option<Self> {
        let reach = (freedom > 0).then(|| student::two_sided(LEVEL, freedom) * stderr)?;
        Some(Self { low: center - reach, high: center + reach, level: LEVEL })
    }

    /// Of the mean of draws: by Student's distribution, and where draws are skewed as far beyond that as Hall's
    /// transformation of their skewness reaches (Hall 1992, On the removal of skewness by transformation).
    pub fn of(draws: &[f64]) -> Option<Self> {
        let Estimate { mean, stderr, .. } = Estimate::of(draws)?;
        let stderr = stderr?;
        let n = draws.len() as f64;
        let plain = Self::around(mean, stderr, draws.len() - 1)?;
        let moment = |power| draws.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / n;
        let skewness = moment(3) / moment(2).powf(1.5) / n.sqrt();
        if !skewness.is_finite() || skewness.abs() < 1e-6 {
            return Some(plain);
        }
        let t = student::two_sided(LEVEL, draws.len() - 1);
        let transformed = |t: f64| 3.0 / skewness * (libm::cbrt(1.0 + skewness * (t - skewness / 6.0)) - 1.0);
        let low = mean - transformed(t) * stderr;
        let high = mean - transformed(-t) * stderr;
        Some(Self { low: low.min(plain.low), high: high.max(plain.high), level: LEVEL })
    }
}

/// One of several numbers of a reading; `None` where it is undefined.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Name in the catalogue.
    pub name: String,
    /// Value of the part; `None` if it is undefined.
    pub value: Option<f64>,
}

/// Numbers of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorParts {
    /// Name of the tensor.
    pub tensor: String,
    /// Values of the tensor by name.
    pub parts: Vec<Part>,
}

/// One radius of a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Rung {
    /// Radius relative to the norm of the parameters.
    pub alpha: f64,
    /// Mean of the draws.
    pub value: f64,
    /// Values of all draws, in draw order.
    pub draws: Vec<f64>,
    /// Standard error of the mean.
    pub stderr: Option<f64>,
}

/// A distribution of eigenvalues as one run of Lanczos saw it (Gauss quadrature).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quadrature {
    /// Eigenvalues in increasing order.
    pub nodes: Vec<f64>,
    /// Their shares, which sum to one.
    pub weights: Vec<f64>,
}

/// Losses on a line or a square plane through w0.
#[derive(Debug, Clone, PartialEq)]
pub struct Surface {
    /// Number of directions: 1 for a line, 2 for a plane.
    pub dimensions: u32,
    /// Coordinates along each direction.
    pub axis: Vec<f64>,
    /// One for each point, row-major: the first direction's coordinate is the row. Absent where not finite.
    pub losses: Vec<Option<f64>>,
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
    /// The snapshot that was measured.
    pub snapshot: SnapshotRef,
    /// Whether there is a number.
    pub outcome: Outcome,
    /// Principal value; `None` unless the outcome is measured.
    pub value: Option<f64>,
    /// In draw order; empty for measures without chance.
    pub draws: Vec<f64>,
    /// Of the draws, or of the value.
    pub estimate: Option<Estimate>,
    /// Beside every standard error of a value.
    pub interval: Option<Interval>,
    /// What ended the draws.
    pub ended: Option<Ended>,
    /// Where there are several numbers; the first is the value.
    pub parts: Vec<Part>,
    /// By tensor, in the order of the names' bytes.
    pub tensors: Vec<TensorParts>,
    /// Results at each radius, for profiles only.
    pub rungs: Vec<Rung>,
    /// Of a spectral density, a run each.
    pub runs: Vec<Quadrature>,
    /// Losses on a line or plane, for landscapes only.
    pub surface: Option<Surface>,
    /// Why there is no value.
    pub reason: Option<String>,
    /// What is to be known of the value.
    pub remark: Option<String>,
    /// Wall time; what it shares with others counts where it was first needed.
    pub seconds: f64,
    /// What was done in that time.
    pub work: Work,
    /// Arithmetic that was used.
    pub precision: Precision,
}

impl Reading {
    /// Of this measure, with nothing found yet.
    pub fn blank(
        measure: MeasureRequest,
        group: Option<&str>,
        at: SnapshotRef,
        precision: Precision,
    ) -> Self {
        Self {
            measure: measure.name,
            parameters: measure.parameters,
            group: group.map(str::to_owned),
            snapshot: at,
            outcome: Outcome::Measured,
            value: None,
            draws: Vec::new(),
            estimate: None,
            interval: None,
            ended: None,
            parts: Vec::new(),
            tensors: Vec::new(),
            rungs: Vec::new(),
            runs: Vec::new(),
            surface: None,
            reason: None,
            remark: None,
            seconds: 0.0,
            work: Work::NONE,
            precision,
        }
    }
}

fn part_map<S: Serializer>(map: &mut S::SerializeMap, parts: &[Part]) -> Result<(), S::Error> {
    parts.iter().try_for_each(|part| map.serialize_entry(&part.name, &part.value))
}

/// Draws, and what is known of their spread.
fn spread_map<S: Serializer>(map: &mut S::SerializeMap, reading: &Reading) -> Result<(), S::Error> {
    if let Some(estimate) = &reading.estimate {
        if !reading.draws.is_empty() {
            map.serialize_entry("draws", &reading.draws)?;
        }
        map.serialize_entry("mean", &estimate.mean)?;
        map.serialize_entry("stderr", &estimate.stderr)?;
        map.serialize_entry("min", &estimate.min)?;
        map.serialize_entry("max", &estimate.max)?;
    }
    if let Some(Interval { low, high, level }) = &reading.interval {
        map.serialize_entry("interval", &[low, high])?;
        map.serialize_entry("level", level)?;
    }
    Ok(())
}

/// All numbers beside the value.
struct Numbers<'a>(&'a Reading);

impl Numbers<'_> {
    fn is_empty(&self) -> bool {
        let Reading { parts, rungs, runs, surface, .. } = self.0;
        parts.is_empty() && rungs.is_empty() && runs.is_empty() && surface.is_none()
    }
}

impl Serialize for Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Reading { parts, rungs, runs, surface, .. } = self.0;
        let mut map = serializer.serialize_map(None)?;
        part_map::<S>(&mut map, parts)?;
        if !rungs.is_empty() {
            map.serialize_entry("rungs", rungs)?;
        }
        if !runs.is_empty() {
            map.serialize_entry("runs", runs)?;
        }
        if let Some(Surface { dimensions, axis, losses }) = surface {
            map.serialize_entry("axis", axis)?;
            match dimensions {
                1 => map.serialize_entry("line", losses)?,
                _ => map.serialize_entry("grid", &losses.chunks(axis.len().max(1)).collect::<Vec<_>>())?,
            }
        }
        map.end()
    }
}

struct Parts<'a>(&'a [Part]);

impl Serialize for Parts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        part_map::<S>(&mut map, self.0)?;
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
            map.serialize_entry(&tensor.tensor, &Parts(&tensor.parts))?;
        }
        map.end()
    }
}

/// The JSON form: `measure`, `group`, `parameters`, `step`, `attempt`, `outcome`, `value`, then what applies of
/// `draws`, `mean`, `stderr`, `min`, `max`, `interval` ([low, high]) with its `level`, `ended`, `parts`, `tensors`,
/// `reason`, `remark`, and `seconds`, `work` and `precision`.
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
        spread_map::<S>(&mut map, self)?;
        if let Some(ended) = &self.ended {
            map.serialize_entry("ended", ended)?;
        }
        if !Numbers(self).is_empty() {
            map.serialize_entry("parts", &Numbers(self))?;
        }
        if !self.tensors.is_empty() {
            map.serialize_entry("tensors", &Tensors(&self.tensors))?;
        }
        if let Some(reason) = &self.reason {
            map.serialize_entry("reason", reason)?;
        }
        if let Some(remark) = &self.remark {
            map.serialize_entry("remark", remark)?;
        }
        map.serialize_entry("seconds", &self.seconds)?;
        map.serialize_entry("work", &self.work)?;
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

    #[test]
    fn an_interval_is_as_wide_as_few_draws_make_it() {
        let interval = Interval::of(&[1.0, 3.0, 5.0]).expect("three draws");
        let reach = 4.302_652_729_7 * (4.0f64 / 3.0).sqrt();
        assert!((interval.low - (3.0 - reach)).abs() < 1e-8 && (interval.high - (3.0 + reach)).abs() < 1e-8);
        assert_eq!(interval.level, 0.95);
        assert_eq!(Interval::of(&[4.0]), None);
        assert_eq!(Interval::of(&[2.0, 2.0]).map(|i| [i.low, i.high]), Some([2.0, 2.0]));
    }

    #[test]
    fn skewed_draws_reach_farther_on_their_long_side() {
        // By numpy and scipy: skewness 1.1547 over √4, t = 3.1824, standard error 1.
        let draws = [0.0, 0.0, 0.0, 4.0];
        let interval = Interval::of(&draws).expect("four draws");
        assert!((interval.low - (1.0 - 3.182_446_305)).abs() < 1e-8, "{interval:?}");
        assert!((interval.high - 11.199_833_231_690_24).abs() < 1e-7, "{interval:?}");
        let mirrored = Interval::of(&draws.map(|x| -x)).expect("four draws");
        assert_eq!([mirrored.low, mirrored.high], [-interval.high, -interval.low]);
    }
}
