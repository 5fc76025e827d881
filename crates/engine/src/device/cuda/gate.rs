//! Who may bring a snapshot to a GPU while it arrives.
//!
//! Runs are admitted with memory for one snapshot that waits and one on its way, each as large as the one that is
//! measured. So one is on its way at a time, and none that is larger than what is measured; any other is brought over
//! when its turn comes.
//!
//! Owns: the rule, and who is at it. May not touch: memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module.
#[derive(Debug, Default)]
pub struct Gate {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether a snapshot is on its way.
    busy: bool,
    /// Bytes of the parameters of those that are measured.
    held: Vec<u64>,
}

/// Leave to bring a snapshot, until it is dropped.
#[derive(Debug)]
pub struct Pass {
    state: Arc<Mutex<State>>,
}

/// A snapshot that is measured, until it is dropped.
#[derive(Debug)]
pub struct Stay {
    state: Arc<Mutex<State>>,
    bytes: u64,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// Permission to upload parameters of a number of bytes, unless another upload runs or the measured snapshot is smaller.
    pub fn enter(&self, bytes: u64) -> Option<Pass> {
        let mut state = lock(&self.state);
        if state.busy || state.held.iter().any(|held| bytes > *held) {
            return None;
        }
        state.busy = true;
        Some(Pass { state: self.state.clone() })
    }

    /// Parameters of this many bytes are measured from now on.
    pub fn stay(&self, bytes: u64) -> Stay {
        lock(&self.state).held.push(bytes);
        Stay { state: self.state.clone(), bytes }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        lock(&self.state).busy = false;
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let held = &mut lock(&self.state).held;
        if let Some(place) = held.iter().position(|bytes| *bytes == self.bytes) {
            held.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let gate = Gate::default();
        let first = gate.enter(5);
        assert!(first.is_some() && gate.enter(5).is_none());
        drop(first);
        assert!(gate.enter(5).is_some());
    }

    #[test]
    fn none_is_larger_than_what_is_measured() {
        let gate = Gate::default();
        let stays = [gate.stay(7), gate.stay(5)];
        assert!(gate.enter(6).is_none() && gate.enter(5).is_some());
        drop(stays);
        assert!(gate.enter(6).is_some());
    }
}
