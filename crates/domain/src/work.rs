//! What a measure costs: counted, planned, and in seconds.
//!
//! Owns: these numbers and how they add up. May not touch: who counts or predicts them.

use serde::{Deserialize, Serialize};
use std::ops::{Add, Mul};

/// Work on one probe group.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Work {
    /// Forwards over the examples of the group.
    pub forwards: f64,
    /// Backwards over the examples of the group.
    pub backwards: f64,
    /// Passes over all parameters.
    pub passes: f64,
    /// Floating-point operations beside the network: singular values.
    pub operations: f64,
}

impl Work {
    /// No work at all.
    pub const NONE: Self = Self { forwards: 0.0, backwards: 0.0, passes: 0.0, operations: 0.0 };

    /// Forwards, backwards and passes.
    pub const fn of(forwards: f64, backwards: f64, passes: f64) -> Self {
        Self { forwards, backwards, passes, operations: 0.0 }
    }
}

impl Add for Work {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            forwards: self.forwards + other.forwards,
            backwards: self.backwards + other.backwards,
            passes: self.passes + other.passes,
            operations: self.operations + other.operations,
        }
    }
}

impl Mul<f64> for Work {
    type Output = Self;
    fn mul(self, by: f64) -> Self {
        Self {
            forwards: self.forwards * by,
            backwards: self.backwards * by,
            passes: self.passes * by,
            operations: self.operations * by,
        }
    }
}

/// What a measure of a run costs, in the order of the run's measures: from the cheapest to the most expensive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// On one group, less what a measure before it has made already: predicted, or as it was counted on the first
    /// group of the snapshot that was measured last.
    pub work: Work,
    /// Whether `work` was counted.
    pub counted: bool,
    /// On all groups and pooled, on the snapshot that was measured last.
    pub seconds: Option<f64>,
}
