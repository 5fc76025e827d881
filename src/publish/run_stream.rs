//! What happens in one run: told to its log, its projection and its watchers once the store has it, or at once without a store.
//!
//! Owns: the order and the numbers of a run's events, and which is the last. May not touch: other runs; what a policy says.

use super::count::count;
use super::decision_store::DecisionStore;
use super::lock::lock;
use super::log::{Bounds, Log};
use super::run_projection::RunProjection;
use crate::store::{Entry, EventStore, RunChange, Standing};
use clino_domain::budget::Budget;
use clino_domain::counters::Counters;
use clino_domain::{Acceptance, Event, RunId, RunRecord, Sequenced, SnapshotHeader};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::watch;

/// What the streams of all runs share.
#[derive(Debug, Clone)]
pub(super) struct StreamContext {
    pub bounds: Bounds,
    pub budget: Budget,
    pub store: Option<Arc<dyn EventStore>>,
    pub decisions: Arc<DecisionStore>,
    pub counters: Arc<Counters>,
}

#[derive(Debug)]
pub(super) struct RunStream {
    run: RunId,
    store: Option<Arc<dyn EventStore>>,
    pub state: Mutex<StreamState>,
    counters: Arc<Counters>,
    decisions: Arc<DecisionStore>,
    /// Place of the next event: wakes watchers.
    next: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct StreamState {
    log: Log,
    pub projection: RunProjection,
    /// Number of the next event, those on their way to the store counted.
    due: u64,
    /// The last event is on its way.
    sealed: bool,
    /// The last event has been told.
    pub ended: bool,
    /// Snapshots that are measured, told or not, of which the policy has not been asked.
    pub unevaluated: u64,
    /// The last event, while it waits for what the policy says of the snapshots before it.
    held: Option<Event>,
    /// When something happened last.
    pub changed: Instant,
}

/// A change of a run, before it is published.
#[derive(Debug)]
pub(super) enum RunUpdate {
    Open(Box<RunRecord>),
    Accept(Box<Acceptance>),
    Event(Event),
    Close { resumable: bool },
    Reopen,
}

/// What of it there is to tell.
#[derive(Debug)]
enum Published {
    Nothing,
    Event(Arc<Sequenced>),
    Reopened,
}

fn is_last(event: &Event) -> bool {
    matches!(event, Event::Closed | Event::Draining)
}

impl StreamState {
    /// An event with its number.
    fn number(&mut self, event: Event) -> Arc<Sequenced> {
        let sequence = self.due;
        // A drain is told and not kept: its number is free for what comes next.
        self.due += u64::from(event != Event::Draining);
        Arc::new(Sequenced { sequence, event })
    }
}

impl RunStream {
    /// Of a run that stands like this; `ended` tells whether its last event is there.
    pub fn new(run: RunId, around: StreamContext, standing: Standing, ended: bool) -> Arc<Self> {
        let StreamContext { bounds, budget, store, decisions, counters } = around;
        let due = standing.progress.next_sequence;
        let state = StreamState {
            log: Log::new(bounds, due, budget.nothing()),
            projection: RunProjection::new(bounds, standing, budget.nothing()),
            due,
            sealed: ended,
            ended,
            unevaluated: 0,
            held: None,
            changed: Instant::now(),
        };
        Arc::new(Self {
            run,
            store,
            state: Mutex::new(state),
            counters,
            decisions,
            next: watch::Sender::new(due),
        })
    }

    pub fn run(&self) -> &RunId {
        &self.run
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
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
    pub fn push(self: &Arc<Self>, what: RunUpdate) {
        let mut state = lock(&self.state);
        match &what {
            RunUpdate::Reopen => {
                // The end that is taken back comes before, also where its policy is slow.
                self.release(&mut state);
                state.sealed = false;
            }
            // Whether it may be opened again may change behind the end.
            RunUpdate::Close { .. } => {}
            _ if state.sealed => return,
            RunUpdate::Event(event) if is_last(event) => {
                state.sealed = true;
                if state.unevaluated > 0 {
                    state.held = Some(event.clone());
                    return;
                }
            }
            RunUpdate::Event(Event::Finished { .. }) if self.decisions.has_policy(&self.run) => {
                state.unevaluated += 1
            }
            _ => {}
        }
        self.pass(&mut state, what);
    }

    /// The policy was asked of one more snapshot; what it says, if that is news.
    pub fn evaluated(self: &Arc<Self>, news: Option<Event>) {
        let mut state = lock(&self.state);
        state.unevaluated = state.unevaluated.saturating_sub(1);
        if let Some(event) = news.filter(|_| !state.sealed || state.held.is_some()) {
            self.pass(&mut state, RunUpdate::Event(event));
        }
        if state.unevaluated == 0 {
            self.release(&mut state);
        }
    }

    /// The end waits no longer.
    fn release(self: &Arc<Self>, state: &mut StreamState) {
        if let Some(event) = state.held.take() {
            self.pass(state, RunUpdate::Event(event));
        }
    }

    /// To the store, which says when it may be told; without one it is told now.
    fn pass(self: &Arc<Self>, state: &mut StreamState, what: RunUpdate) {
        let Some(store) = &self.store else {
            let told = self.without_store(state, what);
            return self.tell(state, &told);
        };
        let (change, told) = written(state, what);
        let stream = self.clone();
        let committed = Box::new(move || stream.tell(&mut lock(&stream.state), &told));
        store.push(Entry::new(self.run.clone(), change, committed));
    }

    fn without_store(&self, state: &mut StreamState, what: RunUpdate) -> Published {
        match what {
            RunUpdate::Open(_) | RunUpdate::Close { .. } => Published::Nothing,
            RunUpdate::Accept(acceptance) => Published::Event(state.number(accepted(&acceptance))),
            RunUpdate::Event(event) => Published::Event(state.number(event)),
            RunUpdate::Reopen => Published::Reopened,
        }
    }

    fn tell(self: &Arc<Self>, state: &mut StreamState, told: &Published) {
        match told {
            Published::Nothing => {}
            Published::Event(sequenced) => self.settle(state, sequenced),
            Published::Reopened => {
                state.ended = false;
                state.changed = Instant::now();
                self.decisions.reopen(&self.run);
            }
        }
    }

    /// An event changes everything before anybody is told, so that a listener can ask for the decision at once.
    fn settle(self: &Arc<Self>, state: &mut StreamState, sequenced: &Arc<Sequenced>) {
        state.ended = is_last(&sequenced.event);
        state.changed = Instant::now();
        count(&self.counters, &sequenced.event, &state.projection);
        state.log.keep(sequenced);
        state.projection.apply(sequenced);
        match &sequenced.event {
            Event::Finished { snapshot, .. } => {
                self.decisions.observe(&self.run, *snapshot, &state.projection.readings(snapshot));
                if !self.decisions.enqueue(&self.run) {
                    state.unevaluated = state.unevaluated.saturating_sub(1);
                }
            }
            Event::Closed => self.decisions.close(&self.run),
            Event::Decided(decision) => self.decisions.tell(&self.run, decision),
            _ => {}
        }
        self.next.send_replace(sequenced.sequence + 1);
        if state.unevaluated == 0 {
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
fn written(state: &mut StreamState, what: RunUpdate) -> (RunChange, Published) {
    match what {
        RunUpdate::Open(record) => (RunChange::Open(record), Published::Nothing),
        RunUpdate::Accept(acceptance) => {
            let event = state.number(accepted(&acceptance));
            (RunChange::Accept(acceptance, event.clone()), Published::Event(event))
        }
        RunUpdate::Event(event) => {
            let event = state.number(event);
            let mark = event.event == Event::Draining;
            (if mark { RunChange::Mark } else { RunChange::Event(event.clone()) }, Published::Event(event))
        }
        RunUpdate::Close { resumable } => (RunChange::Close { resumable }, Published::Nothing),
        RunUpdate::Reopen => (RunChange::Reopen, Published::Reopened),
    }
}
