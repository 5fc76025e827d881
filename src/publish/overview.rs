//! Many runs at once: a count of what changes, and what a subject was in each.
//!
//! Owns: the one alarm for all runs. May not touch: what happens to events.

use super::decision_store::recall;
use super::event_bus::EventBus;
use super::lock::lock;
use clino_domain::{Fault, Outcome, RunId, SeriesPoint, SnapshotRef, Subject};
use std::collections::BTreeSet;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A snapshot that was not measured to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutShort {
    /// Which one.
    pub at: SnapshotRef,
    /// The measures that were left out, each once.
    pub measures: Vec<String>,
}

impl EventBus {
    /// Counts what happens in all runs: events, and runs that come and go. One channel wakes whoever watches many of them,
    /// so that an idle fleet costs nothing.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Cancelled once the daemon shuts down and nothing changes any more.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Place of the next event of a run: more than before whenever it has changed. `None` for one that is not held.
    pub fn version(&self, run: &RunId) -> Option<u64> {
        let stream = self.stream(run).ok()?;
        let state = lock(&stream.state);
        Some(state.projection.standing().progress.next_sequence)
    }

    /// A subject on the snapshot of a run that was measured last, if its readings are held. May read from disk.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::NotFound`].
    pub fn newest(&self, run: &RunId, subject: &Subject) -> Result<Option<SeriesPoint>, Fault> {
        let stream = self.stream(run)?;
        let at = {
            let state = lock(&stream.state);
            let Some(at) = state.projection.standing().progress.last_measured else { return Ok(None) };
            let readings = state.projection.readings(&at);
            if !readings.is_empty() {
                return Ok(Some(subject.observe(at, &readings)));
            }
            at
        };
        // Of an earlier process, perhaps.
        let Some(store) = self.store() else { return Ok(None) };
        let report = store.report(run, at)?;
        Ok(Some(subject.observe(at, &report.readings.iter().collect::<Vec<_>>())))
    }

    /// The snapshot of a run that was measured last, and the measures that its budget of seconds left out there. Only what is
    /// held in memory.
    pub fn cut_short(&self, run: &RunId) -> Option<CutShort> {
        let stream = self.stream(run).ok()?;
        let state = lock(&stream.state);
        let at = state.projection.standing().progress.last_measured?;
        let readings = state.projection.readings(&at);
        let skipped = readings.iter().filter(|reading| reading.outcome == Outcome::Skipped);
        let measures: BTreeSet<String> = skipped.map(|reading| reading.measure.clone()).collect();
        (!measures.is_empty()).then(|| CutShort { at, measures: measures.into_iter().collect() })
    }

    /// A subject on every snapshot of a run whose readings are held, in the order in which they were measured. May read
    /// from disk.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::NotFound`].
    pub fn seen(&self, run: &RunId, subject: &Subject) -> Result<Vec<SeriesPoint>, Fault> {
        let found = recall(run, std::slice::from_ref(subject), None, self)?;
        Ok(found.into_iter().flat_map(|(_, points)| points).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::publish::Bounds;
    use clino_domain::{
        DecisionContext, Event, FaultKind, Journal, MeasureRequest, Precision, Reading, WeightKind,
    };

    fn measured(bus: &EventBus, run: &RunId, step: u64) {
        let snapshot = SnapshotRef { step, attempt: 1 };
        bus.append(run, Event::Accepted { snapshot, kind: WeightKind::Live, initialization: false });
        bus.append(run, Event::Started { snapshot, readings: 1 });
        let loss = MeasureRequest { name: "loss".into(), parameters: Default::default() };
        let blank = Reading::blank(loss, None, snapshot, Precision::F64);
        bus.append(run, Event::Reading(Box::new(Reading { value: Some(step as f64), ..blank })));
        bus.append(run, Event::Finished { snapshot, seconds: 0.0 });
    }

    #[test]
    fn whatever_happens_is_counted_and_the_end_is_told() {
        let bus = EventBus::new(Bounds::default());
        let mut changes = bus.changes();
        let run = RunId("r".into());
        let mut changed = || {
            let changed = changes.has_changed().unwrap();
            changes.mark_unchanged();
            changed
        };
        assert!(!changed());
        bus.open(crate::store::fixtures::record(&run), DecisionContext::default());
        assert!(changed() && !changed());
        bus.append(&run, Event::Closed);
        assert!(changed());
        bus.forget(&run);
        assert!(changed());
        assert!(!bus.ended().is_cancelled());
        bus.drain();
        assert!(bus.ended().is_cancelled());
    }

    #[test]
    fn subjects_are_seen_on_what_is_held() {
        let bus = EventBus::new(Bounds { reports: 2, ..Bounds::default() });
        let run = RunId("r".into());
        let loss: Subject = "loss".parse().unwrap();
        assert_eq!(bus.newest(&run, &loss).unwrap_err().kind, FaultKind::NotFound);
        assert_eq!(bus.version(&run), None);
        bus.open(crate::store::fixtures::record(&run), DecisionContext::default());
        assert_eq!(bus.newest(&run, &loss).unwrap(), None);
        // Whether these are all that were measured: readings of old snapshots are dropped.
        let whole =
            |points: &[SeriesPoint]| points.len() as u64 == bus.standing(&run).unwrap().progress.measured;
        assert_eq!(bus.seen(&run, &loss).unwrap(), vec![]);
        assert!(whole(&[]));
        (1..=2).for_each(|step| measured(&bus, &run, step));
        assert!(whole(&bus.seen(&run, &loss).unwrap()));
        assert_eq!(bus.version(&run), Some(8));
        measured(&bus, &run, 3);
        let seen = bus.seen(&run, &loss).unwrap();
        let values: Vec<_> = seen.iter().map(|point| (point.at.step, point.value)).collect();
        assert_eq!((values, whole(&seen)), (vec![(2, 2.0), (3, 3.0)], false));
        assert_eq!(bus.newest(&run, &loss).unwrap().unwrap().value, 3.0);
        let other = bus.newest(&run, &"margin".parse().unwrap()).unwrap().unwrap();
        assert!(!other.counts());
    }
}
