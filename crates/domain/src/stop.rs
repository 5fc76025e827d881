//! Whether a computation goes on.
//!
//! Owns: the question that it asks, and the flag. May not touch: who raises it, who looks at it.

use super::{Fault, FaultKind};
use std::sync::{Arc, OnceLock};

/// Asked by a computation between draws, batches and layers.
pub trait Checkpoint: Sync {
    /// Returns when the computation may go on, which may take a while: others may compute in the meantime.
    ///
    /// # Errors
    /// [`FaultKind::Cancelled`] when it should end, with the reason.
    fn check(&self) -> Result<(), Fault>;
}

/// Raised to end a computation early. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<OnceLock<String>>);

impl Stop {
    /// Asks the computation to end; the first reason counts.
    pub fn raise(&self, reason: impl Into<String>) {
        let _ = self.0.set(reason.into());
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        self.0.get().is_some()
    }
}

impl Checkpoint for Stop {
    fn check(&self) -> Result<(), Fault> {
        match self.0.get() {
            Some(reason) => Err(Fault::new(FaultKind::Cancelled, reason.clone())),
            None => Ok(()),
        }
    }
}
