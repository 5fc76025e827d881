//! `wilcoxon`: stops a run that is worse than the best complete run by a test of pairs.
//!
//! Owns: who is the best. May not touch: the test, which it shares.

use super::shared::signed_rank;
use super::{Rule, RuleDescription};
use crate::decide::parameters::{MODE, MOST_CHECKS, RuleParameter, RuleParameterKind, RuleParameters};
use crate::decide::view::{Other, RuleView, Used, Verdict, many, short};
use clino_domain::{Direction, Reason, SeriesPoint, SnapshotRef};

/// The rule `wilcoxon`; the module has its definition and source.
pub struct Wilcoxon;

const P_THRESHOLD: RuleParameter = RuleParameter {
    name: "p_threshold",
    summary: "A run stops if differences as bad as these had less than this probability by chance alone.",
    kind: RuleParameterKind::Real { default: 0.1, least: 0.0, most: 1.0 },
};
const N_STARTUP_STEPS: RuleParameter = RuleParameter {
    name: "n_startup_steps",
    summary: "Values in common that are needed, at least 2. Of long runs the newest are paired, 1,024 of each.",
    kind: RuleParameterKind::Count { default: 2, least: 0, most: MOST_CHECKS },
};
const BEST_BY: RuleParameter = RuleParameter {
    name: "best_by",
    summary: "The best run is that with the best last value, or the best mean of all values.",
    kind: RuleParameterKind::Choice(&["last", "mean"]),
};

static DESCRIPTION: RuleDescription = RuleDescription {
    name: "wilcoxon",
    summary: "Stops a run that is worse than the best complete run by Wilcoxon's signed-rank test over the same steps.",
    source: "Optuna WilcoxonPruner; Wilcoxon 1945. In Optuna the best trial is that with the best returned value. It does \
             not prune a run that ever had a NaN; here such snapshots are left out.",
    across: true,
    parameters: &[P_THRESHOLD, N_STARTUP_STEPS, BEST_BY, MODE],
};

impl Rule for Wilcoxon {
    fn description(&self) -> &'static RuleDescription {
        &DESCRIPTION
    }

    fn evaluate(&self, view: &RuleView<'_>, parameters: &RuleParameters) -> Verdict {
        let direction = parameters.direction();
        let next = view.after(1, 0);
        if view.checks.is_empty() {
            return Verdict::wait("no value yet");
        }
        let (rival, mut used) = rival(view, parameters.word(BEST_BY.name) == "mean", direction);
        let Some(rival) = rival else {
            return Verdict::wait("no run of the experiment is complete").until(next).with(used);
        };
        let its = rival.track.counted();
        used.extend(its.iter().map(|point| Used::point(rival, point)));
        let pairs = |point: &SeriesPoint| Some(point.value - rival.track.at(point.at.step)?.value);
        let mut differences: Vec<f64> = view.checks.iter().filter_map(pairs).collect();
        let needed = parameters.count(N_STARTUP_STEPS.name).max(2);
        if (differences.len() as u64) < needed {
            let have = differences.len();
            let sentence =
                format!("{} in common with {}, {needed} needed", many(have as u64, "value"), rival.run);
            return Verdict::wait(sentence).until(next).with(used);
        }
        if direction == Direction::Maximize {
            differences.iter_mut().for_each(|d| *d = -*d);
        }
        let p = signed_rank::greater(&differences);
        let own_mean = mean(view.checks);
        let its_mean = mean(&its);
        let threshold = parameters.real(P_THRESHOLD.name);
        // For safety: whoever is better on average is not stopped.
        let stop = p < threshold && direction.better(its_mean, own_mean);
        let sentence = format!(
            "p = {} over {} values in common with {}, the best; means {} and {}",
            short(p),
            differences.len(),
            rival.run,
            short(own_mean),
            short(its_mean)
        );
        let numbers = [("p", p), ("threshold", threshold), ("mean", own_mean), ("best_mean", its_mean)];
        Verdict::of(stop, Reason::SignificantlyWorse, sentence).comparing(&numbers).until(next).with(used)
    }
}

/// The first of the complete runs with the best value, and what was looked at to find it.
fn rival<'a, 'b>(
    view: &'b RuleView<'a>,
    by_mean: bool,
    direction: Direction,
) -> (Option<&'b Other<'a>>, Vec<Used>) {
    let mut used = Vec::new();
    let mut first: Option<(&Other<'_>, f64)> = None;
    for other in view.peers.iter().filter(|other| other.complete) {
        let Some(last) = other.track.last() else { continue };
        let (at, value) = if by_mean {
            let points = other.track.counted();
            (SnapshotRef { step: points.len() as u64, attempt: 0 }, mean(&points))
        } else {
            (last.at, last.value)
        };
        used.push(Used { place: other.place, at, value });
        if first.is_none_or(|(_, best)| direction.better(value, best)) {
            first = Some((other, value));
        }
    }
    (first.map(|(other, _)| other), used)
}

/// In the order of the steps.
fn mean(points: &[SeriesPoint]) -> f64 {
    points.iter().map(|point| point.value).sum::<f64>() / points.len() as f64
}
