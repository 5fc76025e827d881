//! Whether a run should go on: rules over series of readings.
//!
//! Owns: the rules, and how a policy joins them. May not touch: where readings come from and where decisions go; it is
//! synchronous and pure, without clocks.

use crate::domain::{Counsel, Fault, Judge, MeasureRequest, Policy, RuleInfo};
use std::sync::Arc;

/// Knows every rule.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bench;

impl Judge for Bench {
    fn admit(&self, _: &Policy, _: &[MeasureRequest], _: &[String]) -> Result<Arc<dyn Counsel>, Fault> {
        Err(Fault::invalid("policy", "found a policy, expected none: there are no rules yet"))
    }

    fn rules(&self) -> Vec<RuleInfo> {
        Vec::new()
    }
}
