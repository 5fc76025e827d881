//! Snapshots that the engine is to measure: which are due, which it has, and what ends them early.
//!
//! Owns: when a snapshot leaves its waiting place. May not touch: which of them the engine takes first.

use super::run::{Measuring, RegisteredRun, Waiting};
use super::{Registry, RunEntry};
use clino_domain::counters::Counter;
use clino_domain::incident::{Incident, Severity};
use clino_domain::metrics::Metric;
use clino_domain::{Event, ModelCheck, ReceivedSnapshot, References, RunId, SnapshotRef, Stop};
use std::fmt::{Display, Formatter};
use std::sync::Arc;
use std::thread::Thread;
use std::time::{Duration, Instant};

/// A snapshot to be measured now.
#[derive(Debug)]
pub struct DueSnapshot {
    /// The run that the snapshot belongs to.
    pub run: Arc<RegisteredRun>,
    /// The received snapshot itself.
    pub held: Arc<dyn ReceivedSnapshot>,
    /// The initialization of the run (itself, if it is that) and the snapshot that was received before it, if a measure needs
    /// them.
    pub references: References,
    /// What the trainer's own model computes with it.
    pub check: Option<ModelCheck>,
    /// When it was received.
    pub since: Instant,
    /// Raised when nobody wants its readings any more.
    pub stop: Stop,
}

/// A run with a snapshot that can be taken up now.
#[derive(Debug)]
pub struct DueRun {
    /// The run itself.
    pub run: Arc<RegisteredRun>,
    /// Bytes that it takes to be measured, which are to be had from [`clino_domain::Memory::working`].
    pub working: u64,
}

/// What a run's newest snapshot waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Wait {
    /// Its turn: the engine measures so many other runs.
    Engine(usize),
    /// An earlier snapshot of its run, which has been measured for some seconds.
    Earlier(SnapshotRef, f64),
    /// So many bytes of memory, which other runs have.
    Memory(u64),
}

impl Display for Wait {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Engine(runs) => write!(f, "waits for its turn: the engine measures {runs} other runs"),
            Self::Earlier(SnapshotRef { step, .. }, seconds) => {
                write!(f, "waits for the snapshot of step {step}, which was taken up {seconds:.0} s ago")
            }
            Self::Memory(bytes) => {
                let mib = bytes.div_ceil(1 << 20);
                write!(
                    f,
                    "waits for {mib} MiB of memory, which other runs have: close some, or raise --memory"
                )
            }
        }
    }
}

impl Registry {
    /// Who is woken when a snapshot is due or should end, and when no more come: the thread that takes them.
    pub fn call(&self, engine: Thread) {
        // There is one engine.
        let _ = self.engine.set(engine);
    }

    pub(super) fn call_engine(&self) {
        if let Some(engine) = self.engine.get() {
            engine.unpark();
        }
    }

    /// Runs with a snapshot that can be taken up now, in the order in which they came: none that has one in the engine.
    pub fn due(&self) -> Vec<DueRun> {
        let inner = self.lock();
        let entries = inner.ready.iter().filter_map(|id| inner.runs.get(id));
        let due = entries.filter(|entry| entry.state.measuring.is_none());
        due.map(|entry| DueRun { run: entry.run.clone(), working: entry.working() }).collect()
    }

    /// The snapshot of a run that is due, for the engine; `None` when there is none any more.
    pub fn take(&self, run: &RunId) -> Option<DueSnapshot> {
        let mut inner = self.lock();
        let entry = inner.runs.get_mut(run).filter(|entry| entry.state.measuring.is_none())?;
        let Waiting { held, references, check, since, _room } = entry.state.waiting.take()?;
        let stop = Stop::default();
        let at = held.header().at;
        entry.state.measuring = Some(Measuring { at, since: Instant::now(), stop: stop.clone() });
        entry.state.short_of = None;
        let due = DueSnapshot { run: entry.run.clone(), held, references, check, since, stop };
        inner.ready.retain(|id| id != run);
        Some(due)
    }

    /// The snapshot of a run that is due has to wait for so many bytes of memory. True when that is news.
    pub fn wait_for_memory(&self, run: &RunId, bytes: u64) -> bool {
        let mut inner = self.lock();
        let Ok(entry) = inner.entry(run) else { return false };
        entry.state.short_of.replace(bytes).is_none()
    }

    /// What the newest snapshot of a run waits for; `None` when none waits.
    pub fn waits_for(&self, run: &RunId) -> Option<Wait> {
        let inner = self.lock();
        let state = &inner.runs.get(run)?.state;
        state.waiting.as_ref()?;
        let busy = || inner.runs.values().filter(|entry| entry.state.measuring.is_some()).count();
        Some(match (&state.measuring, state.short_of) {
            (Some(earlier), _) => Wait::Earlier(earlier.at, earlier.since.elapsed().as_secs_f64()),
            (None, Some(bytes)) => Wait::Memory(bytes),
            (None, None) => Wait::Engine(busy()),
        })
    }

    /// For how long the newest snapshot of a run has waited; `None` when none waits.
    pub fn waited(&self, run: &RunId) -> Option<Duration> {
        let inner = self.lock();
        Some(inner.runs.get(run)?.state.waiting.as_ref()?.since.elapsed())
    }

    /// The snapshot that was taken up is measured or given up; true when the run is over.
    pub fn finish(&self, run: &RunId) -> bool {
        let mut inner = self.lock();
        let Ok(entry) = inner.entry(run) else { return true };
        entry.state.measuring = None;
        self.end_if_over(entry)
    }

    /// Nobody wants readings of the snapshots that a run has now: what waits is skipped, what is measured ends, both with
    /// the reason.
    pub fn abandon(&self, run: &RunId, reason: &str) {
        let mut inner = self.lock();
        inner.ready.retain(|id| id != run);
        let Ok(entry) = inner.entry(run) else { return };
        self.leave(entry, reason);
        if let Some(measuring) = &entry.state.measuring {
            measuring.stop.raise(reason);
        }
        self.end_if_over(entry);
        self.call_engine();
    }

    /// The daemon shuts down: what waits is skipped, nothing more is taken up.
    pub fn stop(&self) {
        let mut inner = self.lock();
        inner.stopped = true;
        inner.ready.clear();
        for entry in inner.runs.values_mut() {
            entry.run.room.close();
            if self.leave(entry, "the daemon shut down") {
                self.end_if_over(entry);
            }
        }
        self.call_engine();
    }

    /// Whether the daemon shuts down.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Skips the snapshot that waits, if one does.
    fn leave(&self, entry: &mut RunEntry, reason: &str) -> bool {
        let Some(waiting) = entry.state.waiting.take() else { return false };
        self.skip(&entry.run, waiting.held.header().at, Incident::SnapshotAbandoned, reason.into());
        true
    }

    /// Tells that a snapshot of a run will not be measured, and as which incident that counts.
    pub fn skip(&self, run: &RegisteredRun, snapshot: SnapshotRef, incident: Incident, reason: String) {
        let SnapshotRef { step, attempt } = snapshot;
        let code = self.counters.note(incident, &format!("run {}, step {step}: {reason}", run.id));
        match incident.info().severity {
            // As often as snapshots come.
            Severity::Note => {
                tracing::debug!(code, run = %run.id, step, attempt, reason, "a snapshot is skipped")
            }
            _ => tracing::warn!(code, run = %run.id, step, attempt, reason, "a snapshot is not measured"),
        }
        self.counters.count(Counter::SnapshotSkipped);
        self.counters.metrics.one(Metric::SnapshotsSkipped, &[&run.label.project]);
        self.journal.append(&run.id, Event::Skipped { snapshot, reason });
    }
}
