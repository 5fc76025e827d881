//! What happens in a run, in order.
//!
//! Owns: the events that watchers see. May not touch: who watches.

use super::{Decision, ModelChecked, Reading, SnapshotRef, WeightKind};

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A snapshot was received whole.
    Accepted {
        /// The snapshot that was received.
        snapshot: SnapshotRef,
        /// Which copy of the weights.
        kind: WeightKind,
        /// Whether it is the reference of distances.
        initialization: bool,
    },
    /// A snapshot will not be measured.
    Skipped {
        /// The snapshot that is left out.
        snapshot: SnapshotRef,
        /// Reason, as a sentence.
        reason: String,
    },
    /// The engine took it up.
    Started {
        /// The snapshot that is measured now.
        snapshot: SnapshotRef,
        /// How many readings will follow.
        readings: u32,
    },
    /// The trainer's model was compared with its configuration; before the readings.
    Checked(Box<ModelChecked>),
    /// A reading of a snapshot.
    Reading(Box<Reading>),
    /// All its readings are made.
    Finished {
        /// The snapshot whose readings are complete.
        snapshot: SnapshotRef,
        /// Wall time from start to finish.
        seconds: f64,
    },
    /// What the policy says, where that is news: another advice, reason or rule, or an override.
    Decided(Box<Decision>),
    /// Events that were dropped before this watcher read them.
    Gap {
        /// Number of lost events.
        lost: u64,
    },
    /// No more snapshots, and all are measured. The last event of a run, unless its trainer goes on with it.
    Closed,
    /// The daemon shuts down. The last event of a stream.
    Draining,
}

/// An event with its place in the run's order: from 0, without holes.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequenced {
    /// Sequence number of the event in its run.
    pub sequence: u64,
    /// The event with this sequence number.
    pub event: Event,
}
