//! The place of a run among those that are complete.
//!
//! Owns: the median's and percentile's common part. May not touch: which percentile.

use super::calendar::{self, Due, INTERVAL_STEPS, N_WARMUP_STEPS};
use crate::decide::parameters::{RuleParameter, RuleParameterKind, RuleParameters};
use crate::decide::statistics::percentile;
use crate::decide::view::{RuleView, Used, Verdict, many, short};
use clino_domain::{Direction, Reason};

/// Runs that must be complete.
pub const N_STARTUP_TRIALS: RuleParameter = RuleParameter {
    name: "n_startup_trials",
    summary: "Nothing is stopped before this many runs of the experiment are complete.",
    kind: RuleParameterKind::Count { default: 5, least: 0, most: 1_000_000 },
};
/// Runs that must have a value.
pub const N_MIN_TRIALS: RuleParameter = RuleParameter {
    name: "n_min_trials",
    summary: "Nothing is stopped if fewer of them have a value at exactly this step.",
    kind: RuleParameterKind::Count { default: 1, least: 1, most: 1_000_000 },
};

/// So many runs of the experiment are complete and have a value.
const COMPLETE: &str = "complete";

/// Stops a run whose best value is worse than percentile `q` of the values of complete runs at the same step.
pub fn evaluate(view: &RuleView<'_>, parameters: &RuleParameters, q: f64, reason: Reason) -> Verdict {
    let start = parameters.count(N_WARMUP_STEPS.name);
    let interval = parameters.count(INTERVAL_STEPS.name);
    let next = calendar::next(view, start, interval);
    let complete = view.peers.iter().filter(|other| other.complete && other.track.last().is_some()).count();
    let needed = (parameters.count(N_STARTUP_TRIALS.name) as usize).max(1);
    if complete < needed {
        let have = many(complete as u64, "run");
        let wait = Verdict::wait(format!("{have} of the experiment complete, {needed} needed"));
        return wait.until(next).resting_on(COMPLETE, complete as u64);
    }
    let Some(last) = view.checks.last() else { return Verdict::wait("no value yet") };
    match calendar::due(view, start, interval) {
        Due::Early => return Verdict::wait(format!("begins at step {start}")).until(next),
        Due::Between => return Verdict::go(format!("no check at step {}", last.at.step)).until(next),
        Due::Now => {}
    }
    let direction = parameters.direction();
    let step = last.at.step;
    let found = view.peers.iter().filter(|other| other.complete);
    let used: Vec<Used> = found.filter_map(|other| Some(Used::point(other, &other.at(step)?))).collect();
    let needed = parameters.count(N_MIN_TRIALS.name);
    if (used.len() as u64) < needed {
        let have = many(used.len() as u64, "complete run");
        return Verdict::wait(format!("{have} with a value at step {step}, {needed} needed"))
            .until(next)
            .with(used);
    }
    let Some(best) = view.own.best(direction) else { return Verdict::wait("no value yet") };
    let bound = bound(&used, direction, q);
    let stop = direction.better(bound, best.value);
    let sentence = format!(
        "best value {} of step {}, percentile {q} of {} at step {step}: {}",
        short(best.value),
        best.at.step,
        many(used.len() as u64, "complete run"),
        short(bound),
    );
    let numbers = [("value", last.value), ("best", best.value), ("percentile", bound), ("q", q)];
    Verdict::of(stop, reason, sentence).comparing(&numbers).until(next).with(used)
}

/// The percentile, counted from the better end.
fn bound(used: &[Used], direction: Direction, q: f64) -> f64 {
    let mut values: Vec<f64> = used.iter().map(|used| used.value).collect();
    values.sort_by(f64::total_cmp);
    percentile(&values, if direction == Direction::Maximize { 100.0 - q } else { q })
}
