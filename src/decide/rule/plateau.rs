//! `plateau`: stops a run that does not improve by more than the errors of its readings explain.
//!
//! Owns: the question asked of a trend. May not touch: how a trend is found.
//!
//! A line is laid through the last `window` values by step, weighted by 1/stderr²; it improves by I over the window, with
//! standard error s. The run goes on if I is above min_delta with the confidence asked for: if P(Z > (I - min_delta)/s)
//! < 1 - confidence, Z standard normal. Where a reading has no standard error, all weigh alike, s comes from the scatter
//! around the line, and Z follows Student's distribution with window - 2 degrees of freedom.

use super::{Rule, RuleDescription};
use crate::decide::parameters::{
    MODE, MOST_CHECKS, RuleParameter, RuleParameterKind, RuleParameters, START_STEP,
};
use crate::decide::statistics::trend;
use crate::decide::view::{RuleView, Verdict, many, short};
use clino_domain::{Direction, Reason};

/// The rule `plateau`; the module has its definition and source.
pub struct Plateau;

/// Values through which a line is laid.
pub const WINDOW: RuleParameter = RuleParameter {
    name: "window",
    summary: "Number of checks through which the line is fitted.",
    kind: RuleParameterKind::Count { default: 10, least: 3, most: MOST_CHECKS },
};
/// How sure it must be.
pub const CONFIDENCE: RuleParameter = RuleParameter {
    name: "confidence",
    summary: "Required confidence in a movement, one-sided.",
    kind: RuleParameterKind::Real { default: 0.95, least: 0.5, most: 0.999_999 },
};
const MIN_DELTA: RuleParameter = RuleParameter {
    name: "min_delta",
    summary: "An improvement over the window must be more than this.",
    kind: RuleParameterKind::Real { default: 0.0, least: 0.0, most: 1e300 },
};

static DESCRIPTION: RuleDescription = RuleDescription {
    name: "plateau",
    summary: "Stops a run whose trend over a window is no improvement, beyond what the readings' own errors explain.",
    source: "weighted linear regression; z test with the standard errors of the readings, t test without them",
    across: false,
    parameters: &[WINDOW, CONFIDENCE, MIN_DELTA, MODE, START_STEP],
};

impl Rule for Plateau {
    fn description(&self) -> &'static RuleDescription {
        &DESCRIPTION
    }

    fn evaluate(&self, view: &RuleView<'_>, parameters: &RuleParameters) -> Verdict {
        let start = parameters.count(START_STEP.name);
        let window = parameters.count(WINDOW.name);
        let checks = view.from(start);
        let missing = window.saturating_sub(checks.len() as u64);
        if missing > 0 {
            let sentence = format!("{}, {window} needed", many(checks.len() as u64, "check"));
            return Verdict::wait(sentence).until(view.after(missing, start));
        }
        let next = view.after(1, start);
        let recent = &checks[checks.len() - window as usize..];
        let readings: Vec<_> = recent.iter().map(|p| (p.at.step, p.value, p.stderr)).collect();
        let Some(trend) = trend(&readings) else { return Verdict::wait("no line fits").until(next) };
        let delta = parameters.real(MIN_DELTA.name);
        let (improvement, p) = match parameters.direction() {
            Direction::Minimize => (-trend.rise, trend.below(-delta)),
            Direction::Maximize => (trend.rise, trend.above(delta)),
        };
        let level = 1.0 - parameters.real(CONFIDENCE.name);
        let sentence = format!(
            "improved by {} ± {} from step {} to {}, p = {} of no improvement above {}",
            short(improvement),
            short(trend.stderr),
            recent[0].at.step,
            recent[recent.len() - 1].at.step,
            short(p),
            short(delta)
        );
        let numbers =
            [("improvement", improvement), ("stderr", trend.stderr), ("p", p), ("threshold", level)];
        Verdict::of(p >= level, Reason::Plateau, sentence).comparing(&numbers).until(next)
    }
}
