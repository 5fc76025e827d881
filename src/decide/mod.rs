//! Whether a run should go on: rules over series of readings.
//!
//! Owns: the rules, and how a policy joins them. May not touch: where readings come from and where decisions go; it is
//! synchronous and pure, without clocks.
//!
//! ```text
//! compile          a policy, checked against rules and what a run measures    (once a run)
//! compiled_policy  evidence → views → verdicts of the rules → one decision    (once a snapshot)
//! rule             sees a RuleView, answers with a Verdict
//! ```

mod compile;
mod compiled_policy;
mod digest;
mod parameters;
mod rule;
mod statistics;
mod view;

use clino_domain::{Fault, MeasureInfo, MeasureRequest, Policy, PolicyCompiler, PolicyEvaluator, RuleInfo};
use std::sync::Arc;

/// Knows every rule.
#[derive(Debug, Clone, Default)]
pub struct RuleCompiler {
    catalogue: Arc<[MeasureInfo]>,
}

impl RuleCompiler {
    /// One that knows which parts measures have, and which are taken by group. One without a catalogue takes any part
    /// and group for measured.
    pub fn new(catalogue: impl Into<Arc<[MeasureInfo]>>) -> Self {
        Self { catalogue: catalogue.into() }
    }
}

impl PolicyCompiler for RuleCompiler {
    fn compile(
        &self,
        policy: &Policy,
        measures: &[MeasureRequest],
        groups: &[String],
    ) -> Result<Arc<dyn PolicyEvaluator>, Fault> {
        let measured = compile::RunMeasures { catalogue: &self.catalogue, measures, groups };
        Ok(Arc::new(compile::compile(policy, measured)?))
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
