//! Where trainer and sender thread meet: one snapshot that waits, the initialization, and the counts.
//!
//! Owns: the lock, which is never held across a call to a daemon. May not touch: connections.

use super::{Summary, Warn};
use crate::Label;
use clino_domain::{Decision, RunId, Tensor};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A snapshot with its label.
#[derive(Debug)]
pub(super) struct PendingSnapshot {
    pub label: Label,
    pub tensors: Vec<Tensor>,
    received: AtomicBool,
}

impl PendingSnapshot {
    pub fn new(label: Label, tensors: Vec<Tensor>) -> Self {
        Self { label, tensors, received: AtomicBool::new(false) }
    }
}

/// How the trainer stands to the sender thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The trainer goes on.
    Training,
    /// Send what is left, then close.
    Finishing,
    /// Closed: nothing more is sent.
    Abandoned,
}

struct SlotState {
    waiting: Option<Arc<PendingSnapshot>>,
    initialization: Option<Arc<PendingSnapshot>>,
    /// Whether the initialization is still to be sent to the run that is open now.
    initialization_due: bool,
    run: Option<RunId>,
    /// The run that was opened last, also while the daemon is away.
    last_run: Option<RunId>,
    phase: Phase,
    /// The sender thread is gone: nothing will be sent any more.
    ended: bool,
    warned_away: bool,
    warned_refused: bool,
    summary: Summary,
    /// What the policy of the run that is open now said last.
    decision: Option<Decision>,
}

pub(super) struct SendSlot {
    state: Mutex<SlotState>,
    /// Signals the threads that wait: room in the slot, an open run, the end.
    changed: Condvar,
    /// Signals the sender thread that waits in [`SendSlot::take`]: something to send, or a change of phase.
    wake: Notify,
    /// Signals the sender thread that waits in [`SendSlot::abandoned`]. One notification wakes one waiter, hence two of them.
    let_go: Notify,
    every: bool,
    warn: Warn,
}

impl SendSlot {
    pub fn new(every: bool, warn: Warn) -> Self {
        let state = SlotState {
            waiting: None,
            initialization: None,
            initialization_due: false,
            run: None,
            last_run: None,
            phase: Phase::Training,
            ended: false,
            warned_away: false,
            warned_refused: false,
            summary: Summary::default(),
            decision: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            wake: Notify::new(),
            let_go: Notify::new(),
            every,
            warn,
        }
    }

    // A panic elsewhere leaves plain data behind; the trainer must not inherit it.
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(
        &self,
        patience: Duration,
        condition: impl Fn(&SlotState) -> bool,
    ) -> MutexGuard<'_, SlotState> {
        let waited = self.changed.wait_timeout_while(self.lock(), patience, |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    // --- the trainer's side ---

    pub fn offer(&self, pending: Arc<PendingSnapshot>) {
        let mut state = self.lock();
        if self.every && !pending.label.initialization {
            // Only while the daemon is there: an outage must not stop the training.
            let full = |state: &mut SlotState| state.waiting.is_some() && state.run.is_some() && !state.ended;
            state = self.changed.wait_while(state, full).unwrap_or_else(PoisonError::into_inner);
        }
        state.summary.offered += 1;
        if pending.label.initialization {
            state.initialization_due = true;
            state.initialization = Some(pending);
        } else if state.ended {
            state.summary.left += 1;
        } else if state.waiting.replace(pending).is_some() {
            state.summary.replaced += 1;
        }
        self.wake.notify_one();
    }

    pub fn run(&self) -> Option<RunId> {
        self.lock().run.clone()
    }

    pub fn decision(&self) -> Option<Decision> {
        self.lock().decision.clone()
    }

    pub fn opened(&self, patience: Duration) -> Option<RunId> {
        self.wait_while(patience, |state| state.run.is_none() && !state.ended).run.clone()
    }

    pub fn finish(&self, patience: Duration) -> Summary {
        let deadline = Instant::now() + patience;
        self.set_phase(Phase::Finishing);
        drop(self.wait_while(patience, |state| !state.ended));
        self.set_phase(Phase::Abandoned);
        // The sender thread needs a moment to let go of what it is sending.
        let rest = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
        let state = self.wait_while(rest, |state| !state.ended);
        let mut summary = state.summary.clone();
        summary.left += u64::from(state.waiting.is_some()) + u64::from(state.initialization_due);
        summary
    }

    pub fn abandon(&self) {
        self.set_phase(Phase::Abandoned);
    }

    fn set_phase(&self, phase: Phase) {
        self.lock().phase = phase;
        self.wake.notify_one();
        self.let_go.notify_one();
        self.changed.notify_all();
    }

    // --- the sender thread's side ---

    /// Waits for the next snapshot of this session; `None` when there will be none.
    pub async fn take(&self) -> Option<Arc<PendingSnapshot>> {
        loop {
            if let Some(settled) = self.try_take() {
                return settled;
            }
            self.wake.notified().await;
        }
    }

    fn try_take(&self) -> Option<Option<Arc<PendingSnapshot>>> {
        let mut state = self.lock();
        if state.phase == Phase::Abandoned {
            return Some(None);
        }
        if state.initialization_due {
            state.initialization_due = false;
            return Some(state.initialization.clone());
        }
        let pending = state.waiting.take();
        self.changed.notify_all();
        match pending {
            Some(pending) => Some(Some(pending)),
            None if state.phase == Phase::Finishing => Some(None),
            None => None,
        }
    }

    /// Waits until the trainer lets go.
    pub async fn abandoned(&self) {
        while self.lock().phase != Phase::Abandoned {
            self.let_go.notified().await;
        }
    }

    /// A run is open: it has nothing yet.
    pub fn session(&self, run: RunId) {
        let mut state = self.lock();
        if state.last_run.replace(run.clone()).is_some_and(|last| last != run) {
            state.decision = None;
        }
        state.run = Some(run);
        state.initialization_due = state.initialization.is_some();
        self.changed.notify_all();
    }

    /// The daemon has it. The same snapshot may come again: after an outage, and whenever the run is opened anew.
    pub fn sent(&self, pending: &PendingSnapshot, decision: Option<Box<Decision>>) {
        let mut state = self.lock();
        state.decision = decision.map(|decision| *decision);
        if !pending.received.swap(true, Ordering::Relaxed) {
            state.summary.sent += 1;
        }
    }

    /// The daemon said no.
    pub fn refused(&self, why: &str) {
        let mut state = self.lock();
        state.summary.refused += 1;
        let first = !std::mem::replace(&mut state.warned_refused, true);
        drop(state);
        if first {
            (self.warn)(&format!("the daemon refuses a snapshot: {why}; training goes on"));
        }
    }

    /// The daemon is away. What was being sent goes back, unless a newer one waits already.
    pub fn away(&self, pending: Option<Arc<PendingSnapshot>>, why: &str) {
        let mut state = self.lock();
        // Of an outage only the first attempt counts.
        state.summary.outages += u64::from(state.run.take().is_some() || !state.warned_away);
        match pending {
            Some(pending) if pending.label.initialization => state.initialization_due = true,
            Some(_) if state.waiting.is_some() => state.summary.replaced += 1,
            Some(pending) => state.waiting = Some(pending),
            None => {}
        }
        let first = !std::mem::replace(&mut state.warned_away, true);
        self.changed.notify_all();
        drop(state);
        if first {
            (self.warn)(&format!("{why}; training goes on, the newest snapshot is kept until it answers"));
        }
    }

    /// Nothing can ever be sent.
    pub fn give_up(&self, why: &str) {
        (self.warn)(&format!("{why}; training goes on, nothing is measured"));
        self.end();
    }

    /// The sender thread is done.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}
