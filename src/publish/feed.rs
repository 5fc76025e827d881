//! The hub: one feed a run, each with a log, a board and its watchers' alarm.
//!
//! Owns: which feeds there are and when they end. May not touch: what the events mean beyond their end.

use super::board::{Board, Standing};
use super::count::count;
use super::docket::{Decided, Docket};
use super::log::{Bounds, Log};
use crate::domain::tally::Tally;
use crate::domain::{
    Archive, Case, Decision, Event, Fault, FaultKind, Journal, Reading, Report, RunId, Sequenced, SnapshotRef,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// All feeds.
#[derive(Debug, Default)]
pub struct Hub {
    bounds: Bounds,
    feeds: Mutex<HashMap<RunId, Arc<Feed>>>,
    docket: Docket,
    /// Counts what happens in all runs: wakes whoever watches many of them.
    pub(super) changes: watch::Sender<u64>,
    pub(super) ended: CancellationToken,
    tally: Arc<Tally>,
}

#[derive(Debug)]
pub(super) struct Feed {
    pub(super) state: Mutex<State>,
    /// Place of the next event: wakes watchers.
    next: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct State {
    log: Log,
    pub(super) board: Board,
    /// No event comes any more.
    ended: bool,
    /// When something happened last.
    changed: Instant,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A hub whose feeds are bounded by `bounds`.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// The same, with what happens counted there.
    pub fn counted(self, tally: Arc<Tally>) -> Self {
        Self { tally, ..self }
    }

    pub(super) fn feed(&self, run: &RunId) -> Result<Arc<Feed>, Fault> {
        let unknown =
            || Fault::field(FaultKind::NotFound, "run_id", "found the id of no run that this daemon holds");
        lock(&self.feeds).get(run).cloned().ok_or_else(unknown)
    }

    /// How a run stands.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`].
    pub fn standing(&self, run: &RunId) -> Result<Standing, Fault> {
        let mut standing = lock(&self.feed(run)?.state).board.standing().clone();
        standing.decision = self.docket.last(run).or(standing.decision);
        Ok(standing)
    }

    /// How long nothing has happened in a run.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`].
    pub fn quiet(&self, run: &RunId) -> Result<Duration, Fault> {
        Ok(lock(&self.feed(run)?.state).changed.elapsed())
    }

    /// What is known of a snapshot of a run; `None` is the one that was measured last.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] for an unknown run or snapshot.
    pub fn report(&self, run: &RunId, at: Option<SnapshotRef>) -> Result<Report, Fault> {
        lock(&self.feed(run)?.state).board.report(at)
    }

    /// A watcher of a run, from a sequence number or from now on. Of a run that has ended, "now" is its last event.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] for an unknown run, [`FaultKind::Invalid`] for a sequence number ahead of the run.
    pub fn watch(&self, run: &RunId, from: Option<u64>) -> Result<Watcher, Fault> {
        let feed = self.feed(run)?;
        let state = lock(&feed.state);
        let (next, ended) = (state.log.next(), state.ended);
        drop(state);
        let from = from.unwrap_or(if ended { next.saturating_sub(1) } else { next });
        if from > next {
            let description = format!("found {from}, expected at most {next}, the number of the next event");
            return Err(Fault::invalid("from_sequence", description));
        }
        let news = feed.next.subscribe();
        Ok(Watcher { feed, place: from, news })
    }

    /// The last event of every run that has not ended: the daemon shuts down.
    pub fn drain(&self) {
        let feeds: Vec<_> = lock(&self.feeds).values().cloned().collect();
        feeds.iter().for_each(|feed| feed.append(Event::Draining, &self.tally));
        self.ended.cancel();
    }
}

impl Journal for Hub {
    fn refusal(&self, run: &RunId) -> Option<String> {
        self.docket.refusal(run)
    }

    fn open(&self, run: &RunId, case: Case) {
        self.docket.open(run, case, None);
        let state = State {
            log: Log::new(self.bounds),
            board: Board::new(self.bounds),
            ended: false,
            changed: Instant::now(),
        };
        let feed = Feed { state: Mutex::new(state), next: watch::Sender::new(0) };
        lock(&self.feeds).insert(run.clone(), Arc::new(feed));
        self.changed();
    }

    fn append(&self, run: &RunId, event: Event) {
        let Ok(feed) = self.feed(run) else { return };
        let (measured, closed) = (measured(&event), matches!(event, Event::Closed));
        feed.append(event, &self.tally);
        if closed {
            self.docket.close(run);
        }
        if let Some(at) = measured {
            self.measured(run, &feed, at);
        }
        self.changed();
    }

    fn forget(&self, run: &RunId) {
        self.docket.forget(run);
        lock(&self.feeds).remove(run);
        self.changed();
    }
}

fn measured(event: &Event) -> Option<SnapshotRef> {
    match event {
        Event::Finished { snapshot, .. } => Some(*snapshot),
        _ => None,
    }
}

impl Hub {
    /// A snapshot is measured: what the run's policy says of it, told if it is news.
    fn measured(&self, run: &RunId, feed: &Feed, at: SnapshotRef) {
        self.docket.observe(run, at, &lock(&feed.state).board.readings(&at));
        match self.decide(run, None) {
            Ok(_) => {}
            Err(fault) if fault.kind == FaultKind::Precondition => {}
            Err(fault) => tracing::warn!(%run, %fault, "no decision"),
        }
    }

    /// What the policy of a run said last.
    pub fn verdict(&self, run: &RunId) -> Option<Decision> {
        self.docket.last(run)
    }

    /// The decision of a run that stands, if nothing has happened since it was made.
    pub fn decided(&self, run: &RunId) -> Option<Decision> {
        self.docket.standing(run)
    }

    /// What the policy of a run says now, or said of its history up to a step. News are told to its watchers.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`]; [`FaultKind::Precondition`] for a run without a policy.
    pub fn decide(&self, run: &RunId, as_of: Option<u64>) -> Result<Decision, Fault> {
        let Decided { decision, news } = self.docket.decide(run, as_of, self)?;
        if news {
            self.append(run, Event::Decided(Box::new(decision.clone())));
        }
        Ok(decision)
    }

    /// Takes back a STOP; rules begin anew behind what is measured.
    ///
    /// # Errors
    /// Those of [`Hub::decide`]; [`FaultKind::Precondition`] where no STOP stands.
    pub fn take_back(&self, run: &RunId, reason: &str, by: &str) -> Result<Decision, Fault> {
        let decision = self.docket.take_back(run, reason, by, self)?;
        self.append(run, Event::Decided(Box::new(decision.clone())));
        Ok(decision)
    }
}

impl Archive for Hub {
    fn recall(
        &self,
        run: &RunId,
        measures: &[String],
        with: &mut dyn FnMut(SnapshotRef, &[Reading]),
    ) -> Result<(), Fault> {
        let feed = self.feed(run)?;
        let reports = lock(&feed.state).board.recall(measures);
        reports.iter().for_each(|(at, readings)| with(*at, readings));
        Ok(())
    }
}

impl Feed {
    fn append(&self, event: Event, tally: &Tally) {
        let mut state = lock(&self.state);
        if state.ended {
            return;
        }
        state.ended = matches!(event, Event::Closed | Event::Draining);
        state.changed = Instant::now();
        count(tally, &event, &state.board);
        let sequenced = state.log.append(event);
        state.board.apply(&sequenced);
        self.next.send_replace(sequenced.sequence + 1);
    }
}

/// A cursor over the events of one run.
#[derive(Debug)]
pub struct Watcher {
    feed: Arc<Feed>,
    place: u64,
    news: watch::Receiver<u64>,
}

impl Watcher {
    /// Place of the next event.
    pub fn place(&self) -> u64 {
        self.place
    }

    /// The next event; `None` after the last one of the run. Cancel-safe: the cursor moves only with an answer.
    pub async fn next(&mut self) -> Option<Arc<Sequenced>> {
        loop {
            self.news.mark_unchanged();
            let (event, ended) = {
                let state = lock(&self.feed.state);
                (state.log.at(self.place), state.ended)
            };
            if let Some(event) = event {
                self.place = event.sequence + 1;
                return Some(event);
            }
            if ended || self.news.changed().await.is_err() {
                return None;
            }
        }
    }
}
