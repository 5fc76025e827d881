//! A lane: a thread that measures one snapshot after another, on an engine of its own, while it has its turn.
//!
//! Owns: the way of one snapshot through the engine, what a panic there means. May not touch: whose turn it is.

use super::Neighbours;
use super::evaluate::{ReadingListener, RunMemory, evaluate, guarded, refuse};
use super::turn::Turn;
use crate::registry::{DueSnapshot, RegisteredRun};
use clino_domain::counters::Counter;
use clino_domain::incident::Incident;
use clino_domain::metrics::SPANS;
use clino_domain::{Checkpoint, Event, Fault, FaultKind, ModelCheck, Outcome, Reading, SnapshotRef};
use clino_engine::{Arrived, Engine, Limits, Session};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle, Thread};
use tracing::info_span;

/// Deep networks recurse; the default stack of a thread is too small for them.
pub(super) const STACK: usize = 64 << 20;

/// A snapshot for a lane.
pub(super) struct Job {
    pub due: DueSnapshot,
    pub turn: Arc<Turn>,
    /// What earlier snapshots of its run have left.
    pub memory: RunMemory,
}

/// A snapshot that a lane has done with.
pub(super) struct Done {
    /// Which lane is free now.
    pub lane: usize,
    pub run: Arc<RegisteredRun>,
    /// What it leaves for the next snapshot of its run.
    pub memory: RunMemory,
}

/// Whom a lane tells.
#[derive(Clone)]
pub(super) struct LaneReport {
    pub done: SyncSender<Done>,
    /// Woken then.
    pub scheduler: Thread,
}

/// The thread; it ends when this drops and its snapshot is done with.
pub(super) struct Lane {
    jobs: SyncSender<Job>,
    thread: JoinHandle<()>,
}

impl Lane {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(number: usize, worker: Worker, report: LaneReport) -> std::io::Result<Self> {
        let (jobs, receiver) = sync_channel(1);
        let work = move || work(number, &worker, &receiver, &report);
        let thread = Builder::new().name(format!("clino-lane-{number}")).stack_size(STACK).spawn(work)?;
        Ok(Self { jobs, thread })
    }

    /// Gives it a snapshot; it must have none.
    pub fn give(&self, job: Job) -> Result<(), Fault> {
        self.jobs.send(job).map_err(|_| Fault::internal("a lane of the engine has ended"))
    }

    /// Waits for its end.
    pub fn join(self) -> Result<(), Fault> {
        drop(self.jobs);
        self.thread.join().map_err(|_| Fault::internal("a lane of the engine panicked"))
    }
}

fn work(number: usize, worker: &Worker, jobs: &Receiver<Job>, report: &LaneReport) {
    while let Ok(Job { due, turn, mut memory }) = jobs.recv() {
        let run = due.run.clone();
        worker.take_on(due, &turn, &mut memory);
        if report.done.send(Done { lane: number, run, memory }).is_err() {
            return;
        }
        report.scheduler.unpark();
    }
}

/// What a lane works with.
pub(super) struct Worker {
    pub engine: Engine,
    pub neighbours: Neighbours,
}

impl Worker {
    /// Measures a snapshot when it has its turn, or skips it with the reason.
    fn take_on(&self, due: DueSnapshot, turn: &Turn, memory: &mut RunMemory) {
        let run = due.run.clone();
        let at = due.held.header().at;
        let measured = guarded(|| self.measure(due, turn, memory));
        let failed = |panic| Err(Fault::internal(format!("the engine failed: {panic}")));
        if let Err(fault) = measured.unwrap_or_else(failed) {
            let incident = match fault.kind {
                FaultKind::Cancelled => Incident::SnapshotAbandoned,
                _ => Incident::SnapshotFailed,
            };
            self.neighbours.registry.skip(&run, at, incident, fault.message);
        }
    }

    /// Measures one snapshot; a fault says why it could not be taken up or was left.
    fn measure(&self, due: DueSnapshot, turn: &Turn, memory: &mut RunMemory) -> Result<(), Fault> {
        turn.check()?;
        let DueSnapshot { run, held, references, check, since, .. } = due;
        let waited = since.elapsed().as_secs_f64();
        let at = held.header().at;
        let _span = span(&run, at).entered();
        let arrived = Arrived { snapshot: held.load()?, references, statistics: held.statistics() };
        let on_arrival = arrived.statistics.as_ref().is_some_and(|found| found.fit(&arrived.references));
        // Its bytes are given back before the engine needs memory, unless a later snapshot is compared with it.
        drop(held);
        let validated = run.validated()?;
        let mut session = self.engine.take(&validated, run.seed, arrived)?;
        let carried = session.carried;
        let journal = &self.neighbours.journal;
        journal.append(&run.id, Event::Started { snapshot: at, readings: session.tasks().len() as u32 });
        let failed = check.map_or(Ok(None), |check| self.check(&run, &mut session, &check, turn))?;
        memory.mismatch = memory.mismatch.take().or(failed);
        self.read(&run, &mut session, turn, memory)?;
        let seconds = turn.seconds();
        journal.append(&run.id, Event::Finished { snapshot: at, seconds });
        tracing::info!(run = %run.id, step = at.step, attempt = at.attempt, seconds, waited, on_arrival, carried, "measured");
        Ok(())
    }

    /// Makes all readings of a snapshot.
    fn read(
        &self,
        run: &RegisteredRun,
        session: &mut Session<'_>,
        turn: &Turn,
        memory: &mut RunMemory,
    ) -> Result<(), Fault> {
        let mut teller = ReadingTeller { run, neighbours: &self.neighbours };
        if let Some(reason) = &memory.mismatch {
            refuse(session, reason, &mut |reading| teller.made(reading));
            return Ok(());
        }
        let budget = run.budget.or(self.neighbours.budget);
        let limits = Limits { stop: turn, clock: &|| turn.seconds() };
        run.count(&evaluate(session, memory, budget, limits, &mut teller)?);
        Ok(())
    }

    /// Compares the trainer's model with its configuration; why the run has no readings, where they are not the same. A
    /// comparison that fails leaves the snapshot as it is: the trainer sends another one with its next snapshot.
    fn check(
        &self,
        run: &RegisteredRun,
        session: &mut Session<'_>,
        check: &ModelCheck,
        turn: &Turn,
    ) -> Result<Option<String>, Fault> {
        let failed = |why: &str| {
            self.neighbours.counters.note(Incident::CheckFailed, &format!("run {}: {why}", run.id))
        };
        let checked = match guarded(|| session.check(check, turn)) {
            Ok(Ok(Some(checked))) => checked,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(fault)) if fault.kind == FaultKind::Cancelled => return Err(fault),
            Ok(Err(fault)) => {
                let code = failed(&fault.message);
                tracing::warn!(code, run = %run.id, %fault, "the trainer's model is not compared with its configuration");
                return Ok(None);
            }
            Err(panic) => {
                let code = failed(&panic);
                tracing::error!(code, run = %run.id, panic, "the comparison with the trainer's model panicked");
                return Ok(None);
            }
        };
        let failed = (!checked.agrees).then(|| checked.reason());
        match &failed {
            None => {
                tracing::info!(run = %run.id, loss = checked.configured_loss, "the trainer's model agrees")
            }
            Some(reason) => {
                let detail = format!("run {}: {reason}", run.id);
                let code = self.neighbours.counters.note(Incident::ModelMismatch, &detail);
                tracing::error!(code, run = %run.id, name = run.name, reason, "no readings of this run")
            }
        }
        self.neighbours.journal.append(&run.id, Event::Checked(Box::new(checked)));
        Ok(failed)
    }
}

/// Tells of the readings of a snapshot.
struct ReadingTeller<'a> {
    run: &'a RegisteredRun,
    neighbours: &'a Neighbours,
}

impl ReadingTeller<'_> {
    fn note(&self, incident: Incident, what: &str) -> &'static str {
        self.neighbours.counters.note(incident, &format!("run {}: {what}", self.run.id))
    }
}

impl ReadingListener for ReadingTeller<'_> {
    fn falls_back(&mut self, reason: &str) {
        let code = self.note(Incident::DeviceFallback, reason);
        tracing::warn!(code, run = %self.run.id, reason, "not on a GPU");
    }

    fn made(&mut self, reading: Reading) {
        let Neighbours { journal, counters, .. } = self.neighbours;
        counters.count(Counter::ReadingMade);
        let run = &self.run.id;
        let measure = reading.measure.as_str();
        let reason = reading.reason.as_deref().unwrap_or_default();
        match reading.outcome {
            Outcome::Failed => {
                counters.count(Counter::ReadingFailed);
                let code = self.note(Incident::ReadingFailed, &format!("{measure}: {reason}"));
                tracing::warn!(code, %run, measure, reason, "a reading failed");
            }
            Outcome::Skipped => {
                let code = self.note(Incident::ReadingSkipped, &format!("{measure}: {reason}"));
                // As often as snapshots come.
                tracing::debug!(code, %run, measure, reason, "a reading is skipped");
            }
            Outcome::Measured | Outcome::Undefined | Outcome::Unavailable => {}
        }
        journal.append(run, Event::Reading(Box::new(reading)));
    }
}

fn span(run: &RegisteredRun, at: SnapshotRef) -> tracing::Span {
    info_span!(
        target: SPANS,
        "measure snapshot",
        clino.run_id = %run.id,
        clino.step = at.step,
        clino.attempt = at.attempt,
        clino.project = run.label.project,
    )
}
