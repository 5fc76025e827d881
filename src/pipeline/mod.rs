//! Take, evaluate, emit: one thread owns the engine and measures one snapshot after another.
//!
//! Owns: the engine's thread, its clock, what a panic there means. May not touch: bytes on the wire, tokio.

mod evaluate;
mod forecast;
#[cfg(test)]
mod tests;

pub use evaluate::{ReadingListener, RunMemory, evaluate};

use crate::registry::{DueSnapshot, RegisteredRun, Registry};
use clino_domain::counters::{Counter, Counters};
use clino_domain::metrics::{Metric, SPANS};
use clino_domain::quota::Quota;
use clino_domain::{
    EnginePlace, Event, Fault, FaultKind, Journal, ModelCheck, Outcome, Reading, RunId, SnapshotRef,
};
use clino_engine::{Arrived, Engine, GpuDevices, Session, Stop};
use evaluate::{guarded, refuse};
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;
use tracing::info_span;

/// Deep networks recurse; the default stack of a thread is too small for them.
const STACK: usize = 64 << 20;

/// Whom the pipeline meets.
#[derive(Clone)]
pub struct Neighbours {
    /// Gives the work.
    pub registry: Arc<Registry>,
    /// Gets the events.
    pub journal: Arc<dyn Journal>,
    /// Gets the counts.
    pub counters: Arc<Counters>,
    /// Hears what projects use up.
    pub quota: Arc<dyn Quota>,
    /// Hears about the devices.
    pub devices: Arc<dyn DeviceObserver>,
}

/// Whoever wants to know what becomes of the engine's devices.
pub trait DeviceObserver: Send + Sync {
    /// The engine is there, on these GPUs if it is on any.
    fn opened(&self, device: Option<GpuDevices>);

    /// These GPUs have failed for good.
    fn lost(&self, gpus: &[String]);
}

/// The engine's thread.
#[derive(Debug)]
pub struct Pipeline {
    thread: JoinHandle<()>,
    stop: Stop,
}

impl Pipeline {
    /// Starts the thread with an engine at `place`; `ready` hears how its self check went.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(
        place: EnginePlace,
        neighbours: Neighbours,
        ready: impl FnOnce(Result<(), Fault>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Stop::default();
        let raised = stop.clone();
        let work = move || match sound_engine(&place) {
            Ok(engine) => {
                tracing::info!(engine = engine.description(), "the engine is ready");
                neighbours.devices.opened(engine.device());
                ready(Ok(()));
                Worker { engine, neighbours, stop: raised, memories: HashMap::new(), lost: 0 }.work();
            }
            Err(fault) => ready(Err(fault)),
        };
        let thread = Builder::new().name("clino-engine".into()).stack_size(STACK).spawn(work)?;
        Ok(Self { thread, stop })
    }

    /// Whether the thread has ended, as it does after [`Registry::stop`] once the current snapshot is measured.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Asks the engine to leave the current snapshot.
    pub fn stop(&self) {
        self.stop.raise();
    }

    /// Waits for the end of the thread.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when it panicked outside a measure.
    pub fn join(self) -> Result<(), Fault> {
        self.thread.join().map_err(|_| Fault::internal("the engine's thread panicked"))
    }
}

/// An engine that has computed something known on the thread that will own it.
fn sound_engine(place: &EnginePlace) -> Result<Engine, Fault> {
    let checked = || {
        let (engine, instead) = Engine::open(place)?;
        if let Some(reason) = instead {
            tracing::warn!(reason, "no GPU, computing on the CPU");
        }
        engine.self_check().map(|()| engine)
    };
    guarded(checked).unwrap_or_else(|panic| Err(Fault::internal(panic)))
}

/// Where the work is done.
struct Worker {
    engine: Engine,
    neighbours: Neighbours,
    stop: Stop,
    memories: HashMap<RunId, RunMemory>,
    /// GPUs that were lost before.
    lost: usize,
}

impl Worker {
    fn work(mut self) {
        while let Some(work) = self.neighbours.registry.take() {
            let run = work.run.id.clone();
            let project = work.run.label.project.clone();
            let at = work.held.header().at;
            let began = Instant::now();
            if let Err(fault) = self.measure(work) {
                tracing::warn!(%run, step = at.step, attempt = at.attempt, %fault, "a snapshot is not measured");
                self.neighbours.counters.metrics.one(Metric::SnapshotsSkipped, &[&project]);
                self.skip(&run, at, fault);
            }
            // A snapshot that was given up took the engine's time as well.
            self.neighbours.quota.spend(&project, began.elapsed().as_secs_f64());
            self.tell_losses();
            if self.neighbours.registry.finish(&run) {
                self.memories.remove(&run);
            }
        }
    }

    fn tell_losses(&mut self) {
        let lost = self.engine.lost();
        if lost.len() > self.lost {
            tracing::error!(
                gpus = lost.join(", "),
                engine = self.engine.description(),
                "lost GPUs; going on without"
            );
            self.neighbours.devices.lost(&lost);
        }
        self.lost = lost.len();
    }

    fn skip(&self, run: &RunId, snapshot: SnapshotRef, fault: Fault) {
        self.neighbours.counters.count(Counter::SnapshotSkipped);
        self.neighbours.journal.append(run, Event::Skipped { snapshot, reason: fault.message });
    }

    /// Measures one snapshot; a fault says why it could not be taken up or was left.
    fn measure(&mut self, work: DueSnapshot) -> Result<(), Fault> {
        let began = Instant::now();
        let DueSnapshot { run, held, references, check, working } = work;
        let at = held.header().at;
        // It is set aside: nobody else is measured.
        let _working = self.neighbours.registry.memory().working(working);
        let _span = info_span!(
            target: SPANS,
            "measure snapshot",
            clino.run_id = %run.id,
            clino.step = at.step,
            clino.attempt = at.attempt,
            clino.project = run.label.project,
        )
        .entered();
        let arrived = Arrived { snapshot: held.load()?, references, statistics: held.statistics() };
        let on_arrival = arrived.statistics.as_ref().is_some_and(|found| found.fit(&arrived.references));
        // Its bytes are given back before the engine needs memory, unless a later snapshot is compared with it.
        drop(held);
        let validated = run.validated()?;
        let mut session = guarded(|| self.engine.take(&validated, run.seed, arrived))
            .map_err(|panic| Fault::internal(format!("the engine failed: {panic}")))??;
        let carried = session.carried;
        let Neighbours { journal, counters, .. } = &self.neighbours;
        journal.append(&run.id, Event::Started { snapshot: at, readings: session.tasks().len() as u32 });
        let failed = check.map_or(Ok(None), |check| self.check(&run, &mut session, &check))?;
        let mut emit = |reading: Reading| {
            counters.count(Counter::ReadingMade);
            if reading.outcome == Outcome::Failed {
                counters.count(Counter::ReadingFailed);
            }
            journal.append(&run.id, Event::Reading(Box::new(reading)));
        };
        let memory = self.memories.entry(run.id.clone()).or_default();
        memory.mismatch = memory.mismatch.take().or(failed);
        match &memory.mismatch {
            Some(reason) => refuse(&session, reason, &mut emit),
            None => run.count(&evaluate(&mut session, memory, run.budget, &self.stop, &mut emit)?),
        }
        let seconds = began.elapsed().as_secs_f64();
        journal.append(&run.id, Event::Finished { snapshot: at, seconds });
        tracing::info!(run = %run.id, step = at.step, attempt = at.attempt, seconds, on_arrival, carried, "measured");
        Ok(())
    }

    /// Compares the trainer's model with its configuration; why the run has no readings, where they are not the same. A
    /// comparison that fails leaves the snapshot as it is: the trainer sends another one with its next snapshot.
    fn check(
        &self,
        run: &RegisteredRun,
        session: &mut Session<'_>,
        check: &ModelCheck,
    ) -> Result<Option<String>, Fault> {
        let checked = match guarded(|| session.check(check, &self.stop)) {
            Ok(Ok(Some(checked))) => checked,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(fault)) if fault.kind == FaultKind::Cancelled => return Err(fault),
            Ok(Err(fault)) => {
                tracing::warn!(run = %run.id, %fault, "the trainer's model is not compared with its configuration");
                return Ok(None);
            }
            Err(panic) => {
                tracing::error!(run = %run.id, panic, "the comparison with the trainer's model panicked");
                return Ok(None);
            }
        };
        let failed = (!checked.agrees).then(|| checked.reason());
        match &failed {
            None => {
                tracing::info!(run = %run.id, loss = checked.configured_loss, "the trainer's model agrees")
            }
            Some(reason) => {
                tracing::error!(run = %run.id, name = run.name, reason, "no readings of this run")
            }
        }
        self.neighbours.journal.append(&run.id, Event::Checked(Box::new(checked)));
        Ok(failed)
    }
}
