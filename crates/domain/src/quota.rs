//! What projects may use up: asked by the stages that use it, kept elsewhere.
//!
//! Owns: the trait by which they meet, and the form of a refusal. May not touch: limits, counts.

use super::{Fault, FaultKind, Violation};
use std::time::Duration;

/// Whoever knows how much of everything a project has left.
pub trait Quota: Send + Sync {
    /// Whether a project that has `open` open runs may have one more.
    ///
    /// # Errors
    /// [`FaultKind::Quota`].
    fn may_open(&self, project: &str, open: usize) -> Result<(), Fault>;

    /// Records seconds that the engine worked for a project.
    fn spend(&self, project: &str, seconds: f64);

    /// How much of the engine each run of a project gets beside the others, above 0; 1 is usual.
    fn weight(&self, project: &str) -> f64;
}

/// Quotas without any limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

impl Quota for Unlimited {
    fn may_open(&self, _: &str, _: usize) -> Result<(), Fault> {
        Ok(())
    }

    fn spend(&self, _: &str, _: f64) {}

    fn weight(&self, _: &str) -> f64 {
        1.0
    }
}

/// The refusal for a quota that is used up: subject `project/NAME/QUOTA`; `retry` is when trying again may help, if that
/// is known.
pub fn exceeded(project: &str, quota: &str, description: String, retry: Option<Duration>) -> Fault {
    let violation = Violation { field: format!("project/{project}/{quota}"), description };
    Fault { retry, ..Fault::of(FaultKind::Quota, vec![violation]) }
}
