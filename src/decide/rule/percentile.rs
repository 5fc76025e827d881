//! `percentile`: stops a run whose best value is not in the best `percentile` per cent of the complete runs.
//!
//! Owns: its description. May not touch: the ranking, which it shares.

use super::shared::calendar::{INTERVAL_STEPS, N_WARMUP_STEPS};
use super::shared::ranking::{self, N_MIN_TRIALS, N_STARTUP_TRIALS};
use super::{Rule, RuleDescription};
use crate::decide::parameters::{MODE, RuleParameter, RuleParameterKind, RuleParameters};
use crate::decide::view::{RuleView, Verdict};
use clino_domain::Reason;

/// The rule `percentile`; the module has its definition and source.
pub struct Percentile;

const PERCENTILE: RuleParameter = RuleParameter {
    name: "percentile",
    summary: "This many runs in a hundred continue.",
    kind: RuleParameterKind::Real { default: 25.0, least: 0.0, most: 100.0 },
};

static DESCRIPTION: RuleDescription = RuleDescription {
    name: "percentile",
    summary: "Stops a run whose best value is worse than a percentile of the complete runs at the same step.",
    source: "Optuna PercentilePruner, which has no default percentile. Interpolated as NumPy does. Otherwise like median.",
    across: true,
    parameters: &[PERCENTILE, N_STARTUP_TRIALS, N_WARMUP_STEPS, INTERVAL_STEPS, N_MIN_TRIALS, MODE],
};

impl Rule for Percentile {
    fn description(&self) -> &'static RuleDescription {
        &DESCRIPTION
    }

    fn evaluate(&self, view: &RuleView<'_>, parameters: &RuleParameters) -> Verdict {
        ranking::evaluate(view, parameters, parameters.real(PERCENTILE.name), Reason::BelowPercentile)
    }
}
