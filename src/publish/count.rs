//! Events of runs as numbers for monitoring.
//!
//! Owns: which event counts as what. May not touch: the events.

use super::board::Board;
use clino_domain::meters::Metric;
use clino_domain::tally::Tally;
use clino_domain::{Advice, Decision, Event, Outcome, Reading};

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
        Event::Checked(checked) => {
            tally.meters.one(Metric::ModelChecks, &[]);
            tally.meters.add(Metric::ModelMismatches, &[], f64::from(u8::from(!checked.agrees)));
        }
        Event::Decided(decision) => count_decision(tally, decision, board),
        _ => {}
    }
}

fn count_reading(tally: &Tally, reading: &Reading) {
    let measure = reading.measure.as_str();
    tally.meters.one(Metric::Readings, &[measure, reading.outcome.name()]);
    if reading.outcome != Outcome::Skipped {
        tally.meters.observe(Metric::ReadingSeconds, &[measure], reading.seconds);
        tally.meters.add(Metric::EngineBusy, &[], reading.seconds);
    }
}

fn count_decision(tally: &Tally, decision: &Decision, board: &Board) {
    let stops = |advice: Advice| advice == Advice::Stop;
    // The subject is the client's text; rules are few.
    let rule = decision.rule.split(' ').next().unwrap_or_default();
    tally.meters.one(Metric::Decisions, &[decision.advice.name(), rule]);
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

#[cfg(test)]
mod tests {
    use super::super::{Bounds, Hub};
    use super::*;
    use clino_domain::{
        Case, Journal, MeasureRequest, Mode, Precision, Reason, RunId, SnapshotRef, WeightKind,
    };
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn decision(advice: Advice) -> Event {
        Event::Decided(Box::new(Decision {
            id: String::new(),
            run: RunId("r".into()),
            advice,
            reason: Reason::Plateau,
            rule: "plateau on loss@en".into(),
            sentence: String::new(),
            compared: Vec::new(),
            evaluated: None,
            best: None,
            next_check_step: None,
            peers: Vec::new(),
            peer_count: 0,
            mode: Mode::Advise,
            latched: false,
            overridden: None,
            history_digest: String::new(),
            policy_digest: String::new(),
        }))
    }

    fn hub() -> (Hub, RunId, Arc<Tally>) {
        let tally = Arc::new(Tally::default());
        let hub = Hub::new(Bounds::default()).counted(tally.clone());
        let run = RunId("r".into());
        hub.open(crate::store::fixtures::record(&run), Case::default());
        (hub, run, tally)
    }

    #[test]
    fn a_stop_that_stands_counts_once() {
        let (hub, run, tally) = hub();
        for advice in [Advice::Continue, Advice::Stop, Advice::Stop, Advice::Continue, Advice::Stop] {
            hub.append(&run, decision(advice));
        }
        assert_eq!(tally.meters.number(Metric::Stops, &[]), 2.0);
        assert_eq!(tally.meters.number(Metric::Decisions, &["stop", "plateau"]), 3.0);
    }

    #[test]
    fn row_26_a_snapshot_that_is_not_finite_counts_once() {
        let (hub, run, tally) = hub();
        let snapshot = SnapshotRef { step: 1, attempt: 1 };
        hub.append(&run, Event::Accepted { snapshot, kind: WeightKind::Live, initialization: false });
        hub.append(&run, Event::Started { snapshot, readings: 3 });
        for (name, outcome) in [("loss", Outcome::Undefined), ("param_norm", Outcome::Undefined)] {
            let measure = MeasureRequest { name: name.into(), parameters: BTreeMap::new() };
            let blank = Reading::blank(measure, None, snapshot, Precision::F64);
            hub.append(&run, Event::Reading(Box::new(Reading { outcome, ..blank })));
        }
        hub.append(&run, Event::Finished { snapshot, seconds: 0.5 });
        assert_eq!(tally.meters.number(Metric::NonFiniteSnapshots, &[]), 1.0);
        assert_eq!(tally.meters.number(Metric::Readings, &["loss", "undefined"]), 1.0);
    }
}
