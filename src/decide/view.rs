//! What a rule sees, and what it says.
//!
//! Owns: which points are looked at, the spacing of checks. May not touch: what is concluded from them.

use clino_domain::{
    Advice, Direction, Missing, PeerRun, Reason, RunId, Series, SeriesPoint, SnapshotRef, Want,
};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// Points of peers that were asked for and are not held.
pub type Wants = RefCell<BTreeSet<Want>>;

/// One series of one run, as far as it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Track<'a> {
    /// In the order of their steps, those without a value among them.
    pub points: &'a [SeriesPoint],
    series: Option<&'a Series>,
    behind: Option<u64>,
    until: u64,
}

impl<'a> Track<'a> {
    /// Points behind one step and up to another.
    pub fn new(series: Option<&'a Series>, behind: Option<u64>, until: Option<u64>) -> Self {
        let until = until.unwrap_or(u64::MAX);
        let points = series.map(|series| series.until(until)).unwrap_or_default();
        let first = behind.map_or(0, |step| points.partition_point(|point| point.at.step <= step));
        Self { points: &points[first..], series, behind, until }
    }

    /// Those that have a value.
    pub fn counted(&self) -> Vec<SeriesPoint> {
        self.points.iter().filter(|point| point.counts()).copied().collect()
    }

    /// The best of the points that are held no more.
    pub fn buried(&self, direction: Direction) -> Option<SeriesPoint> {
        let point = self.series?.earlier()?.best(direction);
        let step = point.at.step;
        (step <= self.until && self.behind.is_none_or(|behind| behind < step)).then_some(point)
    }

    /// The first point with the best value.
    pub fn best(&self, direction: Direction) -> Option<SeriesPoint> {
        let held = self.points.iter().filter(|point| point.counts()).copied();
        direction.best(self.buried(direction).into_iter().chain(held))
    }

    /// The last point with a value.
    pub fn last(&self) -> Option<SeriesPoint> {
        self.points.iter().rev().find(|point| point.counts()).copied()
    }

    /// The value at one step, if it is held.
    pub fn at(&self, step: u64) -> Option<SeriesPoint> {
        self.seen(self.series?.at(step)).ok()?
    }

    fn seen(&self, found: Result<Option<SeriesPoint>, Missing>) -> Result<Option<SeriesPoint>, Missing> {
        let behind = |step| self.behind.is_none_or(|behind| behind < step);
        Ok(found?.filter(|point| point.at.step <= self.until && behind(point.at.step)))
    }
}

/// Another run, as far as it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Other<'a> {
    /// Its place in the evidence.
    pub place: usize,
    /// Which.
    pub run: &'a RunId,
    /// The same subject of it.
    pub track: Track<'a>,
    /// Whether it went to its end: over, and not stopped by its policy.
    pub complete: bool,
    subject: usize,
    wants: &'a Wants,
}

impl<'a> Other<'a> {
    /// A subject of a peer, up to a step.
    pub fn new(
        place: usize,
        peer: &PeerRun<'a>,
        subject: usize,
        until: Option<u64>,
        wants: &'a Wants,
    ) -> Self {
        let track = Track::new(peer.series.get(subject).copied(), None, until);
        Self { place, run: peer.run, track, complete: peer.over && !peer.stopped, subject, wants }
    }

    /// The value at one step. If it would have to be read back, that is noted.
    pub fn at(&self, step: u64) -> Option<SeriesPoint> {
        self.looked_up(self.track.series?.at(step))
    }

    /// The first point with a value at a step or behind it. If it would have to be read back, that is noted.
    pub fn first_from(&self, step: u64) -> Option<SeriesPoint> {
        self.looked_up(self.track.series?.first_from(step))
    }

    fn looked_up(&self, found: Result<Option<SeriesPoint>, Missing>) -> Option<SeriesPoint> {
        self.track.seen(found).unwrap_or_else(|Missing(step)| {
            self.wants.borrow_mut().insert(Want { peer: self.place, subject: self.subject, step });
            None
        })
    }
}

/// What a rule sees.
#[derive(Debug, Clone)]
pub struct RuleView<'a> {
    /// Of which run.
    pub run: &'a RunId,
    /// Its subject.
    pub own: Track<'a>,
    /// Its points that have a value, each a check.
    pub checks: &'a [SeriesPoint],
    /// The other subject of a rule that takes one.
    pub against: Option<Track<'a>>,
    /// Other runs in the order of their ids; empty for rules that do not compare runs.
    pub peers: Vec<Other<'a>>,
    /// The step behind which the rules begin.
    pub behind: Option<u64>,
}

/// Gaps between checks from which the next ones are foretold.
const GAPS: usize = 16;

impl RuleView<'_> {
    /// Checks from a step on.
    pub fn from(&self, step: u64) -> &[SeriesPoint] {
        &self.checks[self.checks.partition_point(|point| point.at.step < step)..]
    }

    /// The earliest step of the `n`th check from now, by the least gap of late; not before `step`.
    pub fn after(&self, n: u64, step: u64) -> Option<u64> {
        let recent = &self.checks[self.checks.len().saturating_sub(GAPS + 1)..];
        let gap = recent.windows(2).map(|pair| pair[1].at.step - pair[0].at.step).min()?;
        let last = recent.last()?.at.step;
        Some(last.saturating_add(gap.saturating_mul(n.max(1))).max(step))
    }
}

/// A number of another run that was looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Used {
    /// Place of the run in the evidence.
    pub place: usize,
    /// Where the number stood; of a mean, how many points it is of.
    pub at: SnapshotRef,
    /// The number.
    pub value: f64,
}

impl Used {
    /// A point of another run.
    pub fn point(other: &Other<'_>, point: &SeriesPoint) -> Self {
        Self { place: other.place, at: point.at, value: point.value }
    }
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Stop, continue, or not enough data.
    pub advice: Advice,
    /// Why.
    pub reason: Reason,
    /// For people.
    pub sentence: String,
    /// The numbers that were compared.
    pub compared: Vec<(&'static str, f64)>,
    /// The first step at which it may change.
    pub next: Option<u64>,
    /// Places of the runs that were compared with.
    pub peers: Vec<usize>,
    /// What of them was looked at.
    pub used: Vec<Used>,
    /// What else of them this rests on.
    pub facts: Vec<(&'static str, u64)>,
}

impl Verdict {
    fn new(advice: Advice, reason: Reason, sentence: String) -> Self {
        let compared = Default::default();
        let peers = Default::default();
        let used = Default::default();
        let facts = Default::default();
        Self { advice, reason, sentence, compared, next: None, peers, used, facts }
    }

    /// Stop.
    pub fn stop(reason: Reason, sentence: String) -> Self {
        Self::new(Advice::Stop, reason, sentence)
    }

    /// Go on.
    pub fn go(sentence: String) -> Self {
        Self::new(Advice::Continue, Reason::NoRuleFired, sentence)
    }

    /// Stop or go on.
    pub fn of(stop: bool, reason: Reason, sentence: String) -> Self {
        if stop { Self::stop(reason, sentence) } else { Self::go(sentence) }
    }

    /// Not enough data.
    pub fn wait(sentence: impl Into<String>) -> Self {
        Self::new(Advice::NotEnoughData, Reason::WarmingUp, sentence.into())
    }

    /// With the numbers that were compared.
    pub fn comparing(mut self, numbers: &[(&'static str, f64)]) -> Self {
        self.compared.extend_from_slice(numbers);
        self
    }

    /// With the first step at which it may change.
    pub fn until(mut self, step: Option<u64>) -> Self {
        self.next = step;
        self
    }

    /// With a number of other runs that it depends on and that no point of theirs tells: digests have it.
    pub fn resting_on(mut self, name: &'static str, number: u64) -> Self {
        self.facts.push((name, number));
        self
    }

    /// With the runs that were compared with.
    pub fn with(mut self, used: Vec<Used>) -> Self {
        self.peers = used.iter().map(|used| used.place).collect();
        self.peers.dedup();
        self.used = used;
        self
    }
}

/// A number as sentences have it.
pub fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if !(1e-4..1e6).contains(&size) => format!("{x:.3e}"),
        _ => {
            let text = format!("{x:.6}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

/// `1 check`, `2 checks`.
pub fn many(n: u64, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}
