//! Many runs at once: a count of what changes, and what a subject was in each.
//!
//! Owns: the one alarm for all runs. May not touch: what happens to events.

use super::docket::recall;
use super::feed::lock;
use super::hub::Hub;
use clino_domain::{Fault, Point, RunId, Subject};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

impl Hub {
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
        let feed = self.feed(run).ok()?;
        let state = lock(&feed.state);
        Some(state.board.standing().progress.next_sequence)
    }

    /// A subject on the snapshot of a run that was measured last, if its readings are held. May read from disk.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::NotFound`].
    pub fn newest(&self, run: &RunId, subject: &Subject) -> Result<Option<Point>, Fault> {
        let feed = self.feed(run)?;
        let at = {
            let state = lock(&feed.state);
            let Some(at) = state.board.standing().progress.last_measured else { return Ok(None) };
            let readings = state.board.readings(&at);
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

    /// A subject on every snapshot of a run whose readings are held, in the order in which they were measured. May read
    /// from disk.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::NotFound`].
    pub fn seen(&self, run: &RunId, subject: &Subject) -> Result<Vec<Point>, Fault> {
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
        Case, Event, FaultKind, Journal, MeasureRequest, Precision, Reading, SnapshotRef, WeightKind,
    };

    fn measured(hub: &Hub, run: &RunId, step: u64) {
        let snapshot = SnapshotRef { step, attempt: 1 };
        hub.append(run, Event::Accepted { snapshot, kind: WeightKind::Live, initialization: false });
        hub.append(run, Event::Started { snapshot, readings: 1 });
        let loss = MeasureRequest { name: "loss".into(), parameters: Default::default() };
        let blank = Reading::blank(loss, None, snapshot, Precision::F64);
        hub.append(run, Event::Reading(Box::new(Reading { value: Some(step as f64), ..blank })));
        hub.append(run, Event::Finished { snapshot, seconds: 0.0 });
    }

    #[test]
    fn whatever_happens_is_counted_and_the_end_is_told() {
        let hub = Hub::new(Bounds::default());
        let mut changes = hub.changes();
        let run = RunId("r".into());
        let mut changed = || {
            let changed = changes.has_changed().unwrap();
            changes.mark_unchanged();
            changed
        };
        assert!(!changed());
        hub.open(crate::store::fixtures::record(&run), Case::default());
        assert!(changed() && !changed());
        hub.append(&run, Event::Closed);
        assert!(changed());
        hub.forget(&run);
        assert!(changed());
        assert!(!hub.ended().is_cancelled());
        hub.drain();
        assert!(hub.ended().is_cancelled());
    }

    #[test]
    fn subjects_are_seen_on_what_is_held() {
        let hub = Hub::new(Bounds { reports: 2, ..Bounds::default() });
        let run = RunId("r".into());
        let loss: Subject = "loss".parse().unwrap();
        assert_eq!(hub.newest(&run, &loss).unwrap_err().kind, FaultKind::NotFound);
        assert_eq!(hub.version(&run), None);
        hub.open(crate::store::fixtures::record(&run), Case::default());
        assert_eq!(hub.newest(&run, &loss).unwrap(), None);
        // Whether these are all that were measured: readings of old snapshots are dropped.
        let whole = |points: &[Point]| points.len() as u64 == hub.standing(&run).unwrap().progress.measured;
        assert_eq!(hub.seen(&run, &loss).unwrap(), vec![]);
        assert!(whole(&[]));
        (1..=2).for_each(|step| measured(&hub, &run, step));
        assert!(whole(&hub.seen(&run, &loss).unwrap()));
        assert_eq!(hub.version(&run), Some(8));
        measured(&hub, &run, 3);
        let seen = hub.seen(&run, &loss).unwrap();
        let values: Vec<_> = seen.iter().map(|point| (point.at.step, point.value)).collect();
        assert_eq!((values, whole(&seen)), (vec![(2, 2.0), (3, 3.0)], false));
        assert_eq!(hub.newest(&run, &loss).unwrap().unwrap().value, 3.0);
        let other = hub.newest(&run, &"margin".parse().unwrap()).unwrap().unwrap();
        assert!(!other.counts());
    }
}
