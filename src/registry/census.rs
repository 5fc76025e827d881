//! How many runs there are, and what they do.
//!
//! Owns: these counts. May not touch: the runs.

use super::Registry;
use std::collections::BTreeMap;

/// Every run counts once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// Open, with nothing to measure.
    pub idle: usize,
    /// With a snapshot that waits, and none in the engine.
    pub waiting: usize,
    /// With a snapshot in the engine.
    pub measuring: usize,
    /// Closed and measured.
    pub closed: usize,
    /// Snapshots that wait.
    pub snapshots_waiting: usize,
    /// Runs that are not closed, by project.
    pub open: BTreeMap<String, usize>,
}

impl Registry {
    /// All runs as they are now.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for entry in self.lock().runs.values() {
            let state = &entry.state;
            census.snapshots_waiting += usize::from(state.waiting.is_some());
            let count = match (state.measuring.is_some(), state.waiting.is_some(), state.closed) {
                (true, _, _) => &mut census.measuring,
                (false, true, _) => &mut census.waiting,
                (false, false, true) => &mut census.closed,
                (false, false, false) => &mut census.idle,
            };
            *count += 1;
            if !state.closed {
                *census.open.entry(entry.run.label.project.clone()).or_default() += 1;
            }
        }
        census
    }

    /// Most runs.
    pub fn limit(&self) -> usize {
        self.most_runs
    }
}
