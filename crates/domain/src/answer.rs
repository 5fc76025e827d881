//! What the daemon answers: opened runs, summaries, receipts, reports.
//!
//! Owns: the shape of these answers. May not touch: how they are sent or kept.

use super::{
    Decision, Delivery, MeasureRequest, ModelChecked, Planned, Policy, Precision, Reading, RunId, RunLabel,
    SnapshotId, SnapshotRef, SnapshotState, TensorSpec, WeightKind,
};
use serde::{Deserialize, Serialize};

/// A run that is open.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenedRun {
    /// Made by the daemon.
    pub run: RunId,
    /// What will be measured, defaults filled in.
    pub measures: Vec<MeasureRequest>,
    /// What each of them will cost, or did on the snapshot that was measured last.
    pub plan: Vec<Planned>,
    /// Precision in which the run is measured; never [`Precision::Auto`].
    pub precision: Precision,
    /// What a snapshot must hold, in the order of the names' bytes.
    pub parameters: Vec<TensorSpec>,
    /// False when the idempotency key found a run that was open before.
    pub created: bool,
    /// What of the request may differ from what its sender expects, a sentence each.
    pub warnings: Vec<String>,
}

/// Bytes that a run takes for one purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryShare {
    /// What they are for.
    pub purpose: String,
    /// How many there are.
    pub bytes: u64,
    /// Whether they are taken only while a snapshot is measured.
    pub measuring: bool,
    /// Whether runs that need the same share them.
    pub shared: bool,
}

/// What a run is and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// Made by the daemon.
    pub run: RunId,
    /// Name of the run, for people; it need not be unique.
    pub name: String,
    /// Architecture of the model, such as `bert`.
    pub model_type: String,
    /// Number of parameters of the model.
    pub parameters: u64,
    /// Names of the probe groups.
    pub groups: Vec<String>,
    /// What is measured, defaults filled in.
    pub measures: Vec<MeasureRequest>,
    /// What each of them will cost, or did on the snapshot that was measured last.
    pub plan: Vec<Planned>,
    /// Seconds that a snapshot may take; what does not fit is skipped. `None`: no limit.
    pub budget: Option<f64>,
    /// Seed of all noise.
    pub seed: u64,
    /// Policy for snapshots that arrive faster than they are measured.
    pub delivery: Delivery,
    /// Precision in which the run is measured; never [`Precision::Auto`].
    pub precision: Precision,
    /// Whether it takes no more snapshots.
    pub closed: bool,
    /// Number of snapshots received completely.
    pub accepted: u64,
    /// Number of snapshots that were measured.
    pub measured: u64,
    /// Snapshots that will not be measured.
    pub skipped: u64,
    /// Snapshots that wait or are being measured.
    pub pending: u64,
    /// Place of the next event.
    pub next_sequence: u64,
    /// Project, experiment and tags of the run.
    pub label: RunLabel,
    /// When it should stop, defaults filled in.
    pub policy: Option<Policy>,
    /// What the policy said last.
    pub decision: Option<Decision>,
    /// The principal numbers of the snapshot that was measured last.
    pub latest: Vec<Latest>,
    /// The newest snapshot that was received.
    pub last_accepted: Option<SnapshotRef>,
    /// The newest snapshot that was measured.
    pub last_measured: Option<SnapshotRef>,
    /// Unix time in seconds.
    pub opened_at: f64,
    /// Whether the trainer's model computes what the configuration says; `None` until that was compared.
    pub checked: Option<ModelChecked>,
    /// Uploads of snapshots that were refused since the daemon started.
    pub refusals: Refusals,
    /// Why its newest snapshot is not being measured yet, a sentence; empty where none waits.
    pub waiting: String,
    /// What it takes of memory; nothing for one that is over.
    pub memory: Vec<MemoryShare>,
}

/// Uploads that were refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusals {
    /// Number of refused uploads.
    pub count: u64,
    /// Why the last one was, a sentence; empty where none was.
    pub last: String,
}

/// The principal number of a measure on a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// Name in the catalogue.
    pub measure: String,
    /// `None` for measures of the weights alone.
    pub group: Option<String>,
    /// `None` where there is none.
    pub value: Option<f64>,
    /// Standard error of the value, if it has one.
    pub stderr: Option<f64>,
}

/// A measure that will not run on a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmeasured {
    /// Name in the catalogue.
    pub measure: String,
    /// Reason, as a sentence.
    pub reason: String,
}

/// The answer to a snapshot that was received whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Made by the daemon.
    pub id: SnapshotId,
    /// Step, and the attempt that it got.
    pub at: SnapshotRef,
    /// SHA-256 of all bytes in manifest order, lower-case hexadecimal.
    pub digest: String,
    /// The measures that will run.
    pub measures: Vec<String>,
    /// The measures that will not.
    pub unmeasured: Vec<Unmeasured>,
    /// The waiting snapshot that this one replaced.
    pub replaced: Option<SnapshotRef>,
    /// Whether the idempotency key found a snapshot received before.
    pub repeated: bool,
    /// What of it may differ from what its sender expects, a sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What the run's policy said last, of the snapshots that were measured before.
    #[serde(skip)]
    pub decision: Option<Box<Decision>>,
}

/// All that is known of one snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The snapshot that the report is about.
    pub snapshot: SnapshotRef,
    /// Which copy of the weights.
    pub kind: WeightKind,
    /// How far it is.
    pub state: SnapshotState,
    /// In the order in which they were made.
    pub readings: Vec<Reading>,
    /// Why it was skipped.
    pub reason: Option<String>,
}
