//! The way to end a computation early.
//!
//! Owns: the flag. May not touch: who raises it, who looks at it.

use clino_domain::{Fault, FaultKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Raised to end a computation early; checked between draws and between batches.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the computation to end.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// [`FaultKind::Cancelled`] once raised.
    pub fn check(&self) -> Result<(), Fault> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Fault::new(FaultKind::Cancelled, "stopped before it was finished")),
            false => Ok(()),
        }
    }
}
