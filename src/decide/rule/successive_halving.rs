//! `successive_halving`: asynchronous successive halving (ASHA).
//!
//! Owns: its parameters. May not touch: rungs, which it shares.

use super::shared::rungs::{BOOTSTRAP_COUNT, Ladder, MOST_RATE, reduction_factor};
use super::{Rule, RuleDescription};
use crate::decide::parameters::{MODE, RuleParameter, RuleParameterKind, RuleParameters};
use crate::decide::view::{Other, RuleView, Verdict};
use clino_domain::Violation;

/// The rule `successive_halving`; the module has its definition and source.
pub struct SuccessiveHalving;

const MIN_RESOURCE: RuleParameter = RuleParameter {
    name: "min_resource",
    summary: "Steps before the first rung; auto: a hundredth of the longest complete run, at least 1.",
    kind: RuleParameterKind::Auto,
};
const RATE: RuleParameter = RuleParameter {
    name: "min_early_stopping_rate",
    summary: "The first rung is multiplied by this power of the reduction factor.",
    kind: MOST_RATE,
};
const FACTOR: RuleParameter = reduction_factor(4);

static DESCRIPTION: RuleDescription = RuleDescription {
    name: "successive_halving",
    summary: "ASHA: at steps that grow by a factor, stops a run that is not among the best of all that came so far.",
    source: "Optuna SuccessiveHalvingPruner (Ray: ASHAScheduler, grace_period is min_resource); Li et al. 2020, A System \
             for Massively Parallel Hyperparameter Tuning. Optuna keeps the first min_resource that auto gives; here it \
             follows the runs that are complete.",
    across: true,
    parameters: &[MIN_RESOURCE, FACTOR, RATE, BOOTSTRAP_COUNT, MODE],
};

impl Rule for SuccessiveHalving {
    fn description(&self) -> &'static RuleDescription {
        &DESCRIPTION
    }

    fn check(&self, parameters: &RuleParameters) -> Vec<Violation> {
        let clash =
            parameters.number(MIN_RESOURCE.name).is_none() && parameters.count(BOOTSTRAP_COUNT.name) > 0;
        let description =
            "found a number above 0 with an automatic min_resource, expected 0, or a min_resource";
        let field = format!("parameters.{}", BOOTSTRAP_COUNT.name);
        clash.then(|| Violation { field, description: description.into() }).into_iter().collect()
    }

    fn evaluate(&self, view: &RuleView<'_>, parameters: &RuleParameters) -> Verdict {
        let Some(steps) = parameters.number(MIN_RESOURCE.name) else {
            let Some(steps) = longest(view) else {
                return Verdict::wait("no run of the experiment is complete, and min_resource is auto");
            };
            let verdict = self.climb(view, parameters, (steps / 100).max(1));
            return verdict.resting_on(LONGEST, steps);
        };
        self.climb(view, parameters, steps as u64)
    }
}

impl SuccessiveHalving {
    fn climb(&self, view: &RuleView<'_>, parameters: &RuleParameters, min_resource: u64) -> Verdict {
        let ladder = Ladder {
            min_resource,
            factor: parameters.count(FACTOR.name),
            rate: parameters.count(RATE.name),
            bootstrap: parameters.count(BOOTSTRAP_COUNT.name),
        };
        ladder.evaluate(view, &view.peers.iter().collect::<Vec<_>>(), parameters.direction())
    }
}

/// Name of [`longest`] in digests.
pub const LONGEST: &str = "longest";

/// The last step of the longest complete run.
pub fn longest(view: &RuleView<'_>) -> Option<u64> {
    let last = |other: &Other<'_>| Some(other.track.last()?.at.step);
    view.peers.iter().filter(|other| other.complete).filter_map(last).max()
}
