//! Events of runs as numbers for monitoring.
//!
//! Owns: which event counts as what. May not touch: the events.

use super::board::Board;
use crate::domain::meters::Metric;
use crate::domain::tally::Tally;
use crate::domain::{Advice, Decision, Event, Outcome, Reading};

/// Counts an event before it is on the board of its run.
pub(super) fn count(tally: &Tally, event: &Event, board: &Board) {
    match event {
        Event::Reading(reading) => count_reading(tally, reading),
        Event::Finished { snapshot, seconds } => {
            tally.meters.observe(Metric::SnapshotSeconds, &[], *seconds);
            if board.readings(snapshot).into_iter().any(is_not_finite) {
                tally.meters.one(Metric::NonFiniteSnapshots, &[]);
            }
        }
        Event::Decided(decision) => count_decision(tally, decision, board),
        _ => {}
    }
}

fn count_reading(tally: &Tally, reading: &Reading) {
    let measure = reading.measure.as_str();
    tally.meters.one(Metric::Readings, &[measure, outcome(reading.outcome)]);
    if reading.outcome != Outcome::Skipped {
        tally.meters.observe(Metric::ReadingSeconds, &[measure], reading.seconds);
        tally.meters.add(Metric::EngineBusy, &[], reading.seconds);
    }
}

fn count_decision(tally: &Tally, decision: &Decision, board: &Board) {
    let stops = |advice: Advice| advice == Advice::Stop;
    // The subject is the client's text; rules are few.
    let rule = decision.rule.split(' ').next().unwrap_or_default();
    tally.meters.one(Metric::Decisions, &[advice(decision.advice), rule]);
    let stopped = board.standing().decision.as_ref().is_some_and(|before| stops(before.advice));
    if stops(decision.advice) && !stopped {
        tally.meters.one(Metric::Stops, &[]);
    }
}

/// Measures that have a value wherever parameters and losses are finite; others may have none for other reasons.
const DEFINED: [&str; 2] = ["loss", "param_norm"];

/// Whether it tells that something is not finite.
fn is_not_finite(reading: &Reading) -> bool {
    reading.outcome == Outcome::Undefined && DEFINED.contains(&reading.measure.as_str())
        || reading.outcome == Outcome::Measured && reading.value.is_some_and(|value| !value.is_finite())
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Measured => "measured",
        Outcome::Undefined => "undefined",
        Outcome::Unavailable => "unavailable",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    }
}

fn advice(advice: Advice) -> &'static str {
    match advice {
        Advice::Continue => "continue",
        Advice::Stop => "stop",
        Advice::NotEnoughData => "not_enough_data",
    }
}
