//! `trend_reversal`: stops a run in which one subject gets worse while another one improves.
//!
//! Owns: the question asked of two trends. May not touch: how a trend is found.
//!
//! Lines are laid as in `plateau`, through the last `window` snapshots at which both subjects have a value. The run stops
//! if the one is a worsening and the other an improvement, each with the confidence asked for.

use super::plateau::{CONFIDENCE, WINDOW};
use super::{Rule, RuleDescription};
use crate::decide::parameters::{MODE, RuleParameter, RuleParameterKind, RuleParameters, START_STEP};
use crate::decide::statistics::{Trend, trend};
use crate::decide::view::{RuleView, Verdict, many, short};
use clino_domain::{Direction, reading::POOLED};
use clino_domain::{Reason, Subject, Violation};

/// The rule `trend_reversal`; the module has its definition and source.
pub struct TrendReversal;

const AGAINST: RuleParameter = RuleParameter {
    name: "against",
    summary: "The subject that improves; by default the mean of the same measure over the other groups.",
    kind: RuleParameterKind::Subject,
};

static DESCRIPTION: RuleDescription = RuleDescription {
    name: "trend_reversal",
    summary: "Stops a run in which the subject gets worse while another one improves, each by a test of its trend.",
    source: "two of plateau's tests",
    across: false,
    parameters: &[AGAINST, WINDOW, CONFIDENCE, MODE, START_STEP],
};

impl Rule for TrendReversal {
    fn description(&self) -> &'static RuleDescription {
        &DESCRIPTION
    }

    fn against(
        &self,
        on: &Subject,
        groups: &[String],
        parameters: &RuleParameters,
    ) -> Result<Option<(&'static str, Subject)>, Violation> {
        let given = match parameters.word(AGAINST.name) {
            "" => others(on, groups).ok_or_else(|| {
                "found nothing, expected a subject: there are no other groups to take the mean of".to_owned()
            }),
            text => text.parse(),
        };
        let field = format!("parameters.{}", AGAINST.name);
        given
            .map(|subject| Some((AGAINST.name, subject)))
            .map_err(|description| Violation { field, description })
    }

    fn evaluate(&self, view: &RuleView<'_>, parameters: &RuleParameters) -> Verdict {
        let start = parameters.count(START_STEP.name);
        let window = parameters.count(WINDOW.name);
        let Some(against) = &view.against else { return Verdict::wait("nothing to compare with") };
        let pairs =
            view.from(start).iter().rev().filter_map(|point| Some((point, against.at(point.at.step)?)));
        let mut recent: Vec<_> = pairs.take(window as usize).collect();
        recent.reverse();
        let missing = window.saturating_sub(recent.len() as u64);
        if missing > 0 {
            let sentence = format!("{} of both, {window} needed", many(recent.len() as u64, "check"));
            return Verdict::wait(sentence).until(view.after(missing, start));
        }
        let next = view.after(1, start);
        let own: Vec<_> = recent.iter().map(|(own, _)| (own.at.step, own.value, own.stderr)).collect();
        let other: Vec<_> = recent.iter().map(|(_, its)| (its.at.step, its.value, its.stderr)).collect();
        let (Some(own), Some(other)) = (trend(&own), trend(&other)) else {
            return Verdict::wait("no line fits").until(next);
        };
        let level = 1.0 - parameters.real(CONFIDENCE.name);
        let (worse, better) = chances(&own, &other, parameters.direction());
        let sentence = format!(
            "moved by {} ± {} (p = {} of no worsening), the other by {} ± {} (p = {} of no improvement)",
            short(own.rise),
            short(own.stderr),
            short(worse),
            short(other.rise),
            short(other.stderr),
            short(better)
        );
        let numbers = [
            ("rise", own.rise),
            ("p", worse),
            ("against_rise", other.rise),
            ("against_p", better),
            ("threshold", level),
        ];
        let stop = worse < level && better < level;
        Verdict::of(stop, Reason::TrendReversed, sentence).comparing(&numbers).until(next)
    }
}

/// Of no worsening of the one, and of no improvement of the other.
fn chances(own: &Trend, other: &Trend, direction: Direction) -> (f64, f64) {
    match direction {
        Direction::Minimize => (own.above(0.0), other.below(0.0)),
        Direction::Maximize => (own.below(0.0), other.above(0.0)),
    }
}

/// The mean of the same measure over the other groups.
fn others(on: &Subject, groups: &[String]) -> Option<Subject> {
    let [term] = &on.terms[..] else { return None };
    let own = term.group.as_deref().filter(|group| *group != POOLED && groups.iter().any(|g| g == group))?;
    let rest = groups.iter().filter(|group| *group != own);
    let terms: Vec<_> =
        rest.map(|group| clino_domain::Term { group: Some(group.clone()), ..term.clone() }).collect();
    (!terms.is_empty()).then_some(Subject { join: clino_domain::subject::Join::Mean, terms })
}
