//! `non_finite`: stops a run in which something is not finite.
//!
//! Owns: what that means. May not touch: values that are missing for other reasons.
//!
//! The only rule that looks at snapshots without a value: at those whose reading was NaN, infinite or undefined, not at
//! those that were skipped, failed or unavailable.

use super::{Rule, RuleDescription};
use crate::decide::parameters::{
    MODE, MOST_CHECKS, RuleParameter, RuleParameterKind, RuleParameters, START_STEP,
};
use crate::decide::view::{RuleView, Verdict, many};
use clino_domain::Reason;

/// The rule `non_finite`; the module has its definition and source.
pub struct NonFinite;

const PATIENCE: RuleParameter = RuleParameter {
    name: "patience",
    summary: "This many values in a row that are not finite stop the run.",
    kind: RuleParameterKind::Count { default: 1, least: 1, most: MOST_CHECKS },
};

static DESCRIPTION: RuleDescription = RuleDescription {
    name: "non_finite",
    summary: "Stops a run whose newest readings are NaN, infinite or undefined. No other rule does.",
    source: "Lightning EarlyStopping check_finite; Optuna's Median and Threshold prune on NaN without being asked. The \
             mode only says which snapshot is the best.",
    across: false,
    parameters: &[PATIENCE, START_STEP, MODE],
};

impl Rule for NonFinite {
    fn description(&self) -> &'static RuleDescription {
        &DESCRIPTION
    }

    fn evaluate(&self, view: &RuleView<'_>, parameters: &RuleParameters) -> Verdict {
        let start = parameters.count(START_STEP.name);
        let patience = parameters.count(PATIENCE.name);
        let observed = view.own.points.iter().filter(|point| point.at.step >= start);
        let mut told = observed.filter(|point| point.counts() || point.non_finite).rev().peekable();
        let next = view.after(1, start);
        let Some(last) = told.peek().map(|point| point.at.step) else {
            return Verdict::wait("no value yet").until(next);
        };
        let row = told.take_while(|point| point.non_finite).count() as u64;
        let sentence = match row {
            0 => format!("finite at step {last}"),
            row => format!("not finite for {} up to step {last}", many(row, "snapshot")),
        };
        let numbers = [("non_finite", row as f64), ("threshold", patience as f64)];
        Verdict::of(row >= patience, Reason::NonFinite, sentence).comparing(&numbers).until(next)
    }
}
