//! Many runs at once: a count of what changes, and what a subject was in each.
//!
//! Owns: the one alarm for all runs. May not touch: what happens to events.

use super::feed::{Hub, lock};
use crate::domain::{Archive, Fault, Point, RunId, Subject};
use std::collections::BTreeSet;
use tokio::sync::watch;

/// What whoever watches many runs is woken by: one channel for all of them, so that an idle fleet costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// Events, and runs that came and went, in this process.
    pub count: u64,
    /// The daemon shuts down: nothing changes any more.
    pub ended: bool,
}

/// What was seen of a subject in one run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    /// One a snapshot, in the order in which they were measured.
    pub points: Vec<Point>,
    /// Whether these are all that were measured: readings of old snapshots are dropped.
    pub whole: bool,
}

impl Hub {
    /// Hears of changes from now on.
    pub fn changes(&self) -> watch::Receiver<Changes> {
        self.changes.subscribe()
    }

    pub(super) fn changed(&self, ended: bool) {
        self.changes.send_modify(|changes| {
            changes.count += 1;
            changes.ended |= ended;
        });
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
    /// [`crate::domain::FaultKind::NotFound`].
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
        let Some((store, kept)) = self.shelf(run)? else { return Ok(None) };
        let report = store.report(&kept, at)?;
        Ok(Some(subject.observe(at, &report.readings.iter().collect::<Vec<_>>())))
    }

    /// A subject on every snapshot of a run whose readings are held. May read from disk.
    ///
    /// # Errors
    /// [`crate::domain::FaultKind::NotFound`].
    pub fn seen(&self, run: &RunId, subject: &Subject) -> Result<Seen, Fault> {
        let mut points = Vec::new();
        if self.store().is_some() {
            let names: BTreeSet<_> = subject.terms.iter().map(|term| term.measure.clone()).collect();
            self.recall(run, &names.into_iter().collect::<Vec<_>>(), &mut |at, readings| {
                points.push(subject.observe(at, &readings.iter().collect::<Vec<_>>()));
            })?;
            return Ok(Seen { points, whole: true });
        }
        let feed = self.feed(run)?;
        let state = lock(&feed.state);
        state.board.show(&mut |at, readings| points.push(subject.observe(at, readings)));
        let whole = points.len() as u64 == state.board.standing().progress.measured;
        Ok(Seen { points, whole })
    }
}
