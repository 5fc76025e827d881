//! A reading as a row, and back, bit for bit.
//!
//! Owns: what stands in a column and what in `detail`. May not touch: the database.
//!
//! SQLite has no NaN and no negative zero: such numbers stand under `odd` in `detail`, and their columns are NULL.

use super::json::{JsonNumber, OrderedObject, json_numbers, plain};
use clino_domain::{
    Ended, Estimate, Fault, Interval, MeasureRequest, Outcome, Part, Precision, Quadrature, Reading, Rung,
    SnapshotRef, Surface, TensorParts, Value, Work,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Columns with numbers, in the order of [`ReadingRow::numbers`].
pub(super) const NUMBERS: [&str; 10] = [
    "value",
    "stderr",
    "seconds",
    "forwards",
    "backwards",
    "passes",
    "operations",
    "interval_low",
    "interval_high",
    "interval_level",
];

/// A row of `readings` without its run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReadingRow {
    pub sequence: u64,
    pub at: SnapshotRef,
    pub measure: String,
    /// Place among the run's measures.
    pub place: Option<u32>,
    pub group: Option<String>,
    pub outcome: Outcome,
    pub numbers: [Option<f64>; 10],
    pub detail: Option<String>,
}

type Numbers = OrderedObject<Option<JsonNumber>>;

/// What has no column of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Detail {
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<JsonNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<JsonNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<JsonNumber>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    draws: Vec<JsonNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
    #[serde(skip_serializing_if = "OrderedObject::is_empty")]
    parts: Numbers,
    #[serde(skip_serializing_if = "OrderedObject::is_empty")]
    tensors: OrderedObject<Numbers>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rungs: Vec<RungRow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<QuadratureRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    surface: Option<SurfaceRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<String>,
    #[serde(skip_serializing_if = "OrderedObject::is_empty")]
    odd: OrderedObject<JsonNumber>,
    /// Where they are not those of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BTreeMap<String, Value>>,
    /// Where it is not that of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<Precision>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RungRow {
    alpha: JsonNumber,
    value: JsonNumber,
    draws: Vec<JsonNumber>,
    stderr: Option<JsonNumber>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct QuadratureRow {
    nodes: Vec<JsonNumber>,
    weights: Vec<JsonNumber>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SurfaceRow {
    dimensions: u32,
    axis: Vec<JsonNumber>,
    losses: Vec<Option<JsonNumber>>,
}

/// What rows lean on: the measures of their run and its precision.
#[derive(Debug)]
pub(super) struct RowContext {
    pub measures: Vec<MeasureRequest>,
    pub precision: Precision,
}

fn numbers(parts: &[Part]) -> Numbers {
    OrderedObject(parts.iter().map(|part| (part.name.clone(), part.value.map(JsonNumber))).collect())
}

fn parts(numbers: Numbers) -> Vec<Part> {
    let part =
        |(name, value): (String, Option<JsonNumber>)| Part { name, value: value.map(|JsonNumber(x)| x) };
    numbers.0.into_iter().map(part).collect()
}

impl ReadingRow {
    /// Of a reading of a run.
    ///
    /// # Errors
    /// None that is known: JSON has room for all of it.
    pub fn of(sequence: u64, reading: &Reading, context: &RowContext) -> Result<Self, Fault> {
        let mut detail = Detail::of(reading);
        let same =
            |known: &MeasureRequest| known.name == reading.measure && known.parameters == reading.parameters;
        let place = context.measures.iter().position(same);
        if place.is_none() {
            detail.parameters = Some(reading.parameters.clone());
        }
        detail.precision = (reading.precision != context.precision).then_some(reading.precision);
        let Work { forwards, backwards, passes, operations } = reading.work;
        let stderr = reading.estimate.and_then(|estimate| estimate.stderr);
        let work = [forwards, backwards, passes, operations].map(Some);
        let [low, high, level] = reading
            .interval
            .map_or([None; 3], |interval| [interval.low, interval.high, interval.level].map(Some));
        let seconds = Some(reading.seconds);
        let mut columns =
            [reading.value, stderr, seconds, work[0], work[1], work[2], work[3], low, high, level];
        for (name, column) in NUMBERS.iter().zip(&mut columns) {
            if let Some(x) = column.filter(|x| x.is_nan() || x.to_bits() == (-0.0f64).to_bits()) {
                detail.odd.0.push(((*name).to_owned(), JsonNumber(x)));
                *column = None;
            }
        }
        let written = || serde_json::to_string(&detail).map_err(|error| Fault::internal(error.to_string()));
        let detail = if detail == Detail::default() { None } else { Some(written()?) };
        Ok(Self {
            sequence,
            at: reading.snapshot,
            measure: reading.measure.clone(),
            place: place.map(|place| place as u32),
            group: reading.group.clone(),
            outcome: reading.outcome,
            numbers: columns,
            detail,
        })
    }

    /// The reading.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when somebody has changed the row.
    pub fn reading(self, context: &RowContext) -> Result<Reading, Fault> {
        let wrong =
            |why: String| Fault::internal(format!("the history holds a reading that is damaged: {why}"));
        let detail: Option<Detail> =
            self.detail.as_deref().map(serde_json::from_str).transpose().map_err(|e| wrong(e.to_string()))?;
        let mut detail = detail.unwrap_or_default();
        let known = self.place.and_then(|place| context.measures.get(place as usize));
        let parameters = detail.parameters.take().or_else(|| known.map(|known| known.parameters.clone()));
        let parameters = parameters.ok_or_else(|| wrong(format!("no measure {:?}", self.place)))?;
        let request = MeasureRequest { name: self.measure, parameters };
        let precision = detail.precision.unwrap_or(context.precision);
        let mut reading = Reading::blank(request, self.group.as_deref(), self.at, precision);
        let mut columns = self.numbers;
        for (name, JsonNumber(x)) in std::mem::take(&mut detail.odd.0) {
            if let Some(place) = NUMBERS.iter().position(|known| *known == name) {
                columns[place] = Some(x);
            }
        }
        let [value, stderr, seconds, forwards, backwards, passes, operations, low, high, level] = columns;
        let number = |x: Option<f64>| x.unwrap_or(0.0);
        reading.outcome = self.outcome;
        reading.value = value;
        reading.seconds = number(seconds);
        if let (Some(low), Some(high), Some(level)) = (low, high, level) {
            reading.interval = Some(Interval { low, high, level });
        }
        reading.work = Work {
            forwards: number(forwards),
            backwards: number(backwards),
            passes: number(passes),
            operations: number(operations),
        };
        detail.fill(&mut reading, stderr);
        Ok(reading)
    }
}

impl Detail {
    fn of(reading: &Reading) -> Self {
        let rung = |rung: &Rung| RungRow {
            alpha: JsonNumber(rung.alpha),
            value: JsonNumber(rung.value),
            draws: json_numbers(&rung.draws),
            stderr: rung.stderr.map(JsonNumber),
        };
        let run = |run: &Quadrature| QuadratureRow {
            nodes: json_numbers(&run.nodes),
            weights: json_numbers(&run.weights),
        };
        let surface = |surface: &Surface| SurfaceRow {
            dimensions: surface.dimensions,
            axis: json_numbers(&surface.axis),
            losses: surface.losses.iter().map(|loss| loss.map(JsonNumber)).collect(),
        };
        let tensor = |tensor: &TensorParts| (tensor.tensor.clone(), numbers(&tensor.parts));
        Self {
            mean: reading.estimate.map(|estimate| JsonNumber(estimate.mean)),
            min: reading.estimate.map(|estimate| JsonNumber(estimate.min)),
            max: reading.estimate.map(|estimate| JsonNumber(estimate.max)),
            draws: json_numbers(&reading.draws),
            ended: reading.ended,
            parts: numbers(&reading.parts),
            tensors: OrderedObject(reading.tensors.iter().map(tensor).collect()),
            rungs: reading.rungs.iter().map(rung).collect(),
            runs: reading.runs.iter().map(run).collect(),
            surface: reading.surface.as_ref().map(surface),
            reason: reading.reason.clone(),
            remark: reading.remark.clone(),
            ..Self::default()
        }
    }

    fn fill(self, reading: &mut Reading, stderr: Option<f64>) {
        let rung = |rung: RungRow| Rung {
            alpha: rung.alpha.0,
            value: rung.value.0,
            draws: plain(rung.draws),
            stderr: rung.stderr.map(|JsonNumber(x)| x),
        };
        let run = |run: QuadratureRow| Quadrature { nodes: plain(run.nodes), weights: plain(run.weights) };
        let surface = |surface: SurfaceRow| Surface {
            dimensions: surface.dimensions,
            axis: plain(surface.axis),
            losses: surface.losses.into_iter().map(|loss| loss.map(|JsonNumber(x)| x)).collect(),
        };
        let tensor = |(tensor, numbers)| TensorParts { tensor, parts: parts(numbers) };
        if let (Some(JsonNumber(mean)), Some(JsonNumber(min)), Some(JsonNumber(max))) =
            (self.mean, self.min, self.max)
        {
            reading.estimate = Some(Estimate { mean, stderr, min, max });
        }
        reading.draws = plain(self.draws);
        reading.ended = self.ended;
        reading.parts = parts(self.parts);
        reading.tensors = self.tensors.0.into_iter().map(tensor).collect();
        reading.rungs = self.rungs.into_iter().map(rung).collect();
        reading.runs = self.runs.into_iter().map(run).collect();
        reading.surface = self.surface.map(surface);
        reading.reason = self.reason;
        reading.remark = self.remark;
    }
}
