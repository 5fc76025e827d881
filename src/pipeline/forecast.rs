//! How long a reading will take: as long as it took on the snapshot before; on the first one, what its planned operations
//! take at the rate of those that were made.
//!
//! Owns: what a run has learned of its readings' times. May not touch: the plan itself, clocks.

use crate::domain::{Planned, Reading};
use crate::engine::Task;
use std::collections::HashMap;

/// What is known of one run.
#[derive(Debug, Default)]
pub struct Forecast {
    /// By measure and group.
    seconds: HashMap<(usize, Option<String>), f64>,
    /// Planned operations that were done, and the seconds that they took.
    done: (f64, f64),
}

/// Operations below which a reading says nothing of the rate: there it is the overhead that counts.
const LEAST: f64 = 1e6;

impl Forecast {
    /// Seconds that a reading will take; `None` while nothing is known.
    pub fn seconds(&self, task: &Task) -> Option<f64> {
        let (operations, seconds) = self.done;
        let guess = (operations > 0.0).then(|| task.operations * seconds / operations);
        self.seconds.get(&(task.chosen, task.group.clone())).copied().or(guess)
    }

    /// A reading was made.
    pub fn learn(&mut self, task: &Task, seconds: f64) {
        self.seconds.insert((task.chosen, task.group.clone()), seconds);
        if task.operations >= LEAST {
            self.done = (self.done.0 + task.operations, self.done.1 + seconds);
        }
    }
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
