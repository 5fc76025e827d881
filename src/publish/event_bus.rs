//! The event bus: one stream a run, each with a log, a projection and its watchers' alarm.
//!
//! Owns: which streams there are and when they end. May not touch: what the events mean beyond their end.
//!
//! With a store an event goes there first, and is told when it is durable; without one it is told at once.

use super::decision_store::DecisionStore;
use super::lock::lock;
use super::log::Bounds;
use super::policy_thread::PolicyThread;
use super::run_stream::{RunStream, RunUpdate, StreamContext};
use super::watcher::Watcher;
use crate::store::{Audience, EventStore, Progress, Standing, StoredRun, Watermark};
use clino_domain::budget::Budget;
use clino_domain::counters::Counters;
use clino_domain::graph::ModelReader;
use clino_domain::incident::Incident;
use clino_domain::{
    Acceptance, DecisionContext, Event, Fault, FaultKind, IdempotencyRecord, Journal, Layout,
    ParameterSource, Report, RunId, RunRecord, RunSpec, SnapshotRef, Vault,
};
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Maximum number of snapshots that wait for their policies; beyond it new ones are refused.
const CROWD: usize = 8_192;
/// How often policies that are still asked at the end are looked at.
const LOOK: Duration = Duration::from_millis(2);
/// Of the patience at the end, the share that policies have: the rest is the store's.
const FOR_POLICIES: f64 = 0.5;

/// The event streams of all runs.
#[derive(Debug, Default)]
pub struct EventBus {
    bounds: Bounds,
    budget: Budget,
    streams: Mutex<HashMap<RunId, Arc<RunStream>>>,
    pub(super) decisions: Arc<DecisionStore>,
    watermark: Watermark,
    store_handle: Option<StoreHandle>,
    /// Counts events of all runs, to wake watchers of many runs.
    pub(super) changes: watch::Sender<u64>,
    pub(super) ended: CancellationToken,
    pub(super) counters: Arc<Counters>,
    expiry: OnceLock<RunHook>,
    stops: OnceLock<RunHook>,
    policy_thread: OnceLock<PolicyThread>,
}

/// Where everything is kept, which is closed with the bus.
#[derive(Debug)]
struct StoreHandle(Arc<dyn EventStore>);

impl Drop for StoreHandle {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Tells the holder of a run something of it; returns whether that was heeded.
struct RunHook(Box<dyn Fn(&RunId) -> bool + Send + Sync>);

impl Debug for RunHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunHook(..)")
    }
}

impl EventBus {
    /// A bus in memory, whose streams are bounded by `bounds`. Policies are asked once it is [started](EventBus::started).
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// The same, keeping no more events and readings in memory than there is of it.
    pub fn within(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// The same, taking on nothing new below a watermark.
    pub fn above(self, watermark: Watermark) -> Self {
        Self { watermark, ..self }
    }

    /// The same, with what happens counted there.
    pub fn counted(self, counters: Arc<Counters>) -> Self {
        Self { counters, ..self }
    }

    /// The same, asking policies on a thread of their own.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn started(self) -> std::io::Result<Arc<Self>> {
        let bus = Arc::new(self);
        let whose = Arc::downgrade(&bus);
        let evaluate = move |run: &RunId| whose.upgrade().map(|bus| bus.evaluate(run)).is_some();
        let policy_thread = PolicyThread::start(bus.decisions.clone(), evaluate)?;
        let _ = bus.policy_thread.set(policy_thread);
        Ok(bus)
    }

    /// The same with a store, and the runs of earlier processes that it has. What was received then and not measured is
    /// skipped.
    ///
    /// # Errors
    /// Those of starting threads.
    pub fn durable(self, store: Arc<dyn EventStore>, runs: Vec<StoredRun>) -> std::io::Result<Arc<Self>> {
        let bus = Self { store_handle: Some(StoreHandle(store.clone())), ..self };
        runs.into_iter().for_each(|run| bus.take_up(run));
        let bus = bus.started()?;
        let audience = Arc::downgrade(&bus);
        store.start(audience, bus.counters.clone())?;
        Ok(bus)
    }

    fn take_up(&self, stored: StoredRun) {
        let StoredRun { run, standing, pending, ended } = stored;
        let stream = self.begin(run.record.id, standing, ended);
        for snapshot in pending {
            let reason = "the daemon ended before it was measured".to_owned();
            let detail = format!("run {}, step {}: {reason}", stream.run(), snapshot.step);
            let code = self.counters.note(Incident::SnapshotAbandoned, &detail);
            tracing::debug!(code, run = %stream.run(), step = snapshot.step, reason, "a snapshot is skipped");
            stream.push(RunUpdate::Event(Event::Skipped { snapshot, reason }));
        }
        if run.closed && !ended {
            stream.push(RunUpdate::Event(Event::Closed));
        }
    }

    fn begin(&self, run: RunId, standing: Standing, ended: bool) -> Arc<RunStream> {
        let around = StreamContext {
            bounds: self.bounds,
            budget: self.budget.clone(),
            store: self.store().cloned(),
            decisions: self.decisions.clone(),
            counters: self.counters.clone(),
        };
        let stream = RunStream::new(run.clone(), around, standing, ended);
        lock(&self.streams).insert(run, stream.clone());
        stream
    }

    pub(super) fn stream(&self, run: &RunId) -> Result<Arc<RunStream>, Fault> {
        lock(&self.streams).get(run).cloned().ok_or_else(Fault::unknown_run)
    }

    pub(super) fn store(&self) -> Option<&Arc<dyn EventStore>> {
        self.store_handle.as_ref().map(|StoreHandle(store)| store)
    }

    /// The store, if there is one, for a run that is held.
    fn store_of(&self, run: &RunId) -> Result<Option<&Arc<dyn EventStore>>, Fault> {
        self.stream(run).map(|_| self.store())
    }

    /// Waits until everything that has happened so far is durable; at once without a store.
    ///
    /// # Errors
    /// [`Exhausted`](FaultKind::Exhausted) or [`Unavailable`](FaultKind::Unavailable) when the disk fails.
    pub async fn settled(&self) -> Result<(), Fault> {
        match self.store() {
            Some(store) => store.settled().await,
            None => Ok(()),
        }
    }

    /// Waits until a run, or a snapshot of it, is durable: whichever has that id.
    ///
    /// # Errors
    /// Those of [`EventBus::settled`]; [`Internal`](FaultKind::Internal) when it cannot be kept.
    pub async fn kept(&self, run: &RunId, id: &str) -> Result<(), Fault> {
        self.settled().await?;
        self.store().and_then(|store| store.refusal(run, id)).map_or(Ok(()), Err)
    }

    /// How a run stands.
    ///
    /// # Errors
    /// [`NotFound`](FaultKind::NotFound).
    pub fn standing(&self, run: &RunId) -> Result<Standing, Fault> {
        let mut standing = lock(&self.stream(run)?.state).projection.standing().clone();
        standing.decision = self.decisions.last(run).or(standing.decision);
        Ok(standing)
    }

    /// How far a run is.
    ///
    /// # Errors
    /// [`NotFound`](FaultKind::NotFound).
    pub fn progress(&self, run: &RunId) -> Result<Progress, Fault> {
        Ok(lock(&self.stream(run)?.state).projection.standing().progress)
    }

    /// How long nothing has happened in a run.
    ///
    /// # Errors
    /// [`NotFound`](FaultKind::NotFound).
    pub fn quiet(&self, run: &RunId) -> Result<Duration, Fault> {
        Ok(lock(&self.stream(run)?.state).changed.elapsed())
    }

    /// What is known of a snapshot of a run; `None` is the one that was measured last. May read from disk.
    ///
    /// # Errors
    /// [`NotFound`](FaultKind::NotFound) for an unknown run or snapshot.
    pub fn report(&self, run: &RunId, at: Option<SnapshotRef>) -> Result<Report, Fault> {
        let stream = self.stream(run)?;
        let (held, elsewhere) = {
            let state = lock(&stream.state);
            (state.projection.report(at), state.projection.elsewhere(at))
        };
        match (self.store(), elsewhere) {
            (Some(store), Some(at)) => store.report(run, at),
            _ => held,
        }
    }

    /// A watcher of a run, from a sequence number or from now on. Of a run that has ended, "now" is its last event.
    ///
    /// # Errors
    /// [`NotFound`](FaultKind::NotFound) for an unknown run, [`Invalid`](FaultKind::Invalid) for a sequence number ahead of
    /// the run.
    pub fn watch(&self, run: &RunId, from: Option<u64>) -> Result<Watcher, Fault> {
        let stream = self.stream(run)?;
        let (next, ended) = stream.end();
        let from = from.unwrap_or(if ended { next.saturating_sub(1) } else { next });
        if from > next {
            let description = format!("found {from}, expected at most {next}, the number of the next event");
            return Err(Fault::invalid("from_sequence", description));
        }
        Ok(Watcher::new(stream, from, self.store().cloned()))
    }

    fn all(&self) -> Vec<Arc<RunStream>> {
        lock(&self.streams).values().cloned().collect()
    }

    /// The last event of every run that has not ended: the daemon shuts down.
    pub fn drain(&self) {
        self.all().into_iter().for_each(|stream| stream.push(RunUpdate::Event(Event::Draining)));
        self.ended.cancel();
    }

    /// Waits until policies have been asked and everything is written, which nothing must be added to any more. False when
    /// that takes longer.
    pub fn end(&self, patience: Duration) -> bool {
        let Some(store) = self.store() else { return true };
        let deadline = Instant::now() + patience;
        self.end_policies(store, Instant::now() + patience.mul_f64(FOR_POLICIES));
        store.end(deadline.saturating_duration_since(Instant::now()))
    }

    /// What policies say of the last snapshots is kept as well; of those that are not durable and cannot be, nothing is said.
    fn end_policies(&self, store: &Arc<dyn EventStore>, deadline: Instant) {
        let unevaluated = || self.all().iter().any(|stream| lock(&stream.state).unevaluated > 0);
        while unevaluated() && store.writer_progress().borrow().trouble.is_none() && Instant::now() < deadline
        {
            std::thread::sleep(LOOK);
        }
        if let Some(policy_thread) = self.policy_thread.get()
            && !policy_thread.end(deadline)
        {
            let code = self.counters.note(Incident::PolicyFailed, "at the end of the daemon");
            tracing::warn!(code, "a policy did not answer in time: going on without it");
        }
    }

    /// Whom to ask before a run that is too old is removed from the store; the first one counts.
    pub fn on_expiry(&self, forget: impl Fn(&RunId) -> bool + Send + Sync + 'static) {
        let _ = self.expiry.set(RunHook(Box::new(forget)));
    }

    /// Whom to tell that a run was stopped by its policy, which is enforced; the first one counts.
    pub fn on_stop(&self, stopped: impl Fn(&RunId) + Send + Sync + 'static) {
        let hook = move |run: &RunId| {
            stopped(run);
            true
        };
        let _ = self.stops.set(RunHook(Box::new(hook)));
    }

    /// Tells the holder of a run whose STOP is enforced.
    pub(super) fn tell_stop(&self, run: &RunId) {
        if let Some(RunHook(stopped)) = self.stops.get()
            && self.decisions.refusal(run).is_some()
        {
            stopped(run);
        }
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn push(&self, run: &RunId, what: RunUpdate) {
        let Ok(stream) = self.stream(run) else { return };
        // With a store nothing has happened before it says so; a run that closes or goes on looks so at once.
        let now = self.store().is_none() || matches!(what, RunUpdate::Close { .. } | RunUpdate::Reopen);
        stream.push(what);
        if now {
            self.changed();
        }
    }
}

impl Audience for EventBus {
    fn expire(&self, run: &RunId) -> bool {
        let forgotten = self.expiry.get().is_none_or(|RunHook(forget)| forget(run));
        if forgotten {
            self.forget(run);
        }
        forgotten
    }

    fn changed(&self) {
        Self::changed(self);
    }
}

impl Journal for EventBus {
    fn room(&self) -> Result<(), Fault> {
        self.store().map_or(Ok(()), |store| store.room())?;
        let waiting = self.decisions.waiting();
        if waiting > CROWD {
            let message = format!(
                "{waiting} snapshots are waiting for their policies, which are too slow: try again later"
            );
            return Err(Fault::new(FaultKind::Exhausted, message));
        }
        self.watermark.check()
    }

    fn refusal(&self, run: &RunId) -> Option<String> {
        let failed = || lock(&self.stream(run).ok()?.state).projection.standing().refusal();
        self.decisions.refusal(run).or_else(failed)
    }

    fn open(&self, record: RunRecord, context: DecisionContext) {
        self.decisions.open(&record.id, context, None);
        let stream = self.begin(record.id.clone(), Standing::default(), false);
        stream.push(RunUpdate::Open(Box::new(record)));
        self.changed();
    }

    fn resume(&self, run: &RunId, context: DecisionContext) {
        let Ok(stream) = self.stream(run) else { return };
        let decision = lock(&stream.state).projection.standing().decision.clone();
        self.decisions.open(run, context, Some(decision));
        if stream.is_sealed() {
            self.decisions.close(run);
        }
    }

    fn accept(&self, run: &RunId, acceptance: Acceptance) {
        self.push(run, RunUpdate::Accept(Box::new(acceptance)));
    }

    fn append(&self, run: &RunId, event: Event) {
        self.push(run, RunUpdate::Event(event));
    }

    fn close(&self, run: &RunId, resumable: bool) {
        self.push(run, RunUpdate::Close { resumable });
    }

    fn reopen(&self, run: &RunId) {
        self.push(run, RunUpdate::Reopen);
    }

    fn forget(&self, run: &RunId) {
        self.decisions.forget(run);
        lock(&self.streams).remove(run);
        if let Some(store) = self.store() {
            store.release(run);
        }
        self.changed();
    }
}

fn memory_only() -> Fault {
    Fault::internal("there is no history to read back from")
}

impl Vault for EventBus {
    fn specification(&self, run: &RunId, read: ModelReader) -> Result<RunSpec, Fault> {
        self.store().ok_or_else(memory_only)?.specification(run, read)
    }

    fn idempotency(&self, run: &RunId) -> Result<IdempotencyRecord, Fault> {
        self.store_of(run)?.map_or_else(|| Ok(IdempotencyRecord::default()), |store| store.idempotency(run))
    }

    fn initialization(
        &self,
        run: &RunId,
        layout: &dyn Layout,
    ) -> Result<Option<Arc<dyn ParameterSource>>, Fault> {
        self.store_of(run)?.map_or(Ok(None), |store| store.initialization(run, layout))
    }
}
