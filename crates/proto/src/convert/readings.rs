//! Readings, reports and events.
//!
//! Owns: nothing beside the conversion. May not touch: who made them.

use super::runs::{parameters_from_pb, work_from_pb, work_to_pb};
use super::{
    Coded, at_from_pb, at_to_pb, checked_from_pb, checked_to_pb, decision_from_pb, decision_to_pb, present,
    value_to_pb,
};
use crate::pb;
use clino_domain::{
    Ended, Estimate, Event, Fault, Interval, Outcome, Part, Precision, Quadrature, Reading, Report, Rung,
    Sequenced, SnapshotState, Surface, TensorParts, WeightKind,
};

fn part_to_pb(part: &Part) -> pb::Part {
    pb::Part { name: part.name.clone(), value: part.value }
}

fn part_from_pb(part: pb::Part) -> Part {
    Part { name: part.name, value: part.value }
}

fn tensor_to_pb(tensor: &TensorParts) -> pb::TensorParts {
    pb::TensorParts { tensor: tensor.tensor.clone(), parts: tensor.parts.iter().map(part_to_pb).collect() }
}

fn tensor_from_pb(tensor: pb::TensorParts) -> TensorParts {
    TensorParts { tensor: tensor.tensor, parts: tensor.parts.into_iter().map(part_from_pb).collect() }
}

fn rung_to_pb(rung: &Rung) -> pb::Rung {
    pb::Rung { alpha: rung.alpha, value: rung.value, draws: rung.draws.clone(), stderr: rung.stderr }
}

fn rung_from_pb(rung: pb::Rung) -> Rung {
    Rung { alpha: rung.alpha, value: rung.value, draws: rung.draws, stderr: rung.stderr }
}

fn estimate_to_pb(estimate: &Estimate) -> pb::Estimate {
    pb::Estimate { mean: estimate.mean, stderr: estimate.stderr, min: estimate.min, max: estimate.max }
}

fn estimate_from_pb(estimate: pb::Estimate) -> Estimate {
    Estimate { mean: estimate.mean, stderr: estimate.stderr, min: estimate.min, max: estimate.max }
}

fn interval_to_pb(interval: &Interval) -> pb::Interval {
    pb::Interval { low: interval.low, high: interval.high, level: interval.level }
}

fn interval_from_pb(interval: pb::Interval) -> Interval {
    Interval { low: interval.low, high: interval.high, level: interval.level }
}

fn quadrature_to_pb(run: &Quadrature) -> pb::Quadrature {
    pb::Quadrature { nodes: run.nodes.clone(), weights: run.weights.clone() }
}

fn quadrature_from_pb(run: pb::Quadrature) -> Quadrature {
    Quadrature { nodes: run.nodes, weights: run.weights }
}

fn surface_to_pb(surface: &Surface) -> pb::Surface {
    let losses = surface.losses.iter().map(|loss| loss.unwrap_or(f64::NAN)).collect();
    pb::Surface { dimensions: surface.dimensions, axis: surface.axis.clone(), losses }
}

fn surface_from_pb(surface: pb::Surface) -> Surface {
    let losses = surface.losses.into_iter().map(|loss| Some(loss).filter(|loss| loss.is_finite())).collect();
    Surface { dimensions: surface.dimensions, axis: surface.axis, losses }
}

/// Converts a reading to its message.
pub fn reading_to_pb(reading: &Reading) -> pb::Reading {
    let parameters = reading.parameters.iter().map(|(name, value)| (name.clone(), value_to_pb(value)));
    pb::Reading {
        measure: reading.measure.clone(),
        parameters: parameters.collect(),
        group: reading.group.clone(),
        snapshot: Some(at_to_pb(reading.snapshot)),
        outcome: reading.outcome.to_pb(),
        value: reading.value,
        draws: reading.draws.clone(),
        estimate: reading.estimate.as_ref().map(estimate_to_pb),
        parts: reading.parts.iter().map(part_to_pb).collect(),
        tensors: reading.tensors.iter().map(tensor_to_pb).collect(),
        rungs: reading.rungs.iter().map(rung_to_pb).collect(),
        reason: reading.reason.clone().unwrap_or_default(),
        seconds: reading.seconds,
        precision: reading.precision.to_pb(),
        ended: reading.ended.map_or(0, Coded::to_pb),
        runs: reading.runs.iter().map(quadrature_to_pb).collect(),
        surface: reading.surface.as_ref().map(surface_to_pb),
        remark: reading.remark.clone().unwrap_or_default(),
        work: Some(work_to_pb(&reading.work)),
        interval: reading.interval.as_ref().map(interval_to_pb),
    }
}

/// A reading.
///
/// # Errors
/// If a field has an unknown value, as a newer daemon may send.
pub fn reading_from_pb(reading: pb::Reading) -> Result<Reading, Fault> {
    let ended = Some(reading.ended).filter(|ended| *ended != pb::Ended::Unspecified as i32);
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Reading {
        measure: reading.measure,
        parameters: parameters_from_pb(reading.parameters)?,
        group: reading.group,
        snapshot: at_from_pb(reading.snapshot)?,
        outcome: Outcome::from_pb("outcome", reading.outcome)?,
        value: reading.value,
        draws: reading.draws,
        estimate: reading.estimate.map(estimate_from_pb),
        interval: reading.interval.map(interval_from_pb),
        parts: reading.parts.into_iter().map(part_from_pb).collect(),
        tensors: reading.tensors.into_iter().map(tensor_from_pb).collect(),
        rungs: reading.rungs.into_iter().map(rung_from_pb).collect(),
        reason: text(reading.reason),
        seconds: reading.seconds,
        precision: Precision::from_pb("precision", reading.precision)?,
        ended: ended.map(|ended| Ended::from_pb("ended", ended)).transpose()?,
        runs: reading.runs.into_iter().map(quadrature_from_pb).collect(),
        surface: reading.surface.map(surface_from_pb),
        remark: text(reading.remark),
        work: work_from_pb(reading.work.unwrap_or_default()),
    })
}

/// Converts a report to its message.
pub fn report_to_pb(report: &Report) -> pb::GetReportResponse {
    pb::GetReportResponse {
        snapshot: Some(at_to_pb(report.snapshot)),
        kind: report.kind.to_pb(),
        state: report.state.to_pb(),
        readings: report.readings.iter().map(reading_to_pb).collect(),
        reason: report.reason.clone().unwrap_or_default(),
    }
}

/// A report.
///
/// # Errors
/// If a field has an unknown value, as a newer daemon may send.
pub fn report_from_pb(report: pb::GetReportResponse) -> Result<Report, Fault> {
    Ok(Report {
        snapshot: at_from_pb(report.snapshot)?,
        kind: WeightKind::from_pb("kind", report.kind)?,
        state: SnapshotState::from_pb("state", report.state)?,
        readings: report.readings.into_iter().map(reading_from_pb).collect::<Result<_, _>>()?,
        reason: Some(report.reason).filter(|reason| !reason.is_empty()),
    })
}

/// An event with its place.
pub fn event_to_pb(sequenced: &Sequenced) -> pb::WatchResponse {
    use pb::watch_response::Event as Pb;
    let event = match &sequenced.event {
        Event::Accepted { snapshot, kind, initialization } => Pb::Accepted(pb::SnapshotAccepted {
            snapshot: Some(at_to_pb(*snapshot)),
            kind: kind.to_pb(),
            initialization: *initialization,
        }),
        Event::Skipped { snapshot, reason } => {
            Pb::Skipped(pb::SnapshotSkipped { snapshot: Some(at_to_pb(*snapshot)), reason: reason.clone() })
        }
        Event::Started { snapshot, readings } => {
            Pb::Started(pb::MeasurementStarted { snapshot: Some(at_to_pb(*snapshot)), readings: *readings })
        }
        Event::Reading(reading) => Pb::Reading(reading_to_pb(reading)),
        Event::Finished { snapshot, seconds } => {
            Pb::Finished(pb::MeasurementFinished { snapshot: Some(at_to_pb(*snapshot)), seconds: *seconds })
        }
        Event::Checked(checked) => Pb::Checked(checked_to_pb(checked)),
        Event::Decided(decision) => Pb::Decided(decision_to_pb(decision)),
        Event::Gap { lost } => Pb::Gap(pb::Gap { lost: *lost }),
        Event::Closed => Pb::Closed(pb::RunClosed {}),
        Event::Draining => Pb::Draining(pb::Draining {}),
    };
    pb::WatchResponse { sequence: sequenced.sequence, event: Some(event) }
}

/// An event with its place.
///
/// # Errors
/// If a field has an unknown value, as a newer daemon may send.
pub fn event_from_pb(response: pb::WatchResponse) -> Result<Sequenced, Fault> {
    use pb::watch_response::Event as Pb;
    let event = match present("event", response.event)? {
        Pb::Accepted(accepted) => Event::Accepted {
            snapshot: at_from_pb(accepted.snapshot)?,
            kind: WeightKind::from_pb("kind", accepted.kind)?,
            initialization: accepted.initialization,
        },
        Pb::Skipped(skipped) => {
            Event::Skipped { snapshot: at_from_pb(skipped.snapshot)?, reason: skipped.reason }
        }
        Pb::Started(started) => {
            Event::Started { snapshot: at_from_pb(started.snapshot)?, readings: started.readings }
        }
        Pb::Reading(reading) => Event::Reading(Box::new(reading_from_pb(reading)?)),
        Pb::Finished(finished) => {
            Event::Finished { snapshot: at_from_pb(finished.snapshot)?, seconds: finished.seconds }
        }
        Pb::Checked(checked) => Event::Checked(Box::new(checked_from_pb(checked)?)),
        Pb::Decided(decision) => Event::Decided(Box::new(decision_from_pb(decision)?)),
        Pb::Gap(gap) => Event::Gap { lost: gap.lost },
        Pb::Closed(_) => Event::Closed,
        Pb::Draining(_) => Event::Draining,
    };
    Ok(Sequenced { sequence: response.sequence, event })
}
