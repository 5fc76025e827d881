//! What is kept of runs and snapshots beside their events, so that they outlive the process.
//!
//! Owns: the shape of what is kept. May not touch: where it lies.

use super::graph::ModelReader;
use super::{
    Delivery, Fault, Layout, MeasureRequest, ParameterSource, Planned, Policy, Precision, ProbeGroup,
    Receipt, RunId, RunLabel, RunSpec, SnapshotHeader, SnapshotRef, Tensor,
};
use bytes::Bytes;
use std::fmt::Debug;
use std::sync::Arc;

/// A run as it opened; it never changes.
#[derive(Debug, Clone)]
pub struct RunRecord {
    /// Made by the daemon.
    pub id: RunId,
    /// The idempotency key that opened it.
    pub key: String,
    /// Of everything that its client said.
    pub fingerprint: String,
    /// Name of the run, for people; it need not be unique.
    pub name: String,
    /// Project, experiment and tags of the run.
    pub label: RunLabel,
    /// Architecture of the model, such as `bert`.
    pub model_type: String,
    /// Number of parameters of the model.
    pub parameters: u64,
    /// Text of a config.json; empty beside a model.
    pub config_json: String,
    /// The message of the model that was sent in its place.
    pub model: Option<Bytes>,
    /// The probe groups, in their order.
    pub groups: Vec<PersistedGroup>,
    /// What is measured, defaults filled in.
    pub measures: Vec<MeasureRequest>,
    /// What each of them was planned to cost.
    pub plan: Vec<Planned>,
    /// Seed of all noise.
    pub seed: u64,
    /// Policy for snapshots that arrive faster than they are measured.
    pub delivery: Delivery,
    /// Precision in which the run is measured; never [`Precision::Auto`].
    pub precision: Precision,
    /// Seconds that a snapshot may take.
    pub budget: Option<f64>,
    /// Whether it is measured on GPUs or not at all.
    pub gpu_only: bool,
    /// When it should stop, defaults filled in.
    pub policy: Option<Policy>,
    /// Unix time in seconds.
    pub opened_at: f64,
}

impl RunRecord {
    /// What its client asked for, with probe groups that were read back; `read` reads its model.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn specification(self, groups: Vec<ProbeGroup>, read: ModelReader) -> Result<RunSpec, Fault> {
        let model = self.model.map(read).transpose()?.map(Arc::new);
        Ok(RunSpec {
            name: self.name,
            config_json: self.config_json,
            model,
            groups,
            measures: self.measures,
            seed: self.seed,
            delivery: self.delivery,
            precision: self.precision,
            budget: self.budget,
            gpu_only: self.gpu_only,
            label: self.label,
            policy: self.policy,
        })
    }
}

/// A probe group by the digest of its content.
#[derive(Debug, Clone)]
pub struct PersistedGroup {
    /// Unique in its run.
    pub name: String,
    /// SHA-256 of the tensors, lower-case hexadecimal.
    pub digest: String,
    /// The tensors; `None` where they are read back when they are needed.
    pub tensors: Option<Arc<Vec<Tensor>>>,
}

/// A run of an earlier process.
#[derive(Debug, Clone)]
pub struct PersistedRun {
    /// The run as it was opened.
    pub record: RunRecord,
    /// Whether it takes no more snapshots.
    pub closed: bool,
    /// Whether it may be opened again.
    pub resumable: bool,
    /// Whether any snapshot was received.
    pub begun: bool,
}

/// A snapshot that was received whole.
#[derive(Debug)]
pub struct Acceptance {
    /// Step, attempt and kind of the snapshot.
    pub header: SnapshotHeader,
    /// What its client gets.
    pub receipt: Receipt,
    /// Idempotency key, and the fingerprint of what it announced.
    pub key: Option<(String, String)>,
    /// Its parameters, if later snapshots are compared with it as the initialization.
    pub reference: Option<Reference>,
}

/// Parameters in the order of a layout.
#[derive(Debug)]
pub struct Reference {
    /// Names and shapes of the tensors.
    pub layout: Arc<dyn Layout>,
    /// Source of the bytes.
    pub source: Arc<dyn ParameterSource>,
}

/// So many receipts of a run are remembered: a client repeats what it sent last, if anything.
pub const MOST_RECEIPTS: usize = 32;

/// What a run remembers of its snapshots.
#[derive(Debug, Clone, Default)]
pub struct IdempotencyRecord {
    /// Attempts that are taken, oldest first.
    pub attempts: Vec<SnapshotRef>,
    /// Idempotency key, fingerprint and receipt, oldest first.
    pub receipts: Vec<(String, String, Receipt)>,
}

/// Whoever has kept the runs of earlier processes. Reads from disk: not for asynchronous threads.
pub trait Vault: Send + Sync + Debug {
    /// What a run was asked to be, as far as it was settled when it opened; `read` reads its model.
    ///
    /// # Errors
    /// If it cannot be read back.
    fn specification(&self, run: &RunId, read: ModelReader) -> Result<RunSpec, Fault>;

    /// The newest snapshots of a run.
    ///
    /// # Errors
    /// If it cannot be read back.
    fn idempotency(&self, run: &RunId) -> Result<IdempotencyRecord, Fault>;

    /// The initialization, if it is kept.
    ///
    /// # Errors
    /// If it cannot be read back.
    fn initialization(
        &self,
        run: &RunId,
        layout: &dyn Layout,
    ) -> Result<Option<Arc<dyn ParameterSource>>, Fault>;
}
