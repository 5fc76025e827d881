//! `divergence`: stops a run whose newest value is far worse than its best.
//!
//! Owns: how far is too far. May not touch: what is not finite.
//!
//! Too far is worse than best + (factor |best| + absolute), for mode max than best - (factor |best| + absolute).

use super::{Rule, RuleDescription};
use crate::decide::parameters::{MODE, RuleParameter, RuleParameterKind, RuleParameters, START_STEP};
use crate::decide::view::{RuleView, Verdict, short};
use clino_domain::{Reason, Violation};

/// The rule `divergence`; the module has its definition and source.
pub struct Divergence;

const FACTOR: RuleParameter = RuleParameter {
    name: "factor",
    summary: "How much may be lost, as a multiple of the best value's magnitude: 1 allows a loss of 0.4 to \
             rise to 0.8.",
    kind: RuleParameterKind::Real { default: 1.0, least: 0.0, most: 1e12 },
};
const ABSOLUTE: RuleParameter = RuleParameter {
    name: "absolute",
    summary: "How much may be lost in addition.",
    kind: RuleParameterKind::Real { default: 0.0, least: 0.0, most: 1e300 },
};

static DESCRIPTION: RuleDescription = RuleDescription {
    name: "divergence",
    summary: "Stops a run whose newest value is worse than its best by more than factor * |best| + absolute.",
    source: "after Lightning EarlyStopping, whose divergence_threshold is a fixed bound (here: threshold)",
    across: false,
    parameters: &[FACTOR, ABSOLUTE, MODE, START_STEP],
};

impl Rule for Divergence {
    fn description(&self) -> &'static RuleDescription {
        &DESCRIPTION
    }

    fn check(&self, parameters: &RuleParameters) -> Vec<Violation> {
        let none = parameters.real(FACTOR.name) == 0.0 && parameters.real(ABSOLUTE.name) == 0.0;
        let description = "found 0 with absolute 0, expected one of the two above 0";
        let field = format!("parameters.{}", FACTOR.name);
        none.then(|| Violation { field, description: description.into() }).into_iter().collect()
    }

    fn evaluate(&self, view: &RuleView<'_>, parameters: &RuleParameters) -> Verdict {
        let start = parameters.count(START_STEP.name);
        let direction = parameters.direction();
        let buried = view.own.buried(direction).filter(|point| point.at.step >= start);
        let checks = view.from(start);
        let next = view.after(1, start);
        let found = direction.best(buried.into_iter().chain(checks.iter().copied())).zip(checks.last());
        let Some((best, last)) = found else { return Verdict::wait("no value yet").until(next) };
        let room = parameters.real(FACTOR.name) * best.value.abs() + parameters.real(ABSOLUTE.name);
        let bound = direction.worsened(best.value, room);
        let stop = direction.better(bound, last.value);
        let sentence = format!(
            "value {} of step {}, best {} of step {}, bound {}",
            short(last.value),
            last.at.step,
            short(best.value),
            best.at.step,
            short(bound)
        );
        let numbers = [("value", last.value), ("best", best.value), ("threshold", bound)];
        Verdict::of(stop, Reason::Diverged, sentence).comparing(&numbers).until(next)
    }
}
