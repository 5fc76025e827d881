//! One run: what was agreed when it opened, and how it stands.
//!
//! Owns: these two structures. May not touch: other runs.

use super::idempotency::{Attempts, Receipts};
use clino_domain::{
    Delivery, Fault, FaultKind, MeasureRequest, ModelCheck, ParameterSource, PersistedGroup, Planned,
    PolicyEvaluator, Precision, ProbeGroup, ReceivedSnapshot, References, Refusals, RunId, RunLabel,
    RunRecord, RunSpec, SnapshotRef, Stop, ValidatedRun,
};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use uuid::Uuid;

/// What was agreed; it never changes.
#[derive(Debug)]
pub struct RegisteredRun {
    /// Made by the daemon.
    pub id: RunId,
    /// The run's name, for people.
    pub name: String,
    /// Names of the probe groups.
    pub groups: Vec<String>,
    /// The seed of all noise.
    pub seed: u64,
    /// Policy for snapshots that arrive faster than they are measured.
    pub delivery: Delivery,
    /// Seconds that a snapshot may take.
    pub budget: Option<f64>,
    /// Project, experiment and tags of the run.
    pub label: RunLabel,
    /// What decides on it.
    pub evaluator: Option<Arc<dyn PolicyEvaluator>>,
    /// When the run was opened.
    pub opened_at: SystemTime,
    /// The model type of the configuration, such as `bert`.
    pub model_type: String,
    /// Number of parameters of the model.
    pub parameter_count: u64,
    /// What is measured, defaults filled in, from the cheapest to the most expensive.
    pub measures: Vec<MeasureRequest>,
    /// The engine's precision, never [`Precision::Auto`].
    pub precision: Precision,
    /// What the validator made of the specification. It takes memory: a run has it while it is open or measured, and one of
    /// an earlier process gets it when it is needed.
    validated: Mutex<Option<Arc<ValidatedRun>>>,
    /// What each measure was planned to cost.
    planned: Vec<Planned>,
    /// What each measure cost on the snapshot that was measured last.
    counted: Mutex<Vec<Option<Planned>>>,
    /// Uploads that this process refused.
    refusals: Mutex<Refusals>,
    pub(super) key: String,
    pub(super) fingerprint: String,
    /// One place for the snapshot that waits; only [`Delivery::Every`] queues for it.
    pub(super) room: Arc<Semaphore>,
    /// Whether it takes no more snapshots: wakes who waits for room.
    pub(super) closed: watch::Sender<bool>,
}

impl RegisteredRun {
    /// A run that is not validated yet.
    pub(super) fn of(record: &RunRecord, evaluator: Option<Arc<dyn PolicyEvaluator>>) -> Self {
        let since = Duration::try_from_secs_f64(record.opened_at).unwrap_or_default();
        Self {
            id: record.id.clone(),
            name: record.name.clone(),
            groups: record.groups.iter().map(|group| group.name.clone()).collect(),
            seed: record.seed,
            delivery: record.delivery,
            budget: record.budget,
            label: record.label.clone(),
            evaluator,
            opened_at: UNIX_EPOCH + since,
            model_type: record.model_type.clone(),
            parameter_count: record.parameters,
            measures: record.measures.clone(),
            precision: record.precision,
            validated: Mutex::default(),
            planned: record.plan.clone(),
            counted: Mutex::new(vec![None; record.measures.len()]),
            refusals: Mutex::default(),
            key: record.key.clone(),
            fingerprint: record.fingerprint.clone(),
            room: Arc::new(Semaphore::new(1)),
            closed: watch::Sender::new(false),
        }
    }

    /// Its project and the idempotency key that opened it there.
    pub(super) fn keyed(&self) -> (String, String) {
        (self.label.project.clone(), self.key.clone())
    }

    /// What the validator made of the specification.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Precondition`] for a run that is over, and for one of an earlier process that nobody has
    /// sent a snapshot yet: every announcement sees to it.
    pub fn validated(&self) -> Result<Arc<ValidatedRun>, Fault> {
        self.validated.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)
    }

    /// Keeps what the validator made of it, or gives it up.
    pub(super) fn set_validated(&self, validated: Option<Arc<ValidatedRun>>) {
        *self.validated.lock().unwrap_or_else(PoisonError::into_inner) = validated;
    }

    /// What each measure will cost, or did on the snapshot that was measured last.
    pub fn plan(&self) -> Vec<Planned> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = self.planned.iter().zip(&*counted);
        lines.map(|(planned, counted)| counted.unwrap_or(*planned)).collect()
    }

    /// Keeps what measures cost on the snapshot that was measured last; a measure that was skipped keeps its line.
    pub fn count(&self, costs: &[Option<Planned>]) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.iter_mut().zip(costs).for_each(|(line, cost)| *line = cost.or(*line));
    }

    /// Remembers that an upload was refused, and why.
    pub fn refuse(&self, why: &str) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals = Refusals { count: refusals.count + 1, last: why.to_owned() };
    }

    /// Uploads that this process refused.
    pub fn refusals(&self) -> Refusals {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Said to whoever sends to a run that takes nothing more.
pub(super) fn closed() -> Fault {
    let description = "found a closed run, which takes no more snapshots: open another one, or reopen this one with \
                      resume if its trainer closed it";
    Fault::field(FaultKind::Precondition, "run_id", description)
}

/// A new run as it is kept; `digests` are those of its probe groups.
pub(super) fn record(
    (key, fingerprint): (String, String),
    spec: &RunSpec,
    digests: Vec<String>,
    validated: &ValidatedRun,
    evaluator: Option<&dyn PolicyEvaluator>,
) -> RunRecord {
    let group = |(group, digest): (&ProbeGroup, String)| PersistedGroup {
        name: group.name.clone(),
        digest,
        tensors: Some(group.tensors.clone()),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    RunRecord {
        id: RunId(Uuid::now_v7().to_string()),
        key,
        fingerprint,
        name: spec.name.clone(),
        label: spec.label.clone(),
        model_type: validated.model_type.clone(),
        parameters: validated.parameter_count(),
        config_json: spec.config_json.clone(),
        model: spec.model.as_ref().map(|model| model.bytes.clone()),
        groups: spec.groups.iter().zip(digests).map(group).collect(),
        measures: validated.measures.clone(),
        plan: validated.plan.clone(),
        seed: spec.seed,
        delivery: spec.delivery,
        precision: validated.precision,
        budget: spec.budget,
        gpu_only: spec.gpu_only,
        policy: evaluator.map(|evaluator| evaluator.policy().clone()),
        opened_at: now.map_or(0.0, |since| since.as_secs_f64()),
    }
}

/// The changing state of a run.
#[derive(Debug, Default)]
pub(super) struct RunStatus {
    pub closed: bool,
    /// Its trainer closed it, and nobody else since: it may go on.
    pub resumable: bool,
    /// It was opened again, and has received nothing since.
    pub reopened: bool,
    /// The closing event is out.
    pub ended: bool,
    pub attempts: Attempts,
    pub receipts: Receipts,
    pub waiting: Option<Waiting>,
    /// The snapshot that the engine has.
    pub measuring: Option<Measuring>,
    /// Bytes of memory that the one that waits needs, and that are not free.
    pub short_of: Option<u64>,
    pub init: Option<Arc<dyn ParameterSource>>,
    pub previous: Option<Arc<dyn ReceivedSnapshot>>,
    /// Whether any snapshot was received.
    pub begun: bool,
    /// When this process received the last one.
    pub received: Option<Instant>,
    /// What of an earlier process has not been read back yet.
    pub unread: Unread,
}

/// What a run of an earlier process has on disk and not in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unread {
    /// Whether attempts and receipts have not been read back yet.
    pub idempotency: bool,
    /// Whether the initialization has not been read back yet.
    pub initialization: bool,
}

impl RunStatus {
    /// Closed, and nothing left to measure.
    pub fn is_over(&self) -> bool {
        self.closed && self.waiting.is_none() && self.measuring.is_none()
    }

    /// What the next snapshot is compared with.
    pub fn references(&self) -> References {
        let previous = self.previous.clone().map(|held| held as Arc<dyn ParameterSource>);
        References { init: self.init.clone(), previous }
    }

    pub fn forget_references(&mut self) {
        (self.init, self.previous) = (None, None);
    }
}

/// A received snapshot with what it is compared with.
#[derive(Debug)]
pub(super) struct Waiting {
    pub held: Arc<dyn ReceivedSnapshot>,
    pub references: References,
    pub check: Option<ModelCheck>,
    /// When it was received.
    pub since: Instant,
    /// The place it takes; the next pusher gets it when this drops.
    pub _room: Option<OwnedSemaphorePermit>,
}

/// A snapshot that the engine has.
#[derive(Debug)]
pub(super) struct Measuring {
    pub at: SnapshotRef,
    pub since: Instant,
    pub stop: Stop,
}
