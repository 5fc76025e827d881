//! The turn of one snapshot: while it has the engine it computes, and while it has not it waits at its next checkpoint.
//!
//! Owns: whether it computes, and for how long it has. May not touch: whose turn it is.

use clino_domain::{Checkpoint, Fault, Stop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long a snapshot that waits sleeps before it looks whether it should end.
const LOOK: Duration = Duration::from_millis(50);

/// Of a snapshot that is measured.
#[derive(Debug)]
pub(super) struct Turn {
    /// Ends this snapshot.
    stop: Stop,
    /// Ends all of them.
    all: Stop,
    /// Whether it may not just go on: a look that needs no lock.
    held: AtomicBool,
    state: Mutex<TurnState>,
    resumed: Condvar,
    /// Hears when it has paused.
    scheduler: Thread,
}

#[derive(Debug)]
struct TurnState {
    /// Since when it computes; `None` while it waits.
    since: Option<Instant>,
    /// Seconds before that.
    worked: f64,
    /// Whether somebody else should have the engine now.
    asked: bool,
}

impl TurnState {
    fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            self.worked += since.elapsed().as_secs_f64();
        }
    }
}

impl Turn {
    /// Of a snapshot that waits for its turn; `stop` ends it, `all` too.
    pub fn new(stop: Stop, all: Stop, scheduler: Thread) -> Self {
        let state = Mutex::new(TurnState { since: None, worked: 0.0, asked: false });
        Self { stop, all, held: AtomicBool::new(true), state, resumed: Condvar::new(), scheduler }
    }

    fn lock(&self) -> MutexGuard<'_, TurnState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has the engine now.
    pub fn resume(&self) {
        let mut state = self.lock();
        (state.since, state.asked) = (Some(Instant::now()), false);
        self.held.store(false, Ordering::Relaxed);
        self.resumed.notify_all();
    }

    /// Asks it to wait at its next checkpoint.
    pub fn ask(&self) {
        self.lock().asked = true;
        self.held.store(true, Ordering::Relaxed);
    }

    /// Whether it has the engine.
    pub fn computes(&self) -> bool {
        self.lock().since.is_some()
    }

    /// Seconds for which it has had the engine now; none while it waits.
    pub fn turn_seconds(&self) -> f64 {
        self.lock().since.map_or(0.0, |since| since.elapsed().as_secs_f64())
    }

    /// Seconds for which it has had the engine altogether.
    pub fn seconds(&self) -> f64 {
        let state = self.lock();
        state.worked + state.since.map_or(0.0, |since| since.elapsed().as_secs_f64())
    }

    fn ended(&self) -> Result<(), Fault> {
        self.stop.check()?;
        self.all.check()
    }

    /// Waits until it has the engine; the first of its threads that comes here gives the engine up.
    fn wait(&self) -> Result<(), Fault> {
        let mut state = self.lock();
        if std::mem::take(&mut state.asked) {
            state.pause();
            self.scheduler.unpark();
        }
        while state.since.is_none() {
            self.ended()?;
            let waited = self.resumed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

impl Checkpoint for Turn {
    fn check(&self) -> Result<(), Fault> {
        self.ended()?;
        if self.held.load(Ordering::Relaxed) { self.wait() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clino_domain::FaultKind;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::thread::{sleep, spawn};

    fn turn() -> (Arc<Turn>, Stop) {
        let stop = Stop::default();
        let turn = Turn::new(stop.clone(), Stop::default(), std::thread::current());
        (Arc::new(turn), stop)
    }

    fn until(what: impl Fn() -> bool) {
        while !what() {
            sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn all_threads_of_a_snapshot_wait_until_it_is_resumed() {
        let (turn, stop) = turn();
        let steps = Arc::new(AtomicUsize::new(0));
        let count = || (turn.clone(), steps.clone());
        let threads: Vec<_> = [count(), count()]
            .map(|(turn, steps)| {
                spawn(move || {
                    while turn.check().is_ok() {
                        steps.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .into();
        sleep(Duration::from_millis(5));
        assert_eq!((steps.load(Ordering::Relaxed), turn.seconds()), (0, 0.0), "it has no turn yet");
        turn.resume();
        until(|| steps.load(Ordering::Relaxed) > 10);
        turn.ask();
        until(|| !turn.computes());
        let worked = turn.seconds();
        assert!(worked > 0.0);
        sleep(Duration::from_millis(5));
        assert_eq!((turn.seconds(), turn.turn_seconds()), (worked, 0.0), "time stands still while it waits");
        stop.raise("enough");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_snapshot_that_waits_hears_its_stop() {
        let (turn, stop) = turn();
        let waiting = turn.clone();
        let thread = spawn(move || waiting.check());
        stop.raise("closed");
        let fault = thread.join().unwrap().unwrap_err();
        assert_eq!((fault.kind, fault.message.as_str()), (FaultKind::Cancelled, "closed"));
    }
}
