//! How long a reading will take: as long as it took on the snapshot before; on the first one, what its planned operations
//! take at the rate of those that were made. One that was slow once is not left out forever: with every snapshot that
//! skips it, what is expected of it comes nearer to the least that it may take.
//!
//! Owns: what a run has learned of its readings' times. May not touch: the plan itself, clocks.

use clino_domain::{Planned, Reading, Work};
use clino_engine::Task;
use std::collections::HashMap;

/// What is known of one run.
#[derive(Debug, Default)]
pub struct Forecast {
    /// By measure and group.
    known: HashMap<(usize, Option<String>), Known>,
    /// Planned operations that were done, and the seconds that they took.
    done: (f64, f64),
}

/// What the readings of one measure on one group took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// Expected of the next.
    pub seconds: f64,
    /// Of the fastest; of a search that took more work than was planned, as much of it as the plan has.
    least: f64,
}

impl Known {
    /// Records a reading: its planned work, its counted work and its seconds.
    pub fn after(before: Option<&Self>, seconds: f64, planned: Work, did: Work) -> Self {
        let network = |work: Work| work.forwards + 2.0 * work.backwards;
        // (Without the network it is 0 / 0, of which the minimum is 1.)
        let likely = seconds * (network(planned) / network(did)).min(1.0);
        Self { seconds, least: before.map_or(likely, |known| known.least.min(likely)) }
    }

    /// After a snapshot that skipped it.
    pub fn skipped(self) -> Self {
        Self { seconds: self.seconds.midpoint(self.least), ..self }
    }
}

/// Operations below which a reading says nothing of the rate: there it is the overhead that counts.
const LEAST: f64 = 1e6;

impl Forecast {
    /// Seconds that a reading will take; `None` while nothing is known.
    pub fn seconds(&self, task: &Task) -> Option<f64> {
        let (operations, seconds) = self.done;
        let guess = (operations > 0.0).then(|| task.operations * seconds / operations);
        self.known.get(&key(task)).map(|known| known.seconds).or(guess)
    }

    /// A reading was made.
    pub fn learn(&mut self, task: &Task, reading: &Reading) {
        let known = Known::after(self.known.get(&key(task)), reading.seconds, task.work, reading.work);
        self.known.insert(key(task), known);
        if task.operations >= LEAST {
            self.done = (self.done.0 + task.operations, self.done.1 + reading.seconds);
        }
    }

    /// A reading was skipped.
    pub fn skip(&mut self, task: &Task) {
        if let Some(known) = self.known.get_mut(&key(task)) {
            *known = known.skipped();
        }
    }
}

fn key(task: &Task) -> (usize, Option<String>) {
    (task.chosen, task.group.clone())
}

/// What the measures of one snapshot cost.
#[derive(Debug)]
pub struct Costs(Vec<Option<Planned>>);

impl Costs {
    /// A forecast for a number of measures, before the first was made.
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
