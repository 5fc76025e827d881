//! The hub: one feed a run, each with a log, a board and its watchers' alarm.
//!
//! Owns: which feeds there are and when they end. May not touch: what the events mean beyond their end.
//!
//! With a history an event goes to its writer first, and is told when it is durable; without one it is told at once.

use super::board::{Board, Progress, Standing};
use super::count::count;
use super::docket::Docket;
use super::history::{History, Kept, Loaded, Store, Watermark, What, start};
use super::log::{Bounds, Log};
use super::watcher::Watcher;
use clino_domain::tally::Tally;
use clino_domain::{
    Acceptance, Case, Event, Fault, Journal, Report, RunId, RunRecord, Sequenced, SnapshotHeader, SnapshotRef,
};
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// All feeds.
#[derive(Debug, Default)]
pub struct Hub {
    bounds: Bounds,
    feeds: Mutex<HashMap<RunId, Arc<Feed>>>,
    pub(super) docket: Arc<Docket>,
    watermark: Watermark,
    kept_in: Option<KeptIn>,
    /// Counts what happens in all runs: wakes whoever watches many of them.
    pub(super) changes: watch::Sender<u64>,
    pub(super) ended: CancellationToken,
    tally: Arc<Tally>,
    expiry: OnceLock<Expiry>,
}

/// The history, and what it knows of one run.
pub(super) type Shelf = (Arc<Store>, Arc<Kept>);

/// Where everything is kept, and the thread that writes it.
#[derive(Debug)]
struct KeptIn {
    store: Arc<Store>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for KeptIn {
    fn drop(&mut self) {
        self.store.close();
    }
}

/// Asks whoever holds a run to forget it; tells whether they did.
struct Expiry(Box<dyn Fn(&RunId) -> bool + Send + Sync>);

impl Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expiry(..)")
    }
}

#[derive(Debug)]
pub(super) struct Feed {
    run: RunId,
    /// What the history knows of it.
    kept: Option<Arc<Kept>>,
    pub(super) state: Mutex<State>,
    tally: Arc<Tally>,
    docket: Arc<Docket>,
    /// Place of the next event: wakes watchers.
    next: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct State {
    log: Log,
    pub(super) board: Board,
    /// The last event is on its way.
    sealed: bool,
    /// The last event has been told.
    pub(super) ended: bool,
    /// When something happened last.
    changed: Instant,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_last(event: &Event) -> bool {
    matches!(event, Event::Closed | Event::Draining)
}

impl Hub {
    /// A hub in memory, whose feeds are bounded by `bounds`.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// The same, taking on nothing new below a watermark.
    pub fn above(self, watermark: Watermark) -> Self {
        Self { watermark, ..self }
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The same, with what happens counted there.
    pub fn counted(self, tally: Arc<Tally>) -> Self {
        Self { tally, ..self }
    }

    /// The same with a history, and the runs of earlier processes. What was received then and not measured is skipped.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn durable(self, history: History) -> std::io::Result<Arc<Self>> {
        let History { store, connection, loaded } = history;
        let kept_in = KeptIn { store: store.clone(), writer: Mutex::default() };
        let hub = Self { kept_in: Some(kept_in), ..self };
        for loaded in loaded {
            hub.take_up(&store, loaded);
        }
        let hub = Arc::new(hub);
        let writer = start(store, connection, Arc::downgrade(&hub))?;
        if let Some(kept_in) = &hub.kept_in {
            *lock(&kept_in.writer) = Some(writer);
        }
        Ok(hub)
    }

    fn take_up(&self, store: &Store, loaded: Loaded) {
        let Loaded { run, kept, standing, pending, ended } = loaded;
        let feed = self.new_feed(run.record.id, Some(kept), standing, ended);
        lock(&self.feeds).insert(feed.run.clone(), feed.clone());
        for snapshot in pending {
            let reason = "the daemon ended before it was measured".to_owned();
            feed.append(store, Event::Skipped { snapshot, reason });
        }
        if run.closed && !ended {
            feed.append(store, Event::Closed);
        }
    }

    fn new_feed(&self, run: RunId, kept: Option<Arc<Kept>>, standing: Standing, ended: bool) -> Arc<Feed> {
        let next = standing.progress.next_sequence;
        let log = Log::new(self.bounds, next);
        let board = Board::new(self.bounds, standing);
        let state = State { log, board, sealed: ended, ended, changed: Instant::now() };
        let state = Mutex::new(state);
        let next = watch::Sender::new(next);
        let tally = self.tally.clone();
        let docket = self.docket.clone();
        Arc::new(Feed { run, kept, state, tally, docket, next })
    }

    pub(super) fn feed(&self, run: &RunId) -> Result<Arc<Feed>, Fault> {
        lock(&self.feeds).get(run).cloned().ok_or_else(Fault::unknown_run)
    }

    pub(super) fn store(&self) -> Option<&Arc<Store>> {
        self.kept_in.as_ref().map(|kept_in| &kept_in.store)
    }

    /// The history with what it knows of a run.
    pub(super) fn shelf(&self, run: &RunId) -> Result<Option<Shelf>, Fault> {
        let feed = self.feed(run)?;
        Ok(self.store().cloned().zip(feed.kept.clone()))
    }

    /// Waits until everything that has happened so far is durable; at once without a history.
    ///
    /// # Errors
    /// [`Exhausted`](clino_domain::FaultKind::Exhausted) or [`Unavailable`](clino_domain::FaultKind::Unavailable)
    /// when the disk fails.
    pub async fn settled(&self) -> Result<(), Fault> {
        match self.store() {
            Some(store) => store.settled().await,
            None => Ok(()),
        }
    }

    /// Waits until a run, or a snapshot of it, is durable: whichever has that id.
    ///
    /// # Errors
    /// Those of [`Hub::settled`]; [`Internal`](clino_domain::FaultKind::Internal) when it cannot be kept.
    pub async fn kept(&self, run: &RunId, id: &str) -> Result<(), Fault> {
        self.settled().await?;
        let kept = self.feed(run).ok().and_then(|feed| feed.kept.clone());
        kept.and_then(|kept| kept.refusal(id)).map_or(Ok(()), Err)
    }

    /// How a run stands.
    ///
    /// # Errors
    /// [`NotFound`](clino_domain::FaultKind::NotFound).
    pub fn standing(&self, run: &RunId) -> Result<Standing, Fault> {
        let mut standing = lock(&self.feed(run)?.state).board.standing().clone();
        standing.decision = self.docket.last(run).or(standing.decision);
        Ok(standing)
    }

    /// How far a run is.
    ///
    /// # Errors
    /// [`NotFound`](clino_domain::FaultKind::NotFound).
    pub fn progress(&self, run: &RunId) -> Result<Progress, Fault> {
        Ok(lock(&self.feed(run)?.state).board.standing().progress)
    }

    /// How long nothing has happened in a run.
    ///
    /// # Errors
    /// [`NotFound`](clino_domain::FaultKind::NotFound).
    pub fn quiet(&self, run: &RunId) -> Result<Duration, Fault> {
        Ok(lock(&self.feed(run)?.state).changed.elapsed())
    }

    /// What is known of a snapshot of a run; `None` is the one that was measured last. May read from disk.
    ///
    /// # Errors
    /// [`NotFound`](clino_domain::FaultKind::NotFound) for an unknown run or snapshot.
    pub fn report(&self, run: &RunId, at: Option<SnapshotRef>) -> Result<Report, Fault> {
        let feed = self.feed(run)?;
        let (held, elsewhere) = {
            let state = lock(&feed.state);
            (state.board.report(at), state.board.elsewhere(at))
        };
        match (self.store(), &feed.kept, elsewhere) {
            (Some(store), Some(kept), Some(at)) => store.report(kept, at),
            _ => held,
        }
    }

    /// A watcher of a run, from a sequence number or from now on. Of a run that has ended, "now" is its last event.
    ///
    /// # Errors
    /// [`NotFound`](clino_domain::FaultKind::NotFound) for an unknown run,
    /// [`Invalid`](clino_domain::FaultKind::Invalid) for a sequence number ahead of the run.
    pub fn watch(&self, run: &RunId, from: Option<u64>) -> Result<Watcher, Fault> {
        let feed = self.feed(run)?;
        let (next, ended) = {
            let state = lock(&feed.state);
            (state.log.next(), state.ended)
        };
        let from = from.unwrap_or(if ended { next.saturating_sub(1) } else { next });
        if from > next {
            let description = format!("found {from}, expected at most {next}, the number of the next event");
            return Err(Fault::invalid("from_sequence", description));
        }
        Ok(Watcher::new(feed, from, self.store().cloned()))
    }

    /// The last event of every run that has not ended: the daemon shuts down.
    pub fn drain(&self) {
        let feeds: Vec<_> = lock(&self.feeds).values().cloned().collect();
        for feed in feeds {
            match self.store() {
                Some(store) => feed.append(store, Event::Draining),
                None => drop(feed.tell_now(Event::Draining)),
            }
        }
        self.ended.cancel();
    }

    /// Waits until everything is written, which nothing must be added to any more. False when that takes longer.
    pub fn end(&self, patience: Duration) -> bool {
        const LOOK: Duration = Duration::from_millis(2);
        let Some(kept_in) = &self.kept_in else { return true };
        kept_in.store.close();
        let Some(writer) = lock(&kept_in.writer).take() else { return true };
        let deadline = Instant::now() + patience;
        while !writer.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        writer.join().is_ok()
    }

    /// Whom to ask before a run that is too old is removed from the history; the first one counts.
    pub fn on_expiry(&self, forget: impl Fn(&RunId) -> bool + Send + Sync + 'static) {
        let _ = self.expiry.set(Expiry(Box::new(forget)));
    }

    /// Whether everyone has forgotten a run.
    pub(super) fn expire(&self, run: &RunId) -> bool {
        let forgotten = self.expiry.get().is_none_or(|Expiry(forget)| forget(run));
        if forgotten {
            self.forget(run);
        }
        forgotten
    }
}

impl Journal for Hub {
    fn room(&self) -> Result<(), Fault> {
        self.store().map_or(Ok(()), |store| store.room())?;
        self.watermark.check()
    }

    fn refusal(&self, run: &RunId) -> Option<String> {
        let failed = || lock(&self.feed(run).ok()?.state).board.standing().refusal();
        self.docket.refusal(run).or_else(failed)
    }

    fn open(&self, record: RunRecord, case: Case) {
        self.docket.open(&record.id, case, None);
        let run = record.id.clone();
        let kept = self.store().map(|_| Arc::new(Kept::new(record.measures.clone(), record.precision)));
        let feed = self.new_feed(run.clone(), kept, Standing::default(), false);
        lock(&self.feeds).insert(run, feed.clone());
        if let Some(store) = self.store() {
            store.push(feed, What::Open(Box::new(record)));
        }
        self.changed();
    }

    fn resume(&self, run: &RunId, case: Case) {
        let Ok(feed) = self.feed(run) else { return };
        let decision = lock(&feed.state).board.standing().decision.clone();
        self.docket.open(run, case, Some(decision));
        if lock(&feed.state).sealed {
            self.docket.close(run);
        }
    }

    fn accept(&self, run: &RunId, acceptance: Acceptance) {
        let SnapshotHeader { at, kind, initialization } = acceptance.header;
        match (self.store(), self.feed(run)) {
            (Some(store), Ok(feed)) => feed.push(store, What::Accept(Box::new(acceptance))),
            _ => self.append(run, Event::Accepted { snapshot: at, kind, initialization }),
        }
    }

    fn append(&self, run: &RunId, event: Event) {
        let Ok(feed) = self.feed(run) else { return };
        match self.store() {
            Some(store) => feed.append(store, event),
            None => {
                let mut next = Some(event);
                while let Some(event) = next {
                    next = feed.tell_now(event).and_then(|told| self.told(&feed, &told.event));
                }
                self.changed();
            }
        }
    }

    fn close(&self, run: &RunId, resumable: bool) {
        if let (Some(store), Ok(feed)) = (self.store(), self.feed(run)) {
            feed.push(store, What::Close { resumable });
        }
        self.changed();
    }

    fn reopen(&self, run: &RunId) {
        let Ok(feed) = self.feed(run) else { return };
        match self.store() {
            Some(store) => feed.push(store, What::Reopen),
            None => self.reopened(&feed),
        }
        self.changed();
    }

    fn forget(&self, run: &RunId) {
        self.docket.forget(run);
        lock(&self.feeds).remove(run);
        self.changed();
    }
}

impl Feed {
    pub(super) fn run(&self) -> &RunId {
        &self.run
    }

    pub(super) fn kept(&self) -> Option<&Arc<Kept>> {
        self.kept.as_ref()
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// The event at a place or a gap before it, and whether the last event has been told.
    pub(super) fn at(&self, place: u64) -> (Option<Arc<Sequenced>>, bool) {
        let state = lock(&self.state);
        (state.log.at(place), state.ended)
    }

    /// To the history first.
    fn append(self: &Arc<Self>, store: &Store, event: Event) {
        self.push(store, if event == Event::Draining { What::Draining } else { What::Event(event) });
    }

    /// Under the lock, so that the queue has the order of the run.
    fn push(self: &Arc<Self>, store: &Store, what: What) {
        let mut state = lock(&self.state);
        match what {
            What::Reopen => state.sealed = false,
            // Whether it may be opened again may change behind the end.
            What::Close { .. } => {}
            _ if state.sealed => return,
            _ => state.sealed = what.is_last(),
        }
        store.push(self.clone(), what);
    }

    /// It goes on behind what was its last event.
    pub(super) fn go_on(&self) {
        let mut state = lock(&self.state);
        (state.ended, state.changed) = (false, Instant::now());
    }

    /// Without a history: told at once, unless the last event has been told.
    pub(super) fn tell_now(&self, event: Event) -> Option<Arc<Sequenced>> {
        let mut state = lock(&self.state);
        if state.ended {
            return None;
        }
        let sequenced = Arc::new(Sequenced { sequence: state.log.next(), event });
        self.settle(&mut state, &sequenced);
        Some(sequenced)
    }

    /// With one: what is durable now.
    pub(super) fn tell(&self, sequenced: &Arc<Sequenced>) {
        self.settle(&mut lock(&self.state), sequenced);
    }

    fn settle(&self, state: &mut State, sequenced: &Arc<Sequenced>) {
        state.ended = is_last(&sequenced.event);
        state.changed = Instant::now();
        count(&self.tally, &sequenced.event, &state.board);
        state.log.keep(sequenced);
        state.board.apply(sequenced);
        // Before anybody hears of it: whoever does may ask for the decision at once.
        if let Event::Finished { snapshot, .. } = &sequenced.event {
            self.docket.observe(&self.run, *snapshot, &state.board.readings(snapshot));
        }
        self.next.send_replace(sequenced.sequence + 1);
    }
}
