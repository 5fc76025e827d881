//! One reading to be made, and what it must keep to.
//!
//! Owns: how a reading is named between a session and its caller. May not touch: how it is made.

use clino_domain::{Checkpoint, MeasureRequest, Work};
use std::ops::Range;

/// One reading to be made: a measure of the run, on a group or on the weights alone.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Task {
    /// Which measure, defaults filled in.
    pub measure: MeasureRequest,
    /// `None` for measures of the weights alone.
    pub group: Option<String>,
    /// Which of the run's measures it is.
    pub chosen: usize,
    /// Work that is planned, on one group.
    pub work: Work,
    /// Work that will be done on its groups, less what these have done before for themselves; in forwards and backwards
    /// over all examples of the probe.
    pub expected: Work,
    /// Floating-point operations that are planned, roughly: for a guess at its time.
    pub operations: f64,
    pub(crate) groups: Range<usize>,
}

impl Task {
    /// Indices of its groups.
    pub(crate) fn groups(&self) -> Range<usize> {
        self.groups.clone()
    }
}

/// What a reading must keep to.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// Ends the task early when it is raised.
    pub stop: &'a dyn Checkpoint,
    /// Seconds since it began, for draws that end by time.
    pub clock: &'a (dyn Fn() -> f64 + Sync),
}
