//! How long a reading will take: the lesser of its last two times, so that one hiccup of a busy machine leaves nothing out.
//! For the time before the first stands a guess: what its planned operations take at the rate of those that were made. With
//! every snapshot that skips a reading, what is expected of it comes nearer to the least that it may take, and slowly below
//! that: none is left out for ever.
//!
//! Owns: what a run has learned of its readings' times. May not touch: the plan itself, clocks.

use clino_domain::{Planned, Reading, Work};
use clino_engine::Task;
use std::collections::HashMap;

/// What is known of one run.
#[derive(Debug, Default)]
pub struct Forecast {
    known: HashMap<Key, MeasureTimes>,
    /// Seconds expected of what was skipped and never made.
    put_off: HashMap<Key, f64>,
    rate: Rate,
}

/// Measure and group.
type Key = (usize, Option<String>);

/// What the readings of one measure on one group took.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeasureTimes {
    /// Expected of the next.
    pub seconds: f64,
    /// Of the last that was made, or the guess before it.
    last: f64,
    /// Of the fastest; of a search that took more work than was planned, as much of it as the plan has.
    least: f64,
}

impl MeasureTimes {
    /// Of a reading that was never made.
    pub fn guessed(seconds: f64, least: f64) -> Self {
        Self { seconds, last: seconds, least }
    }

    /// After a reading that was planned to do some work, and did some in so many seconds. Where there was nothing to guess
    /// from, it is made once more before its time is believed.
    pub fn after(before: Option<&Self>, seconds: f64, planned: Work, did: Work) -> Self {
        let network = |work: Work| work.forwards + 2.0 * work.backwards;
        // (Without the network it is 0 / 0, of which the minimum is 1.)
        let likely = seconds * (network(planned) / network(did)).min(1.0);
        let (last, least) = before.map_or((0.0, likely), |known| (known.last, known.least.min(likely)));
        Self { seconds: seconds.min(last), last: seconds, least }
    }

    /// After it was ended when it had taken so many seconds: the next one is expected to take at least twice as many.
    pub fn beyond(self, seconds: f64) -> Self {
        let at_least = |before: f64| before.max(2.0 * seconds);
        Self { seconds: at_least(self.seconds), last: at_least(self.last), least: self.least.max(seconds) }
    }

    /// After a snapshot that skipped it.
    pub fn skipped(self) -> Self {
        Self { seconds: self.seconds.midpoint(self.least), least: 0.98 * self.least, ..self }
    }
}

/// Seconds an operation, over all readings that were made.
#[derive(Debug)]
struct Rate {
    operations: f64,
    seconds: f64,
    fastest: f64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { operations: 0.0, seconds: 0.0, fastest: f64::INFINITY }
    }
}

impl Rate {
    fn learn(&mut self, operations: f64, seconds: f64) {
        // Below this it is the overhead that counts, which says nothing of the rate.
        const LEAST: f64 = 1e6;
        if operations >= LEAST {
            self.operations += operations;
            self.seconds += seconds;
            self.fastest = self.fastest.min(seconds / operations);
        }
    }

    /// Of a reading that was never made; `None` before any was.
    fn guess(&self, operations: f64) -> Option<MeasureTimes> {
        let mean = self.seconds / self.operations;
        (self.operations > 0.0).then(|| MeasureTimes::guessed(operations * mean, operations * self.fastest))
    }
}

impl Forecast {
    /// Seconds that a reading will take; `None` while nothing is known.
    pub fn seconds(&self, task: &Task) -> Option<f64> {
        self.expected(task).map(|known| known.seconds)
    }

    /// A reading was made.
    pub fn learn(&mut self, task: &Task, reading: &Reading) {
        let before = self.expected(task);
        let known = MeasureTimes::after(before.as_ref(), reading.seconds, task.work, reading.work);
        self.put_off.remove(&key(task));
        self.known.insert(key(task), known);
        self.rate.learn(task.operations, reading.seconds);
    }

    /// A reading was skipped.
    pub fn skip(&mut self, task: &Task) {
        let Some(skipped) = self.expected(task).map(MeasureTimes::skipped) else { return };
        match self.known.get_mut(&key(task)) {
            Some(known) => *known = skipped,
            None => drop(self.put_off.insert(key(task), skipped.seconds)),
        }
    }

    /// A reading did not end within so many seconds: it takes longer than that.
    pub fn give_up(&mut self, task: &Task, seconds: f64) {
        let known = self.expected(task).unwrap_or(MeasureTimes::guessed(seconds, seconds));
        self.put_off.remove(&key(task));
        self.known.insert(key(task), known.beyond(seconds));
    }

    fn expected(&self, task: &Task) -> Option<MeasureTimes> {
        let guess = || {
            let guess = self.rate.guess(task.operations)?;
            let put_off = self.put_off.get(&key(task)).copied().unwrap_or(f64::INFINITY);
            Some(MeasureTimes::guessed(guess.seconds.min(put_off), guess.least))
        };
        self.known.get(&key(task)).copied().or_else(guess)
    }
}

fn key(task: &Task) -> Key {
    (task.chosen, task.group.clone())
}

/// What the measures of one snapshot cost.
#[derive(Debug)]
pub struct Costs(Vec<Option<Planned>>);

impl Costs {
    /// Of so many measures, none of which is made.
    pub fn new(measures: usize) -> Self {
        Self(vec![None; measures])
    }

    /// A reading was made. The work of a measure is told by its first group: the pooled one repeats some of what the groups
    /// have made.
    pub fn add(&mut self, task: &Task, reading: &Reading) {
        let line = &mut self.0[task.chosen];
        let (work, seconds) =
            line.map_or((reading.work, 0.0), |line| (line.work, line.seconds.unwrap_or(0.0)));
        *line = Some(Planned { work, counted: true, seconds: Some(seconds + reading.seconds) });
    }

    /// By measure; none for those that were skipped.
    pub fn lines(&self) -> &[Option<Planned>] {
        &self.0
    }
}
