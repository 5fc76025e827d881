//! Counts what is done: forwards, backwards, passes over the parameters.
//!
//! Owns: the counters. May not touch: what is counted, clocks.

use clino_domain::Work;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that workers on several threads share.
#[derive(Debug, Default)]
pub struct WorkCounter {
    forward: AtomicU64,
    backward: AtomicU64,
    passes: AtomicU64,
    products: AtomicU64,
}

impl WorkCounter {
    /// Counts a forward over some examples.
    pub fn forward(&self, examples: usize) {
        self.forward.fetch_add(examples as u64, Ordering::Relaxed);
    }

    /// Counts a backward over some examples.
    pub fn backward(&self, examples: usize) {
        self.backward.fetch_add(examples as u64, Ordering::Relaxed);
    }

    /// Something went once over all parameters.
    pub fn pass(&self) {
        self.passes.fetch_add(1, Ordering::Relaxed);
    }

    /// Floating-point operations outside the network.
    pub fn operations(&self, operations: f64) {
        self.products.fetch_add(operations as u64, Ordering::Relaxed);
    }

    /// What was done since the last call, in forwards and backwards over `examples`.
    pub fn take(&self, examples: usize) -> Work {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed) as f64;
        let per_example = 1.0 / examples.max(1) as f64;
        Work {
            forwards: take(&self.forward) * per_example,
            backwards: take(&self.backward) * per_example,
            passes: take(&self.passes),
            operations: take(&self.products),
        }
    }
}
