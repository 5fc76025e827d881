//! `median`: stops a run whose best value is worse than the median of the complete runs at the same step.
//!
//! Owns: its description. May not touch: the ranking, which it shares.

use super::shared::calendar::{INTERVAL_STEPS, N_WARMUP_STEPS};
use super::shared::ranking::{self, N_MIN_TRIALS, N_STARTUP_TRIALS};
use super::{Rule, RuleDescription};
use crate::decide::parameters::{MODE, RuleParameters};
use crate::decide::view::{RuleView, Verdict};
use clino_domain::Reason;

/// The rule `median`; the module has its definition and source.
pub struct Median;

static DESCRIPTION: RuleDescription = RuleDescription {
    name: "median",
    summary: "Stops a run whose best value is worse than the median of the complete runs at the same step.",
    source: "Optuna MedianPruner; Golovin et al. 2017, Google Vizier, section 3.2.2. Runs that their policy stopped are \
             not complete. Optuna prunes a run whose values are all NaN; here a NaN is no value.",
    across: true,
    parameters: &[N_STARTUP_TRIALS, N_WARMUP_STEPS, INTERVAL_STEPS, N_MIN_TRIALS, MODE],
};

impl Rule for Median {
    fn description(&self) -> &'static RuleDescription {
        &DESCRIPTION
    }

    fn evaluate(&self, view: &RuleView<'_>, parameters: &RuleParameters) -> Verdict {
        ranking::evaluate(view, parameters, 50.0, Reason::WorseThanMedian)
    }
}
