//! What is known of each snapshot of one run: a projection of its events.
//!
//! Owns: records and their bounds. May not touch: the order of events (that is the log's).

use super::log::{Bounds, claimed, weight};
use crate::store::Standing;
use clino_domain::budget::Claim;
use clino_domain::{
    Event, Fault, FaultKind, Latest, Reading, Report, Sequenced, SnapshotRef, SnapshotState, WeightKind,
};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

#[derive(Debug)]
struct SnapshotRecord {
    kind: WeightKind,
    state: SnapshotState,
    reason: Option<String>,
    /// Whether its readings are too old to be held.
    cleared: bool,
    /// Shared with the log.
    readings: Vec<Arc<Sequenced>>,
}

impl SnapshotRecord {
    fn readings(&self) -> impl Iterator<Item = &Reading> {
        self.readings.iter().filter_map(|sequenced| match &sequenced.event {
            Event::Reading(reading) => Some(&**reading),
            _ => None,
        })
    }
}

/// The newest snapshots: all their states, and the readings of the very newest.
#[derive(Debug)]
pub(super) struct RunProjection {
    bounds: Bounds,
    records: HashMap<SnapshotRef, SnapshotRecord>,
    /// In order of receipt.
    order: VecDeque<SnapshotRef>,
    /// Those with readings, in the order in which their measurement began.
    reported: VecDeque<SnapshotRef>,
    /// About how many bytes its readings take.
    bytes: usize,
    /// On these bytes; fewer where memory is short.
    claim: Claim,
    standing: Standing,
}

impl RunProjection {
    /// Of a run that stands like this, with no snapshot in the projection yet; `claim` grows with it.
    pub fn new(bounds: Bounds, standing: Standing, claim: Claim) -> Self {
        Self {
            bounds,
            records: HashMap::new(),
            order: VecDeque::new(),
            reported: VecDeque::new(),
            bytes: 0,
            claim,
            standing,
        }
    }

    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Takes in what happened.
    pub fn apply(&mut self, sequenced: &Arc<Sequenced>) {
        self.standing.progress.take(sequenced.sequence, &sequenced.event);
        match &sequenced.event {
            Event::Accepted { snapshot, kind, .. } => self.accept(*snapshot, *kind),
            Event::Skipped { snapshot, reason } => {
                self.change(snapshot, SnapshotState::Skipped, Some(reason));
            }
            Event::Started { snapshot, .. } => {
                self.reported.push_back(*snapshot);
                self.change(snapshot, SnapshotState::Measuring, None);
            }
            Event::Reading(reading) => self.read(reading, sequenced),
            Event::Finished { snapshot, .. } => {
                self.change(snapshot, SnapshotState::Measured, None);
                self.summarize(snapshot);
            }
            Event::Decided(decision) => self.standing.decision = Some((**decision).clone()),
            Event::Checked(checked) => self.standing.check(checked),
            Event::Gap { .. } | Event::Closed | Event::Draining => {}
        }
    }

    fn accept(&mut self, at: SnapshotRef, kind: WeightKind) {
        let record = SnapshotRecord {
            kind,
            state: SnapshotState::Waiting,
            reason: None,
            cleared: false,
            readings: Vec::new(),
        };
        self.records.insert(at, record);
        self.order.push_back(at);
        if self.order.len() > self.bounds.records
            && let Some(oldest) = self.order.pop_front()
        {
            self.clear(&oldest);
            self.records.remove(&oldest);
        }
    }

    fn change(&mut self, at: &SnapshotRef, state: SnapshotState, reason: Option<&String>) {
        if let Some(record) = self.records.get_mut(at) {
            record.state = state;
            record.reason = reason.cloned();
        }
    }

    fn read(&mut self, reading: &Reading, sequenced: &Arc<Sequenced>) {
        let Some(record) = self.records.get_mut(&reading.snapshot) else { return };
        record.readings.push(sequenced.clone());
        self.bytes += weight(&sequenced.event);
        while self.reported.len() > 1
            && (self.reported.len() > self.bounds.reports
                || self.bytes > self.bounds.bytes
                || !claimed(&mut self.claim, self.bytes))
        {
            if let Some(oldest) = self.reported.pop_front() {
                self.clear(&oldest);
            }
        }
        claimed(&mut self.claim, self.bytes);
    }

    /// Its principal numbers become the latest.
    fn summarize(&mut self, at: &SnapshotRef) {
        let Some(record) = self.records.get(at) else { return };
        let latest = record.readings().map(|reading| Latest {
            measure: reading.measure.clone(),
            group: reading.group.clone(),
            value: reading.value,
            stderr: reading.estimate.and_then(|estimate| estimate.stderr),
        });
        self.standing.latest = latest.collect();
    }

    /// Readings of one snapshot that are held.
    pub fn readings(&self, at: &SnapshotRef) -> Vec<&Reading> {
        self.records.get(at).map_or_else(Vec::new, |record| record.readings().collect())
    }

    /// Hands over readings of some measures of every snapshot that is measured and held, in the order of measurement.
    pub fn recall(&self, measures: &[String], with: &mut dyn FnMut(SnapshotRef, &[&Reading])) {
        let wanted = |reading: &&Reading| measures.contains(&reading.measure);
        for at in &self.reported {
            let record = self.records.get(at).filter(|record| record.state == SnapshotState::Measured);
            if let Some(record) = record {
                with(*at, &record.readings().filter(wanted).collect::<Vec<_>>());
            }
        }
    }

    /// Drops the readings of a snapshot.
    fn clear(&mut self, at: &SnapshotRef) {
        let Some(record) = self.records.get_mut(at) else { return };
        for reading in record.readings.drain(..) {
            self.bytes -= weight(&reading.event);
            record.cleared = true;
        }
    }

    /// What is known of one snapshot, or of the one that was measured last.
    pub fn report(&self, at: Option<SnapshotRef>) -> Result<Report, Fault> {
        let none = || Fault::new(FaultKind::NotFound, "no snapshot of this run has been measured yet");
        let at = at.or(self.standing.progress.last_measured).ok_or_else(none)?;
        let record = self.records.get(&at).ok_or_else(|| {
            let description = format!("found step {} attempt {}, which is not stored", at.step, at.attempt);
            Fault::field(FaultKind::NotFound, "snapshot", description)
        })?;
        let too_old = || record.cleared.then(|| "its readings are too old to be held".to_owned());
        Ok(Report {
            snapshot: at,
            kind: record.kind,
            state: record.state,
            readings: record.readings().cloned().collect(),
            reason: record.reason.clone().or_else(too_old),
        })
    }

    /// The snapshot that is meant, if this is not all that is known of it: what is not here lies in the history.
    pub fn elsewhere(&self, at: Option<SnapshotRef>) -> Option<SnapshotRef> {
        let at = at.or(self.standing.progress.last_measured)?;
        let whole = self.records.get(&at).is_some_and(|record| !record.cleared);
        (!whole).then_some(at)
    }
}
