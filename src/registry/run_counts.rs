//! How many runs there are, and what they do.
//!
//! Owns: these counts. May not touch: the runs.

use super::Registry;
use std::collections::BTreeMap;

/// Every run counts once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunCounts {
    /// Open, with nothing to measure.
    pub idle: usize,
    /// With a snapshot that waits, and none in the engine.
    pub waiting: usize,
    /// With a snapshot in the engine.
    pub measuring: usize,
    /// Closed, with nothing left to measure.
    pub closed: usize,
    /// Number of snapshots that wait, over all runs.
    pub snapshots_waiting: usize,
    /// Runs that are not closed, by project.
    pub open: BTreeMap<String, usize>,
}

impl RunCounts {
    /// Runs that are open or still to be measured: these are never forgotten for others.
    pub fn unfinished(&self) -> usize {
        self.idle + self.waiting + self.measuring
    }
}

impl Registry {
    /// All runs as they are now.
    pub fn run_counts(&self) -> RunCounts {
        let mut run_counts = RunCounts::default();
        for entry in self.lock().runs.values() {
            let state = &entry.state;
            run_counts.snapshots_waiting += usize::from(state.waiting.is_some());
            let count = match (state.measuring.is_some(), state.waiting.is_some(), state.closed) {
                (true, _, _) => &mut run_counts.measuring,
                (false, true, _) => &mut run_counts.waiting,
                (false, false, true) => &mut run_counts.closed,
                (false, false, false) => &mut run_counts.idle,
            };
            *count += 1;
            if !state.closed {
                *run_counts.open.entry(entry.run.label.project.clone()).or_default() += 1;
            }
        }
        run_counts
    }

    /// Maximum number of runs that the daemon holds.
    pub fn limit(&self) -> usize {
        self.most_runs
    }
}
