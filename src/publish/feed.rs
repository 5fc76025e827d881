//! What happens in one run: told to its log, its board and its watchers once the store has it, or at once without a store.
//!
//! Owns: the order and the numbers of a run's events, and which is the last. May not touch: other runs; what a policy says.

use super::board::Board;
use super::count::count;
use super::docket::Docket;
use super::log::{Bounds, Log};
use crate::store::{Change, Entry, EventStore, Standing};
use clino_domain::tally::Tally;
use clino_domain::{Acceptance, Event, RunId, RunRecord, Sequenced, SnapshotHeader};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// What feeds share.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub bounds: Bounds,
    pub store: Option<Arc<dyn EventStore>>,
    pub docket: Arc<Docket>,
    pub tally: Arc<Tally>,
}

#[derive(Debug)]
pub(super) struct Feed {
    run: RunId,
    store: Option<Arc<dyn EventStore>>,
    pub state: Mutex<State>,
    tally: Arc<Tally>,
    docket: Arc<Docket>,
    /// Place of the next event: wakes watchers.
    next: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct State {
    log: Log,
    pub board: Board,
    /// Number of the next event, those on their way to the store counted.
    due: u64,
    /// The last event is on its way.
    sealed: bool,
    /// The last event has been told.
    pub ended: bool,
    /// Snapshots that are measured, told or not, of which the policy has not been asked.
    pub unjudged: u64,
    /// The last event, while it waits for what the policy says of the snapshots before it.
    held: Option<Event>,
    /// When something happened last.
    pub changed: Instant,
}

/// What happens.
#[derive(Debug)]
pub(super) enum What {
    Open(Box<RunRecord>),
    Accept(Box<Acceptance>),
    Event(Event),
    Close { resumable: bool },
    Reopen,
}

/// What of it there is to tell.
#[derive(Debug)]
enum Told {
    Nothing,
    Event(Arc<Sequenced>),
    Reopened,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_last(event: &Event) -> bool {
    matches!(event, Event::Closed | Event::Draining)
}

impl State {
    /// An event with its number.
    fn number(&mut self, event: Event) -> Arc<Sequenced> {
        let sequence = self.due;
        // A drain is told and not kept: its number is free for what comes next.
        self.due += u64::from(event != Event::Draining);
        Arc::new(Sequenced { sequence, event })
    }
}

impl Feed {
    /// Of a run that stands like this; `ended` tells whether its last event is there.
    pub fn new(run: RunId, around: Surroundings, standing: Standing, ended: bool) -> Arc<Self> {
        let Surroundings { bounds, store, docket, tally } = around;
        let due = standing.progress.next_sequence;
        let state = State {
            log: Log::new(bounds, due),
            board: Board::new(bounds, standing),
            due,
            sealed: ended,
            ended,
            unjudged: 0,
            held: None,
            changed: Instant::now(),
        };
        Arc::new(Self { run, store, state: Mutex::new(state), tally, docket, next: watch::Sender::new(due) })
    }

    pub fn run(&self) -> &RunId {
        &self.run
    }

    pub fn news(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// Place of the next event, and whether the last event has been told.
    pub fn end(&self) -> (u64, bool) {
        let state = lock(&self.state);
        (state.log.next(), state.ended)
    }

    /// The event at a place or a gap before it, and whether the last event has been told.
    pub fn at(&self, place: u64) -> (Option<Arc<Sequenced>>, bool) {
        let state = lock(&self.state);
        (state.log.at(place), state.ended)
    }

    pub fn is_sealed(&self) -> bool {
        lock(&self.state).sealed
    }

    /// Something happens; nothing does behind the last event. The lock gives what is pushed the order of the run.
    pub fn push(self: &Arc<Self>, what: What) {
        let mut state = lock(&self.state);
        match &what {
            What::Reopen => {
                // The end that is taken back comes before, also where its policy is slow.
                self.release(&mut state);
                state.sealed = false;
            }
            // Whether it may be opened again may change behind the end.
            What::Close { .. } => {}
            _ if state.sealed => return,
            What::Event(event) if is_last(event) => {
                state.sealed = true;
                if state.unjudged > 0 {
                    state.held = Some(event.clone());
                    return;
                }
            }
            What::Event(Event::Finished { .. }) if self.docket.judges(&self.run) => state.unjudged += 1,
            _ => {}
        }
        self.pass(&mut state, what);
    }

    /// The policy was asked of one more snapshot; what it says, if that is news.
    pub fn judged(self: &Arc<Self>, news: Option<Event>) {
        let mut state = lock(&self.state);
        state.unjudged = state.unjudged.saturating_sub(1);
        if let Some(event) = news.filter(|_| !state.sealed || state.held.is_some()) {
            self.pass(&mut state, What::Event(event));
        }
        if state.unjudged == 0 {
            self.release(&mut state);
        }
    }

    /// The end waits no longer.
    fn release(self: &Arc<Self>, state: &mut State) {
        if let Some(event) = state.held.take() {
            self.pass(state, What::Event(event));
        }
    }

    /// To the store, which says when it may be told; without one it is told now.
    fn pass(self: &Arc<Self>, state: &mut State, what: What) {
        let Some(store) = &self.store else {
            let told = self.without_store(state, what);
            return self.tell(state, &told);
        };
        let (change, told) = written(state, what);
        let feed = self.clone();
        let committed = Box::new(move || feed.tell(&mut lock(&feed.state), &told));
        store.push(Entry::new(self.run.clone(), change, committed));
    }

    fn without_store(&self, state: &mut State, what: What) -> Told {
        match what {
            What::Open(_) | What::Close { .. } => Told::Nothing,
            What::Accept(acceptance) => Told::Event(state.number(accepted(&acceptance))),
            What::Event(event) => Told::Event(state.number(event)),
            What::Reopen => Told::Reopened,
        }
    }

    fn tell(self: &Arc<Self>, state: &mut State, told: &Told) {
        match told {
            Told::Nothing => {}
            Told::Event(sequenced) => self.settle(state, sequenced),
            Told::Reopened => {
                state.ended = false;
                state.changed = Instant::now();
                self.docket.reopen(&self.run);
            }
        }
    }

    /// An event changes everything before anybody is told, so that a listener can ask for the decision at once.
    fn settle(self: &Arc<Self>, state: &mut State, sequenced: &Arc<Sequenced>) {
        state.ended = is_last(&sequenced.event);
        state.changed = Instant::now();
        count(&self.tally, &sequenced.event, &state.board);
        state.log.keep(sequenced);
        state.board.apply(sequenced);
        match &sequenced.event {
            Event::Finished { snapshot, .. } => {
                self.docket.observe(&self.run, *snapshot, &state.board.readings(snapshot));
                if !self.docket.summon(&self.run) {
                    state.unjudged = state.unjudged.saturating_sub(1);
                }
            }
            Event::Closed => self.docket.close(&self.run),
            Event::Decided(decision) => self.docket.tell(&self.run, decision),
            _ => {}
        }
        self.next.send_replace(sequenced.sequence + 1);
        if state.unjudged == 0 {
            self.release(state);
        }
    }

    /// What happens is told at once, as without a store.
    #[cfg(test)]
    pub fn tell_now(self: &Arc<Self>, event: Event) -> Option<Arc<Sequenced>> {
        let mut state = lock(&self.state);
        if state.ended {
            return None;
        }
        let sequenced = state.number(event);
        self.settle(&mut state, &sequenced);
        Some(sequenced)
    }
}

fn accepted(acceptance: &Acceptance) -> Event {
    let SnapshotHeader { at, kind, initialization } = acceptance.header;
    Event::Accepted { snapshot: at, kind, initialization }
}

/// As the store is given it, and as it is told then.
fn written(state: &mut State, what: What) -> (Change, Told) {
    match what {
        What::Open(record) => (Change::Open(record), Told::Nothing),
        What::Accept(acceptance) => {
            let event = state.number(accepted(&acceptance));
            (Change::Accept(acceptance, event.clone()), Told::Event(event))
        }
        What::Event(event) => {
            let event = state.number(event);
            let mark = event.event == Event::Draining;
            (if mark { Change::Mark } else { Change::Event(event.clone()) }, Told::Event(event))
        }
        What::Close { resumable } => (Change::Close { resumable }, Told::Nothing),
        What::Reopen => (Change::Reopen, Told::Reopened),
    }
}
