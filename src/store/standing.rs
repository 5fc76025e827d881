//! How far a run is and how it stands: what stores keep of it in few numbers.
//!
//! Owns: how events change these. May not touch: the events.

use clino_domain::{Decision, Event, Latest, ModelChecked, SnapshotRef};

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Number of snapshots received completely.
    pub accepted: u64,
    /// Number of snapshots that were measured.
    pub measured: u64,
    /// Snapshots that will not be measured.
    pub skipped: u64,
    /// Place of the next event.
    pub next_sequence: u64,
    /// The newest snapshot that was received.
    pub last_accepted: Option<SnapshotRef>,
    /// The newest snapshot that was measured.
    pub last_measured: Option<SnapshotRef>,
}

impl Progress {
    /// Snapshots that were received and neither measured nor skipped.
    pub fn pending(&self) -> u64 {
        self.accepted.saturating_sub(self.measured + self.skipped)
    }

    /// After an event at a place.
    pub fn take(&mut self, sequence: u64, event: &Event) {
        match event {
            Event::Accepted { snapshot, .. } => {
                self.accepted += 1;
                self.last_accepted = Some(*snapshot);
            }
            Event::Skipped { .. } => self.skipped += 1,
            Event::Finished { snapshot, .. } => {
                self.measured += 1;
                self.last_measured = Some(*snapshot);
            }
            // It is told and not kept: the number is free for what comes next.
            Event::Draining => return,
            _ => {}
        }
        self.next_sequence = sequence + 1;
    }
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Standing {
    /// How far it is.
    pub progress: Progress,
    /// The principal numbers of the snapshot that was measured last.
    pub latest: Vec<Latest>,
    /// What its policy said last.
    pub decision: Option<Decision>,
    /// Whether the trainer's model computes what the configuration says.
    pub checked: Option<ModelChecked>,
}

impl Standing {
    /// The newest word counts, but one that failed is not taken back.
    pub fn check(&mut self, checked: &ModelChecked) {
        if self.checked.as_ref().is_none_or(|before| before.agrees) {
            self.checked = Some(checked.clone());
        }
    }

    /// Why the run takes no more snapshots.
    pub fn refusal(&self) -> Option<String> {
        self.checked.as_ref().filter(|checked| !checked.agrees).map(ModelChecked::refusal)
    }
}
