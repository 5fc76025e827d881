//! Whether a run should go on: rules over series of readings.
//!
//! Owns: the rules, and how a policy joins them. May not touch: where readings come from and where decisions go; it is
//! synchronous and pure, without clocks.
//!
//! ```text
//! admit    a policy, checked against rules and what a run measures    (once a run)
//! counsel  evidence → views → verdicts of the rules → one decision    (once a snapshot)
//! rule     sees a View, answers with a Verdict
//! ```

mod admit;
mod counsel;
mod digest;
mod parameters;
mod rule;
mod statistics;
mod view;

use clino_domain::{Counsel, Fault, Judge, MeasureInfo, MeasureRequest, Policy, RuleInfo};
use std::sync::Arc;

/// Knows every rule.
#[derive(Debug, Clone, Default)]
pub struct Bench {
    catalogue: Arc<[MeasureInfo]>,
}

impl Bench {
    /// One that knows which parts measures have, and which are taken by group. One without a catalogue takes any part
    /// and group for measured.
    pub fn new(catalogue: impl Into<Arc<[MeasureInfo]>>) -> Self {
        Self { catalogue: catalogue.into() }
    }
}

impl Judge for Bench {
    fn admit(
        &self,
        policy: &Policy,
        measures: &[MeasureRequest],
        groups: &[String],
    ) -> Result<Arc<dyn Counsel>, Fault> {
        let ground = admit::Ground { catalogue: &self.catalogue, measures, groups };
        Ok(Arc::new(admit::admit(policy, ground)?))
    }

    fn rules(&self) -> Vec<RuleInfo> {
        rule::list()
    }
}

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod restart_tests;
#[cfg(test)]
mod tests;
