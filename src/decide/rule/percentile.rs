//! `percentile`: stops a run whose best value is not in the best `percentile` per cent of the complete runs.
//!
//! Owns: its description. May not touch: the ranking, which it shares.

use super::shared::calendar::{INTERVAL_STEPS, N_WARMUP_STEPS};
use super::shared::ranking::{self, N_MIN_TRIALS, N_STARTUP_TRIALS};
use super::{Description, Rule};
use crate::decide::parameters::{Kind, MODE, Parameter, Parameters};
use crate::decide::view::{Verdict, View};
use clino_domain::Reason;

/// The rule `percentile`; the module has its definition and source.
pub struct Percentile;

const PERCENTILE: Parameter = Parameter {
    name: "percentile",
    summary: "This many runs in a hundred continue.",
    kind: Kind::Real { default: 25.0, least: 0.0, most: 100.0 },
};

static DESCRIPTION: Description = Description {
    name: "percentile",
    summary: "Stops a run whose best value is worse than a percentile of the complete runs at the same step.",
    source: "Optuna PercentilePruner, which has no default percentile. Interpolated as NumPy does. Otherwise like median.",
    across: true,
    parameters: &[PERCENTILE, N_STARTUP_TRIALS, N_WARMUP_STEPS, INTERVAL_STEPS, N_MIN_TRIALS, MODE],
};

impl Rule for Percentile {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn judge(&self, view: &View<'_>, parameters: &Parameters) -> Verdict {
        ranking::judge(view, parameters, parameters.real(PERCENTILE.name), Reason::BelowPercentile)
    }
}
