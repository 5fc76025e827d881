//! `patience`: stops a run that has not improved for a number of checks.
//!
//! Owns: how checks without improvement are counted. May not touch: what a check is (a snapshot with a value).
//!
//! `keras`: a value improves if it is better than the best before it by more than min_delta, and then is the new best;
//! the run stops when `patience` checks in a row have not improved. `optuna`: the run stops when the best of the last
//! patience + 1 checks is worse than the best before them by more than min_delta.

use super::{Rule, RuleDescription};
use crate::decide::parameters::{
    MODE, MOST_CHECKS, RuleParameter, RuleParameterKind, RuleParameters, START_STEP,
};
use crate::decide::view::{RuleView, Verdict, many, short};
use clino_domain::{Reason, SeriesPoint};

/// The rule `patience`; the module has its definition and source.
pub struct Patience;

const PATIENCE: RuleParameter = RuleParameter {
    name: "patience",
    summary: "Checks without improvement: snapshots that have a value, not steps or epochs. With keras, 0 \
             means 1.",
    kind: RuleParameterKind::Count { default: 3, least: 0, most: MOST_CHECKS },
};
const MIN_DELTA: RuleParameter = RuleParameter {
    name: "min_delta",
    summary: "An improvement is more than this (keras); a worsening is more than this (optuna).",
    kind: RuleParameterKind::Real { default: 0.0, least: 0.0, most: 1e300 },
};
const COUNTING: RuleParameter = RuleParameter {
    name: "counting",
    summary: "How checks without improvement are counted.",
    kind: RuleParameterKind::Choice(&["keras", "optuna"]),
};

static DESCRIPTION: RuleDescription = RuleDescription {
    name: "patience",
    summary: "Stops a run that has not improved for a number of checks.",
    source: "Keras EarlyStopping and Lightning EarlyStopping, which count alike; with counting=optuna \
             PatientPruner(None, patience, min_delta).",
    across: false,
    parameters: &[PATIENCE, MIN_DELTA, MODE, START_STEP, COUNTING],
};

impl Rule for Patience {
    fn description(&self) -> &'static RuleDescription {
        &DESCRIPTION
    }

    fn evaluate(&self, view: &RuleView<'_>, parameters: &RuleParameters) -> Verdict {
        let start = parameters.count(START_STEP.name);
        // What is held no more comes first.
        let buried = view.own.buried(parameters.direction()).filter(|point| point.at.step >= start);
        let checks: Vec<SeriesPoint> = buried.into_iter().chain(view.from(start).iter().copied()).collect();
        match parameters.word(COUNTING.name) {
            "optuna" => optuna(view, parameters, &checks),
            _ => keras(view, parameters, &checks),
        }
    }
}

fn keras(view: &RuleView<'_>, parameters: &RuleParameters, checks: &[SeriesPoint]) -> Verdict {
    let start = parameters.count(START_STEP.name);
    let direction = parameters.direction();
    let Some(first) = checks.first() else {
        return Verdict::wait("no value yet").until(view.after(1, start));
    };
    let patience = parameters.count(PATIENCE.name).max(1);
    let delta = parameters.real(MIN_DELTA.name);
    let mut best = *first;
    let mut since = 0;
    for check in &checks[1..] {
        if direction.better(check.value, direction.improved(best.value, delta)) {
            (best, since) = (*check, 0);
        } else {
            since += 1;
        }
    }
    let sentence = format!(
        "{} without improvement on {} of step {}, patience {patience}",
        many(since, "check"),
        short(best.value),
        best.at.step
    );
    let next = view.after(patience.saturating_sub(since), start);
    told(since >= patience, sentence, checks, best, (since, patience)).until(next)
}

fn optuna(view: &RuleView<'_>, parameters: &RuleParameters, checks: &[SeriesPoint]) -> Verdict {
    let start = parameters.count(START_STEP.name);
    let direction = parameters.direction();
    let patience = parameters.count(PATIENCE.name);
    let delta = parameters.real(MIN_DELTA.name);
    let after = patience as usize + 1;
    let split = checks.len().saturating_sub(after);
    let (before, late) = checks.split_at(split);
    let found = direction.best(before.iter().copied()).zip(direction.best(late.iter().copied()));
    let Some((best, recent)) = found else {
        let have = checks.len();
        let needed = after + 1;
        let next = view.after((needed - have) as u64, start);
        return Verdict::wait(format!("{}, {needed} needed", many(have as u64, "check"))).until(next);
    };
    let stop = direction.better(direction.worsened(best.value, delta), recent.value);
    let sentence = format!(
        "best of the last {} is {}, before them {} of step {}",
        many(after as u64, "check"),
        short(recent.value),
        short(best.value),
        best.at.step
    );
    let verdict = told(stop, sentence, checks, best, (late.len() as u64 - 1, patience));
    verdict.comparing(&[("recent_best", recent.value)]).until(view.after(1, start))
}

fn told(
    stop: bool,
    sentence: String,
    checks: &[SeriesPoint],
    best: SeriesPoint,
    used: (u64, u64),
) -> Verdict {
    let value = checks.last().map_or(f64::NAN, |point| point.value);
    Verdict::of(stop, Reason::PatienceExhausted, sentence).comparing(&[
        ("value", value),
        ("best", best.value),
        ("best_step", best.at.step as f64),
        ("patience_used", used.0 as f64),
        ("patience", used.1 as f64),
    ])
}
