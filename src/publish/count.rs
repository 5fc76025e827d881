//! Events of runs as numbers for monitoring.
//!
//! Owns: which event counts as what. May not touch: the events.

use super::run_projection::RunProjection;
use clino_domain::counters::Counters;
use clino_domain::metrics::Metric;
use clino_domain::{Advice, Decision, Event, Outcome, Reading};

/// Counts an event before the projection of its run has it.
pub(super) fn count(counters: &Counters, event: &Event, projection: &RunProjection) {
    match event {
        Event::Reading(reading) => count_reading(counters, reading),
        Event::Finished { snapshot, seconds } => {
            counters.metrics.observe(Metric::SnapshotSeconds, &[], *seconds);
            if projection.readings(snapshot).into_iter().any(is_not_finite) {
                counters.metrics.one(Metric::NonFiniteSnapshots, &[]);
            }
        }
        Event::Checked(checked) => {
            counters.metrics.one(Metric::ModelChecks, &[]);
            counters.metrics.add(Metric::ModelMismatches, &[], f64::from(u8::from(!checked.agrees)));
        }
        Event::Decided(decision) => count_decision(counters, decision, projection),
        _ => {}
    }
}

fn count_reading(counters: &Counters, reading: &Reading) {
    let measure = reading.measure.as_str();
    counters.metrics.one(Metric::Readings, &[measure, reading.outcome.name()]);
    if reading.outcome != Outcome::Skipped {
        counters.metrics.observe(Metric::ReadingSeconds, &[measure], reading.seconds);
        counters.metrics.add(Metric::EngineBusy, &[], reading.seconds);
    }
}

fn count_decision(counters: &Counters, decision: &Decision, projection: &RunProjection) {
    let stops = |advice: Advice| advice == Advice::Stop;
    // The subject is the client's text; rules are few.
    let rule = decision.rule.split(' ').next().unwrap_or_default();
    counters.metrics.one(Metric::Decisions, &[decision.advice.name(), rule]);
    let stopped = projection.standing().decision.as_ref().is_some_and(|before| stops(before.advice));
    if stops(decision.advice) && !stopped {
        counters.metrics.one(Metric::Stops, &[]);
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
    use super::super::{Bounds, EventBus};
    use super::*;
    use clino_domain::{
        DecisionContext, Journal, MeasureRequest, Mode, Precision, Reason, RunId, SnapshotRef, WeightKind,
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

    fn bus() -> (EventBus, RunId, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        let bus = EventBus::new(Bounds::default()).counted(counters.clone());
        let run = RunId("r".into());
        bus.open(crate::store::fixtures::record(&run), DecisionContext::default());
        (bus, run, counters)
    }

    #[test]
    fn a_stop_that_stands_counts_once() {
        let (bus, run, counters) = bus();
        for advice in [Advice::Continue, Advice::Stop, Advice::Stop, Advice::Continue, Advice::Stop] {
            bus.append(&run, decision(advice));
        }
        assert_eq!(counters.metrics.number(Metric::Stops, &[]), 2.0);
        assert_eq!(counters.metrics.number(Metric::Decisions, &["stop", "plateau"]), 3.0);
    }

    #[test]
    fn row_26_a_snapshot_that_is_not_finite_counts_once() {
        let (bus, run, counters) = bus();
        let snapshot = SnapshotRef { step: 1, attempt: 1 };
        bus.append(&run, Event::Accepted { snapshot, kind: WeightKind::Live, initialization: false });
        bus.append(&run, Event::Started { snapshot, readings: 3 });
        for (name, outcome) in [("loss", Outcome::Undefined), ("param_norm", Outcome::Undefined)] {
            let measure = MeasureRequest { name: name.into(), parameters: BTreeMap::new() };
            let blank = Reading::blank(measure, None, snapshot, Precision::F64);
            bus.append(&run, Event::Reading(Box::new(Reading { outcome, ..blank })));
        }
        bus.append(&run, Event::Finished { snapshot, seconds: 0.5 });
        assert_eq!(counters.metrics.number(Metric::NonFiniteSnapshots, &[]), 1.0);
        assert_eq!(counters.metrics.number(Metric::Readings, &["loss", "undefined"]), 1.0);
    }
}
