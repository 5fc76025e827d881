//! Fair shares of the engine: seconds by run, as many as its weight says (start-time fair queueing; Goyal, Vin and Cheng 1996).
//!
//! Owns: who has had how much. May not touch: threads, clocks, snapshots.

use clino_domain::RunId;
use std::collections::HashMap;

/// Seconds that each run has had, divided by its weight.
#[derive(Debug, Default)]
pub(super) struct Shares {
    had: HashMap<RunId, f64>,
    /// Of the run that got the engine last, as it got it: nobody saves up for later what it does not use now.
    floor: f64,
}

impl Shares {
    /// What a run has had, in seconds by weight. One that had nothing to measure is no better off than the others.
    pub fn of(&self, run: &RunId) -> f64 {
        self.had.get(run).map_or(self.floor, |had| had.max(self.floor))
    }

    /// Place of the first of those that have had least.
    pub fn least<'a>(&self, runs: impl IntoIterator<Item = &'a RunId>) -> Option<usize> {
        let had = runs.into_iter().map(|run| self.of(run)).enumerate();
        had.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(place, _)| place)
    }

    /// A run gets the engine.
    pub fn begin(&mut self, run: &RunId) {
        let had = self.of(run);
        self.floor = had;
        self.had.insert(run.clone(), had);
    }

    /// A run had the engine for so many seconds.
    pub fn charge(&mut self, run: &RunId, seconds: f64, weight: f64) {
        *self.had.entry(run.clone()).or_insert(self.floor) += seconds / weight;
    }

    /// A run is over.
    pub fn forget(&mut self, run: &RunId) {
        self.had.remove(run);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn ids(count: usize) -> Vec<RunId> {
        (0..count).map(|i| RunId(i.to_string())).collect()
    }

    /// Seconds that each of some runs gets while all of them have something to measure, in pieces of random lengths.
    fn busy(weights: &[f64], pieces: &[f64]) -> Vec<f64> {
        let runs = ids(weights.len());
        let mut shares = Shares::default();
        let mut got = vec![0.0; runs.len()];
        for piece in pieces {
            let i = shares.least(&runs).unwrap();
            shares.begin(&runs[i]);
            shares.charge(&runs[i], *piece, weights[i]);
            got[i] += piece;
        }
        got
    }

    proptest! {
        #[test]
        fn busy_runs_get_what_their_weights_say(
            weights in prop::collection::vec(0.25f64..4.0, 1..8),
            pieces in prop::collection::vec(0.01f64..1.0, 50..300),
        ) {
            let got = busy(&weights, &pieces);
            let by_weight: Vec<f64> = got.iter().zip(&weights).map(|(got, weight)| got / weight).collect();
            let most = by_weight.iter().copied().fold(0.0, f64::max);
            let least = by_weight.iter().copied().fold(f64::INFINITY, f64::min);
            let lightest = weights.iter().copied().fold(f64::INFINITY, f64::min);
            // One longest piece at the least weight is the most that anybody is ahead.
            prop_assert!(most - least <= 1.0 / lightest + 1e-9, "{got:?} {weights:?}");
        }
    }

    #[test]
    fn who_was_away_has_saved_up_nothing() {
        let runs = ids(2);
        let mut shares = Shares::default();
        for _ in 0..100 {
            shares.begin(&runs[0]);
            shares.charge(&runs[0], 1.0, 1.0);
        }
        shares.begin(&runs[0]);
        shares.begin(&runs[1]);
        shares.charge(&runs[1], 2.0, 1.0);
        assert_eq!(shares.least(&runs), Some(0), "after two seconds it is the other's turn");
        shares.forget(&runs[1]);
        assert_eq!(shares.of(&runs[1]), 100.0);
    }

    #[test]
    fn a_new_run_comes_first() {
        let runs = ids(2);
        let mut shares = Shares::default();
        shares.begin(&runs[0]);
        shares.charge(&runs[0], 50.0, 1.0);
        assert_eq!(shares.least(&runs), Some(1));
        assert_eq!(shares.least([]), None);
    }
}
