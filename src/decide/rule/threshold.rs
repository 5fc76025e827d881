//! `threshold`: stops a run whose newest value lies outside bounds.
//!
//! Owns: the bounds. May not touch: the calendar of checks, which it shares.

use super::shared::calendar::{self, Due, INTERVAL_STEPS};
use super::{Rule, RuleDescription};
use crate::decide::parameters::{MODE, RuleParameter, RuleParameterKind, RuleParameters, START_STEP};
use crate::decide::view::{RuleView, Verdict, short};
use clino_domain::{Reason, Violation};

/// The rule `threshold`; the module has its definition and source.
pub struct Threshold;

const LOWER: RuleParameter = RuleParameter {
    name: "lower",
    summary: "A value below it stops the run.",
    kind: RuleParameterKind::Bound,
};
const UPPER: RuleParameter = RuleParameter {
    name: "upper",
    summary: "A value above it stops the run.",
    kind: RuleParameterKind::Bound,
};

static DESCRIPTION: RuleDescription = RuleDescription {
    name: "threshold",
    summary: "Stops a run whose newest value lies below `lower` or above `upper`; one of them must be given.",
    source: "Optuna ThresholdPruner (start_step is n_warmup_steps there); Lightning's stopping_threshold and \
             divergence_threshold. Optuna prunes on NaN; here that takes non_finite. The mode only says which snapshot \
             is the best.",
    across: false,
    parameters: &[LOWER, UPPER, START_STEP, INTERVAL_STEPS, MODE],
};

impl Rule for Threshold {
    fn description(&self) -> &'static RuleDescription {
        &DESCRIPTION
    }

    fn check(&self, parameters: &RuleParameters) -> Vec<Violation> {
        let lower = parameters.number(LOWER.name);
        let upper = parameters.number(UPPER.name);
        let wrong = |name: &str, description: String| {
            vec![Violation { field: format!("parameters.{name}"), description }]
        };
        match (lower, upper) {
            (None, None) => wrong(UPPER.name, "found neither lower nor upper, expected one of them".into()),
            (Some(lower), Some(upper)) if lower > upper => {
                wrong(LOWER.name, format!("found {lower}, expected at most the upper bound {upper}"))
            }
            _ => Vec::new(),
        }
    }

    fn evaluate(&self, view: &RuleView<'_>, parameters: &RuleParameters) -> Verdict {
        let start = parameters.count(START_STEP.name);
        let interval = parameters.count(INTERVAL_STEPS.name);
        let next = calendar::next(view, start, interval);
        let Some(last) = view.checks.last() else { return Verdict::wait("no value yet") };
        match calendar::due(view, start, interval) {
            Due::Early => return Verdict::wait(format!("begins at step {start}")).until(next),
            Due::Between => return Verdict::go(format!("no check at step {}", last.at.step)).until(next),
            Due::Now => {}
        }
        let crossed = |bound: f64, side: &str| {
            let sentence =
                format!("value {} of step {} is {side} {}", short(last.value), last.at.step, short(bound));
            Verdict::stop(Reason::ThresholdCrossed, sentence)
                .comparing(&[("value", last.value), ("threshold", bound)])
        };
        match (parameters.number(LOWER.name), parameters.number(UPPER.name)) {
            (Some(lower), _) if last.value < lower => crossed(lower, "below"),
            (_, Some(upper)) if last.value > upper => crossed(upper, "above"),
            (lower, upper) => {
                let bounds = [("lower", lower), ("upper", upper)];
                let given: Vec<_> =
                    bounds.iter().filter_map(|(name, bound)| Some((*name, (*bound)?))).collect();
                let sentence =
                    format!("value {} of step {} is within bounds", short(last.value), last.at.step);
                Verdict::go(sentence).comparing(&[("value", last.value)]).comparing(&given).until(next)
            }
        }
    }
}
