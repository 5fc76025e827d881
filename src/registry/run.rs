//! One run: what was agreed when it opened, and how it stands.
//!
//! Owns: these two structures. May not touch: other runs.

use super::ledger::{Attempts, Receipts};
use crate::domain::{
    Admitted, Counsel, Delivery, Held, ParameterSource, Planned, References, RunId, RunLabel, RunSpec,
    SnapshotRef,
};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// What was agreed; it never changes.
#[derive(Debug)]
pub struct Run {
    /// Made by the daemon.
    pub id: RunId,
    /// For people.
    pub name: String,
    /// Names of the probe groups.
    pub groups: Vec<String>,
    /// Of all noise.
    pub seed: u64,
    /// Policy for snapshots that arrive faster than they are measured.
    pub delivery: Delivery,
    /// Seconds that a snapshot may take.
    pub budget: Option<f64>,
    /// Whose it is.
    pub label: RunLabel,
    /// What decides on it.
    pub counsel: Option<Arc<dyn Counsel>>,
    /// When.
    pub opened_at: SystemTime,
    /// What the examiner made of the specification.
    pub admitted: Admitted,
    /// What each measure cost on the snapshot that was measured last.
    counted: Mutex<Vec<Option<Planned>>>,
    pub(super) key: String,
    pub(super) fingerprint: String,
    /// One place for the snapshot that waits; only [`Delivery::Every`] queues for it.
    pub(super) room: Arc<Semaphore>,
}

impl Run {
    pub(super) fn new(
        key: String,
        fingerprint: String,
        spec: RunSpec,
        admitted: Admitted,
        counsel: Option<Arc<dyn Counsel>>,
    ) -> Self {
        Self {
            id: RunId(Uuid::now_v7().to_string()),
            name: spec.name,
            groups: spec.groups.into_iter().map(|group| group.name).collect(),
            seed: spec.seed,
            delivery: spec.delivery,
            budget: spec.budget,
            label: spec.label,
            counsel,
            opened_at: SystemTime::now(),
            counted: Mutex::new(vec![None; admitted.measures.len()]),
            admitted,
            key,
            fingerprint,
            room: Arc::new(Semaphore::new(1)),
        }
    }

    /// What each measure will cost, or did on the snapshot that was measured last.
    pub fn plan(&self) -> Vec<Planned> {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = self.admitted.plan.iter().zip(&*counted);
        lines.map(|(planned, counted)| counted.unwrap_or(*planned)).collect()
    }

    /// Keeps what measures cost on the snapshot that was measured last; a measure that was skipped keeps its line.
    pub fn count(&self, costs: &[Option<Planned>]) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.iter_mut().zip(costs).for_each(|(line, cost)| *line = cost.or(*line));
    }

    /// Number of parameters of the model.
    pub fn parameter_count(&self) -> u64 {
        self.admitted.layout.parameters().iter().filter_map(|spec| spec.numel()).sum()
    }
}

/// How it stands.
#[derive(Debug, Default)]
pub(super) struct State {
    pub closed: bool,
    /// The closing event is out.
    pub ended: bool,
    pub attempts: Attempts,
    pub receipts: Receipts,
    pub waiting: Option<Waiting>,
    /// In the engine.
    pub measuring: Option<SnapshotRef>,
    pub init: Option<Arc<dyn Held>>,
    pub previous: Option<Arc<dyn Held>>,
    /// Whether any snapshot was received.
    pub begun: bool,
}

impl State {
    /// Closed, and nothing left to measure.
    pub fn is_over(&self) -> bool {
        self.closed && self.waiting.is_none() && self.measuring.is_none()
    }

    /// What the next snapshot is compared with.
    pub fn references(&self) -> References {
        let source = |held: &Option<Arc<dyn Held>>| held.clone().map(|held| held as Arc<dyn ParameterSource>);
        References { init: source(&self.init), previous: source(&self.previous) }
    }

    pub fn forget_references(&mut self) {
        (self.init, self.previous) = (None, None);
    }
}

/// A received snapshot with what it is compared with.
#[derive(Debug)]
pub(super) struct Waiting {
    pub held: Arc<dyn Held>,
    pub references: References,
    /// The place it takes; the next pusher gets it when this drops.
    pub _room: Option<OwnedSemaphorePermit>,
}
