//! Who asks policies of what is measured: a thread of its own, so that a slow one holds up no store and no engine.
//!
//! Owns: the thread. May not touch: what policies say.

use super::decision_store::DecisionStore;
use super::lock::lock;
use clino_domain::RunId;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How often a thread that ends is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// The thread, which ends when this drops.
#[derive(Debug)]
pub(super) struct PolicyThread {
    decisions: Arc<DecisionStore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl PolicyThread {
    /// Starts it. `evaluate` asks the policy of one run, and tells whether there is anybody left who wants to know.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(
        decisions: Arc<DecisionStore>,
        evaluate: impl Fn(&RunId) -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let asked = decisions.clone();
        let work = move || while asked.next().is_some_and(|run| evaluate(&run)) {};
        let thread = Builder::new().name("clino-policies".into()).spawn(work)?;
        Ok(Self { decisions, thread: Mutex::new(Some(thread)) })
    }

    /// Nothing is enqueued any more: waits until all that was is answered. False when that takes too long.
    pub fn end(&self, deadline: Instant) -> bool {
        self.decisions.end();
        let Some(thread) = lock(&self.thread).take() else {
            return true;
        };
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        thread.join().is_ok()
    }
}

impl Drop for PolicyThread {
    fn drop(&mut self) {
        self.decisions.end();
    }
}
