//! What the services share: whom they ask, and whether uploads are still welcome.
//!
//! Owns: the drain of uploads. May not touch: what is asked.

use super::upload_workers::UploadWorkers;
use crate::access::{Authenticator, Hold};
use crate::assembly::Spool;
use crate::doctor::Doctor;
use crate::publish::{EventBus, Progress, Standing};
use crate::registry::{ProbeStore, RegisteredRun, Registry};
use clino_domain::budget::Budget;
use clino_domain::counters::Counters;
use clino_domain::{Fault, FaultKind, Journal, MemoryPart, MemoryShare, RunFootprint, RunId, RunSummary};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// What the services share.
#[derive(Clone)]
pub struct Services {
    /// Finds out who calls.
    pub authenticator: Arc<Authenticator>,
    /// Runs and their snapshots.
    pub registry: Arc<Registry>,
    /// Events and reports of all runs.
    pub bus: Arc<EventBus>,
    /// Stored probes, by their digest.
    pub probes: Arc<ProbeStore>,
    /// Memory of the process.
    pub budget: Budget,
    /// The files that hold waiting snapshots.
    pub spool: Spool,
    /// The threads that take the bytes of uploads.
    pub upload_workers: UploadWorkers,
    /// How the daemon ends.
    pub drain: Drain,
    /// Counters of the daemon.
    pub counters: Arc<Counters>,
    /// Finds out what is wrong.
    pub doctor: Arc<Doctor>,
    /// How long an upload may send nothing.
    pub patience: Duration,
}

/// How uploads learn that the daemon ends, and the daemon that uploads have ended.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    /// Cancelled: no new uploads, and open ones must hurry.
    pub refusing: CancellationToken,
    /// Cancelled: open uploads end now.
    pub aborting: CancellationToken,
    /// Knows the open uploads.
    pub open: TaskTracker,
}

/// How long an open upload may send nothing once the daemon drains.
const HURRIED: Duration = Duration::from_secs(1);

impl Drain {
    /// An upload that is known until the token drops.
    ///
    /// # Errors
    /// [`FaultKind::Unavailable`] once the daemon drains.
    pub fn enter(&self) -> Result<TaskTrackerToken, Fault> {
        match self.refusing.is_cancelled() {
            true => Err(Self::over()),
            false => Ok(self.open.token()),
        }
    }

    /// Why an upload ends.
    pub fn over() -> Fault {
        Fault::new(FaultKind::Unavailable, "the daemon shuts down")
    }

    /// Waits until an upload has been silent for too long, or must end.
    pub async fn silence(&self, patience: Duration) -> Fault {
        let idle = async {
            tokio::select! {
                () = tokio::time::sleep(patience) => {
                    let message = format!("no frame was received for {} s", patience.as_secs_f64());
                    Fault::new(FaultKind::Deadline, message)
                }
                () = async { self.refusing.cancelled().await; tokio::time::sleep(HURRIED).await } => Self::over(),
            }
        };
        tokio::select! {
            fault = idle => fault,
            () = self.aborting.cancelled() => Self::over(),
        }
    }
}

impl Services {
    /// Whether anything new can be taken on.
    ///
    /// # Errors
    /// When a disk is full or fails.
    pub fn room(&self) -> Result<(), Fault> {
        self.bus.room()
    }

    /// Bytes that a project holds from now on. Its probes that no run uses make room.
    ///
    /// # Errors
    /// [`FaultKind::Quota`] when there is none.
    pub fn hold(&self, project: &str, bytes: u64) -> Result<Hold, Fault> {
        loop {
            match self.authenticator.quotas.hold(project, bytes) {
                Err(fault) if fault.kind == FaultKind::Quota && self.probes.forget_unused(project) => {}
                other => return other,
            }
        }
    }

    /// Waits until what has happened so far is kept.
    ///
    /// # Errors
    /// If it cannot be stored.
    pub async fn settled(&self) -> Result<(), Fault> {
        self.bus.settled().await
    }

    /// Waits until a run, or a snapshot of it, is kept: whichever has that id.
    ///
    /// # Errors
    /// If it cannot be stored.
    pub async fn kept(&self, run: &RunId, id: &str) -> Result<(), Fault> {
        self.bus.kept(run, id).await
    }

    /// What a run is and how far it is.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] when it was forgotten meanwhile.
    pub fn summary(&self, run: &RegisteredRun, closed: bool) -> Result<RunSummary, Fault> {
        let Standing { progress, latest, decision, checked } = self.bus.standing(&run.id)?;
        let pending = progress.pending();
        let Progress { accepted, measured, skipped, next_sequence, last_accepted, last_measured } = progress;
        Ok(RunSummary {
            run: run.id.clone(),
            name: run.name.clone(),
            model_type: run.model_type.clone(),
            parameters: run.parameter_count,
            groups: run.groups.clone(),
            measures: run.measures.clone(),
            plan: run.plan(),
            budget: run.budget,
            seed: run.seed,
            delivery: run.delivery,
            precision: run.precision,
            closed,
            accepted,
            measured,
            skipped,
            pending,
            next_sequence,
            label: run.label.clone(),
            policy: run.evaluator.as_ref().map(|evaluator| evaluator.policy().clone()),
            decision,
            latest,
            last_accepted,
            last_measured,
            checked,
            refusals: run.refusals(),
            waiting: self.registry.waits_for(&run.id).map(|wait| wait.to_string()).unwrap_or_default(),
            memory: run.validated().map_or_else(|_| Vec::new(), |validated| shares(&validated.footprint)),
            opened_at: run.opened_at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        })
    }
}

/// The parts of what a run takes, as its clients are told.
fn shares(footprint: &RunFootprint) -> Vec<MemoryShare> {
    let RunFootprint { kept, shared, working, .. } = footprint;
    let share = |part: &MemoryPart, measuring, shared| MemoryShare {
        purpose: part.name.to_owned(),
        bytes: part.bytes,
        measuring,
        shared,
    };
    let kept = kept.iter().map(|part| share(part, false, false));
    let shared = shared.iter().map(|shared| share(&shared.part, false, true));
    kept.chain(shared).chain(working.iter().map(|part| share(part, true, false))).collect()
}
