//! Whether the daemon takes work: it does unless somebody says why not.
//!
//! Owns: the reasons. May not touch: who gives them, who asks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The engine has not been checked yet.
pub const STARTING: &str = "starting";
/// The daemon shuts down.
pub const DRAINING: &str = "draining";
/// A GPU failed for good.
pub const DEVICE: &str = "device";
/// The engine's thread has ended.
pub const ENGINE: &str = "engine";
/// The history cannot be written.
pub const STORE: &str = "store";
/// Snapshots cannot be kept in the spool.
pub const SPOOL: &str = "spool";

/// What stands against work, by name.
#[derive(Debug)]
pub struct Readiness(Mutex<BTreeMap<&'static str, String>>);

impl Default for Readiness {
    /// Not ready: it is starting.
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::from([(STARTING, "the engine is not there yet".to_owned())])))
    }
}

impl Readiness {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something stands against work.
    pub fn hold(&self, name: &'static str, reason: impl Into<String>) {
        self.lock().insert(name, reason.into());
    }

    /// It does no more.
    pub fn release(&self, name: &'static str) {
        self.lock().remove(name);
    }

    /// Whether this stands against work.
    pub fn is_held(&self, name: &'static str) -> bool {
        self.lock().contains_key(name)
    }

    /// All that stands against work, with the reasons; empty: ready.
    pub fn reasons(&self) -> Vec<(&'static str, String)> {
        self.lock().iter().map(|(name, reason)| (*name, reason.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_nothing_is_held() {
        let readiness = Readiness::default();
        assert!(readiness.is_held(STARTING));
        readiness.hold(STORE, "the disk is full");
        readiness.release(STARTING);
        assert_eq!(readiness.reasons(), [(STORE, "the disk is full".to_owned())]);
        readiness.release(STORE);
        assert!(readiness.reasons().is_empty());
    }
}
