//! How everything here is locked: also after a holder panicked, so that one failure is not that of all others.
//!
//! Owns: that. May not touch: what is locked.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
