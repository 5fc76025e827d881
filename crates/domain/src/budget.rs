//! Bytes that may be in memory at once: claimed before they arrive, released when the owner drops.
//!
//! Owns: the count. May not touch: the bytes.

use super::{Fault, FaultKind};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A shared limit on bytes.
#[derive(Debug, Clone)]
pub struct Budget {
    limit: u64,
    used: Arc<AtomicU64>,
}

/// Bytes claimed from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Claim {
    bytes: u64,
    used: Arc<AtomicU64>,
    /// What else is given back with it.
    other: Option<Box<dyn Any + Send + Sync>>,
}

impl Claim {
    /// Keeps something else for as long as the bytes are claimed, such as a place in another count.
    pub fn with(mut self, other: impl Any + Send + Sync) -> Self {
        self.other = Some(Box::new((other, self.other.take())));
        self
    }
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit, used: Arc::new(AtomicU64::new(0)) }
    }

    /// Bytes that are claimed now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The most bytes that may be claimed at once.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Claims `bytes` or nothing.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] when they can never fit, [`FaultKind::Exhausted`] when they do not fit now.
    pub fn claim(&self, bytes: u64) -> Result<Claim, Fault> {
        if bytes > self.limit {
            let limit = self.limit;
            return Err(Fault::invalid("tensors", format!("found {bytes} bytes, expected at most {limit}")));
        }
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(Claim { bytes, used: self.used.clone(), other: None }),
            Err(used) => {
                let message = format!("{bytes} bytes do not fit now: {used} of {} are in use", self.limit);
                Err(Fault::new(FaultKind::Exhausted, message))
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_given_back() {
        let budget = Budget::new(10);
        let first = budget.claim(6).expect("fits");
        assert_eq!(budget.claim(5).expect_err("full").kind, FaultKind::Exhausted);
        drop(first);
        assert_eq!(budget.claim(11).expect_err("never").kind, FaultKind::Invalid);
        assert!(budget.claim(10).is_ok());
    }

    #[test]
    fn what_goes_with_a_claim_goes_with_it() {
        let first = Arc::new(());
        let second = Arc::new(());
        let claim = Budget::new(1).claim(1).expect("fits").with(first.clone()).with(second.clone());
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (2, 2));
        drop(claim);
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 1));
    }
}
