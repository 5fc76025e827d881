//! `hyperband`: runs are dealt to brackets, each a successive halving with a first rung of its own.
//!
//! Owns: brackets. May not touch: rungs, which it shares.
//!
//! With n = ⌊log(R/r)/log η⌋ + 1 brackets, bracket b (first rung at r η^b) gets ⌈n η^(n - 1 - b)/(n - b)⌉ shares. A run
//! belongs to the bracket into which CRC-32("STUDY_RUN") modulo the sum of the shares falls, so that every daemon deals
//! alike. Optuna's formula has the trial's number in place of the run's id.

use super::shared::rungs::{BOOTSTRAP_COUNT, Ladder, reduction_factor};
use super::successive_halving::{LONGEST, longest};
use super::{Rule, RuleDescription};
use crate::decide::parameters::{MODE, MOST_STEPS, RuleParameter, RuleParameterKind, RuleParameters};
use crate::decide::view::{RuleView, Verdict};
use clino_domain::{RunId, Violation};
use crc_fast::CrcAlgorithm::Crc32IsoHdlc;

/// The rule `hyperband`; the module has its definition and source.
pub struct Hyperband;

const MIN_RESOURCE: RuleParameter = RuleParameter {
    name: "min_resource",
    summary: "Steps before the first rung of the first bracket.",
    kind: RuleParameterKind::Count { default: 1, least: 1, most: MOST_STEPS },
};
const MAX_RESOURCE: RuleParameter = RuleParameter {
    name: "max_resource",
    summary: "Steps of a whole run; auto: one more than the last step of the longest complete run.",
    kind: RuleParameterKind::Auto,
};
const STUDY: RuleParameter = RuleParameter {
    name: "study",
    summary: "Runs are assigned to brackets by the CRC-32 of this text, _ and the id of the run.",
    kind: RuleParameterKind::Text,
};
const FACTOR: RuleParameter = reduction_factor(3);

static DESCRIPTION: RuleDescription = RuleDescription {
    name: "hyperband",
    summary: "Successive halving in several brackets that begin to stop at different steps; compares within a bracket.",
    source: "Optuna HyperbandPruner; Li et al. 2018, Hyperband. Optuna keeps the first max_resource that auto gives; here \
             it follows the runs that are complete, so give one where brackets must not move.",
    across: true,
    parameters: &[MIN_RESOURCE, MAX_RESOURCE, FACTOR, BOOTSTRAP_COUNT, STUDY, MODE],
};

impl Rule for Hyperband {
    fn description(&self) -> &'static RuleDescription {
        &DESCRIPTION
    }

    fn check(&self, parameters: &RuleParameters) -> Vec<Violation> {
        let wrong = |name: &str, description: &str| Violation {
            field: format!("parameters.{name}"),
            description: description.into(),
        };
        let most = parameters.number(MAX_RESOURCE.name);
        let clash = most.is_none() && parameters.count(BOOTSTRAP_COUNT.name) > 0;
        let expected = "found a number above 0 with an automatic max_resource, expected 0, or a max_resource";
        let few = most.is_some_and(|most| most < parameters.real(MIN_RESOURCE.name));
        let least = "found less than min_resource, expected at least min_resource";
        let bootstrap = clash.then(|| wrong(BOOTSTRAP_COUNT.name, expected));
        bootstrap.into_iter().chain(few.then(|| wrong(MAX_RESOURCE.name, least))).collect()
    }

    fn evaluate(&self, view: &RuleView<'_>, parameters: &RuleParameters) -> Verdict {
        let Some(steps) = parameters.number(MAX_RESOURCE.name) else {
            let Some(steps) = longest(view) else {
                return Verdict::wait("no run of the experiment is complete, and max_resource is auto");
            };
            return self.climb(view, parameters, steps + 1).resting_on(LONGEST, steps);
        };
        self.climb(view, parameters, steps as u64)
    }
}

impl Hyperband {
    fn climb(&self, view: &RuleView<'_>, parameters: &RuleParameters, max_resource: u64) -> Verdict {
        let least = parameters.count(MIN_RESOURCE.name);
        let factor = parameters.count(FACTOR.name);
        let shares = shares(least, max_resource, factor);
        let study = parameters.word(STUDY.name);
        let Some(bracket) = bracket(&shares, study, view.run) else {
            return Verdict::wait(format!("max_resource {max_resource} is less than min_resource {least}"));
        };
        let bootstrap = parameters.count(BOOTSTRAP_COUNT.name);
        let ladder = Ladder { min_resource: least, factor, rate: bracket, bootstrap };
        let among = |run: &RunId| self::bracket(&shares, study, run) == Some(bracket);
        let peers: Vec<_> = view.peers.iter().filter(|other| among(other.run)).collect();
        let numbers = [("bracket", bracket as f64), ("brackets", shares.len() as f64)];
        let mut verdict = ladder.evaluate(view, &peers, parameters.direction()).comparing(&numbers);
        verdict.sentence = format!("bracket {bracket} of {}: {}", shares.len(), verdict.sentence);
        verdict
    }
}

/// How many runs belong to each bracket, out of the sum of all.
fn shares(least: u64, most: u64, factor: u64) -> Vec<u64> {
    // Not libm's: at whole powers of η the last bit decides, and has to be that of Python's logarithm.
    let brackets = ((most as f64 / least as f64).ln() / (factor as f64).ln()).floor() + 1.0;
    let n = brackets.max(0.0) as u64;
    let share = |bracket: u64| {
        let s = n - 1 - bracket;
        // Whole numbers up to here, as in Python; one division rounds.
        ((n as f64 * (factor as f64).powi(s as i32)) / (s as f64 + 1.0)).ceil() as u64
    };
    (0..n).map(share).collect()
}

fn bracket(shares: &[u64], study: &str, run: &RunId) -> Option<u64> {
    let total: u64 = shares.iter().sum();
    let mut place =
        crc_fast::checksum(Crc32IsoHdlc, format!("{study}_{run}").as_bytes()).checked_rem(total)?;
    for (bracket, share) in shares.iter().enumerate() {
        match place.checked_sub(*share) {
            Some(rest) => place = rest,
            None => return Some(bracket as u64),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_those_of_the_paper() {
        // R = 81, η = 3: five brackets; n η^s/(s + 1) for s = 4, 3, 2, 1, 0.
        assert_eq!(shares(1, 81, 3), [81, 34, 15, 8, 5]);
        assert_eq!(shares(1, 1, 3), [1]);
        assert!(shares(10, 1, 3).is_empty());
        // Rounding: ln 243/ln 3 is a bit less than 5, in Python and here.
        assert_eq!(shares(1, 243, 3).len(), 5);
    }

    #[test]
    fn runs_are_dealt_by_a_known_checksum() {
        // The check value of this CRC, and 143 shares.
        assert_eq!(crc_fast::checksum(Crc32IsoHdlc, b"123456789"), 0xCBF4_3926);
        let shares = shares(1, 81, 3);
        let dealt: Vec<u64> = (0..1_000)
            .map(|n| bracket(&shares, "study", &RunId(n.to_string())).expect("some bracket"))
            .collect();
        for (b, share) in shares.iter().enumerate() {
            let found = dealt.iter().filter(|d| **d == b as u64).count() as f64;
            let expected = 1_000.0 * *share as f64 / 143.0;
            assert!((found - expected).abs() < 4.0 * expected.sqrt() + 1.0, "bracket {b}: {found}");
        }
        assert_eq!(bracket(&[], "study", &RunId("7".into())), None);
    }
}
