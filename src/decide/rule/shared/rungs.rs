//! Asynchronous successive halving: who goes on from one rung to the next.
//!
//! Owns: rungs and promotion. May not touch: which runs compete.
//!
//! Rung k lies at step r η^(s + k). Its value in a run is that of the first reading at that step or behind it. At that
//! reading, and at no other, the run is compared with every run that has a value on the rung by then: it goes on if it
//! is among the best ⌊n/η⌋ of all n, itself included, or is the best while n < η. Optuna writes rung values down as a
//! run is asked about, and this derives the same ones from the series: as long as no single reading crosses two rungs.
//! Where one does and the run stops at the first of them, Optuna does not enter it on the second; here it stands on both.

use crate::decide::parameters::{MOST_STEPS, RuleParameter, RuleParameterKind};
use crate::decide::view::{Other, RuleView, Used, Verdict, short};
use clino_domain::{Direction, Reason, SeriesPoint};

/// How strict it is.
pub const fn reduction_factor(default: u64) -> RuleParameter {
    RuleParameter {
        name: "reduction_factor",
        summary: "One in this many runs continues to the next rung, which is this many times as far.",
        kind: RuleParameterKind::Count { default, least: 2, most: 1_000 },
    }
}
/// Runs that must have reached a rung.
pub const BOOTSTRAP_COUNT: RuleParameter = RuleParameter {
    name: "bootstrap_count",
    summary: "No run continues from a rung before more than this many runs have reached it.",
    kind: RuleParameterKind::Count { default: 0, least: 0, most: 1_000_000 },
};
/// For the greatest parameters of this kind.
pub const MOST_RATE: RuleParameterKind = RuleParameterKind::Count { default: 0, least: 0, most: 64 };

/// Where the rungs lie.
#[derive(Debug, Clone, Copy)]
pub struct Ladder {
    /// r, steps.
    pub min_resource: u64,
    /// η.
    pub factor: u64,
    /// s.
    pub rate: u64,
    /// So many runs on a rung let none go on.
    pub bootstrap: u64,
}

impl Ladder {
    /// The step of a rung; `None` behind the greatest step.
    fn step(&self, rung: u64) -> Option<u64> {
        let power = self.factor.checked_pow(u32::try_from(self.rate + rung).ok()?)?;
        self.min_resource.checked_mul(power).filter(|step| *step <= MOST_STEPS)
    }

    /// The first rung behind a step.
    fn above(&self, step: Option<u64>) -> u64 {
        let passed = |rung: &u64| self.step(*rung).is_some_and(|at| step.is_some_and(|step| at <= step));
        (0..).take_while(passed).count() as u64
    }

    /// Judges the newest reading on the rungs that it reaches; `peers` are those that compete.
    pub fn evaluate(&self, view: &RuleView<'_>, peers: &[&Other<'_>], direction: Direction) -> Verdict {
        let [before @ .., last] = view.checks else {
            return Verdict::wait("no value yet");
        };
        // A STOP that was taken back is a promotion.
        let passed = before.last().map(|point| point.at.step).max(view.behind);
        let first = self.above(passed);
        let next = self.step(self.above(Some(last.at.step)));
        let reached = |rung: &u64| self.step(*rung).is_some_and(|step| step <= last.at.step);
        if !reached(&first) {
            let at = next.map_or_else(|| "none".to_owned(), |step| step.to_string());
            let sentence = format!("the next rung is at step {at}");
            let waits = first == 0;
            return if waits { Verdict::wait(sentence) } else { Verdict::go(sentence) }.until(next);
        }
        let mut all = Vec::new();
        for rung in (first..).take_while(reached) {
            let (stop, verdict) = self.compete((rung, direction), last, peers, &mut all);
            if stop || self.step(rung + 1).is_none_or(|step| step > last.at.step) {
                return verdict.until(next).with(all);
            }
        }
        Verdict::wait("no rung").until(next)
    }

    fn compete(
        &self,
        (rung, direction): (u64, Direction),
        last: &SeriesPoint,
        peers: &[&Other<'_>],
        all: &mut Vec<Used>,
    ) -> (bool, Verdict) {
        let step = self.step(rung).unwrap_or(u64::MAX);
        let found = peers.iter().filter_map(|other| Some(Used::point(other, &other.first_from(step)?)));
        let used: Vec<Used> = found.collect();
        let mut values: Vec<f64> = used.iter().map(|used| used.value).chain([last.value]).collect();
        // The best first.
        values.sort_by(|a, b| if direction == Direction::Minimize { a.total_cmp(b) } else { b.total_cmp(a) });
        let n = values.len() as u64;
        let places = (n / self.factor).max(1);
        let bound = values[places as usize - 1];
        all.extend(used);
        let few = n <= self.bootstrap;
        let stop = few || direction.better(bound, last.value);
        let sentence = format!(
            "rung {rung} at step {step}: {} of {n} go on, down to {}; this has {}",
            if few { 0 } else { places },
            short(bound),
            short(last.value)
        );
        let numbers = [
            ("value", last.value),
            ("threshold", bound),
            ("rung", rung as f64),
            ("rung_step", step as f64),
            ("competing", n as f64),
        ];
        (stop, Verdict::of(stop, Reason::NotPromoted, sentence).comparing(&numbers))
    }
}
