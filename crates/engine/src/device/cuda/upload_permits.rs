//! Who may bring a snapshot to a GPU while it arrives.
//!
//! Runs are admitted with memory for one snapshot that waits and one on its way, each as large as the one that is
//! measured. So one is on its way at a time, and none that is larger than what is measured; any other is brought over
//! when its turn comes.
//!
//! Owns: the rule, and who is at it. May not touch: memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The right to bring one snapshot at a time to a GPU while it arrives.
#[derive(Debug, Default)]
pub struct UploadPermits {
    state: Arc<Mutex<PermitState>>,
}

#[derive(Debug, Default)]
struct PermitState {
    /// Whether a snapshot is on its way.
    busy: bool,
    /// Bytes of the parameters of those that are measured.
    held: Vec<u64>,
}

/// Leave to bring a snapshot, until it is dropped.
#[derive(Debug)]
pub struct UploadPermit {
    state: Arc<Mutex<PermitState>>,
}

/// A snapshot that is measured, until it is dropped.
#[derive(Debug)]
pub struct MeasuredSnapshot {
    state: Arc<Mutex<PermitState>>,
    bytes: u64,
}

fn lock(state: &Mutex<PermitState>) -> MutexGuard<'_, PermitState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UploadPermits {
    /// Permission to upload parameters of a number of bytes, unless another upload runs or the measured snapshot is smaller.
    pub fn enter(&self, bytes: u64) -> Option<UploadPermit> {
        let mut state = lock(&self.state);
        if state.busy || state.held.iter().any(|held| bytes > *held) {
            return None;
        }
        state.busy = true;
        Some(UploadPermit { state: self.state.clone() })
    }

    /// Parameters of this many bytes are measured from now on.
    pub fn stay(&self, bytes: u64) -> MeasuredSnapshot {
        lock(&self.state).held.push(bytes);
        MeasuredSnapshot { state: self.state.clone(), bytes }
    }
}

impl Drop for UploadPermit {
    fn drop(&mut self) {
        lock(&self.state).busy = false;
    }
}

impl Drop for MeasuredSnapshot {
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
        let permits = UploadPermits::default();
        let first = permits.enter(5);
        assert!(first.is_some() && permits.enter(5).is_none());
        drop(first);
        assert!(permits.enter(5).is_some());
    }

    #[test]
    fn none_is_larger_than_what_is_measured() {
        let permits = UploadPermits::default();
        let stays = [permits.stay(7), permits.stay(5)];
        assert!(permits.enter(6).is_none() && permits.enter(5).is_some());
        drop(stays);
        assert!(permits.enter(6).is_some());
    }
}
