//! The newest events of one run, numbered from 0 without holes.
//!
//! Owns: how many are kept. May not touch: who reads them.

use clino_domain::budget::Claim;
use clino_domain::{Event, Reading, Sequenced, TensorParts};
use std::collections::VecDeque;
use std::sync::Arc;

/// Bounds of what one run keeps.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most events in a log.
    pub events: usize,
    /// Approximate limit on the bytes of events in a log, and of readings on a projection.
    pub bytes: usize,
    /// Most snapshots on a projection.
    pub records: usize,
    /// Most snapshots on a projection whose readings are kept.
    pub reports: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { events: 65_536, bytes: 16 << 20, records: 4_096, reports: 512 }
    }
}

/// A ring of events: the oldest are dropped.
#[derive(Debug)]
pub(super) struct Log {
    bounds: Bounds,
    events: VecDeque<Arc<Sequenced>>,
    /// Place of the oldest event that is kept.
    first: u64,
    bytes: usize,
    /// On these bytes; fewer where memory is short.
    claim: Claim,
}

impl Log {
    /// An empty one, whose first event gets the number `first`; `claim` grows with it.
    pub fn new(bounds: Bounds, first: u64, claim: Claim) -> Self {
        Self { bounds, events: VecDeque::new(), first, bytes: 0, claim }
    }

    /// Place of the next event.
    pub fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// Keeps the next event, and drops the oldest where bounds or memory ask for it; the newest is always kept.
    pub fn keep(&mut self, sequenced: &Arc<Sequenced>) {
        self.bytes += weight(&sequenced.event);
        self.events.push_back(sequenced.clone());
        while self.events.len() > 1
            && (self.events.len() > self.bounds.events
                || self.bytes > self.bounds.bytes
                || !claimed(&mut self.claim, self.bytes))
        {
            if let Some(dropped) = self.events.pop_front() {
                self.bytes -= weight(&dropped.event);
                self.first += 1;
            }
        }
        claimed(&mut self.claim, self.bytes);
    }

    /// The event at `place`, or a gap up to the oldest one that is kept; `None` when it has not happened yet.
    pub fn at(&self, place: u64) -> Option<Arc<Sequenced>> {
        match place.checked_sub(self.first) {
            Some(index) => self.events.get(index as usize).cloned(),
            None => {
                let event = Event::Gap { lost: self.first - place };
                Some(Arc::new(Sequenced { sequence: self.first - 1, event }))
            }
        }
    }
}

/// Whether so many bytes are claimed; where they are more than there are, as many as before.
pub(super) fn claimed(claim: &mut Claim, bytes: usize) -> bool {
    let bytes = bytes as u64;
    claim.shrink_to(bytes);
    claim.grow(bytes - claim.bytes()).is_ok()
}

/// About how many bytes an event takes.
pub(super) fn weight(event: &Event) -> usize {
    const PLAIN: usize = 128;
    match event {
        Event::Reading(reading) => PLAIN + reading_weight(reading),
        Event::Skipped { reason, .. } => PLAIN + reason.len(),
        _ => PLAIN,
    }
}

fn reading_weight(reading: &Reading) -> usize {
    let parts = |count: usize| count * 56;
    let tensor = |tensor: &TensorParts| 48 + tensor.tensor.len() + parts(tensor.parts.len());
    let rungs: usize = reading.rungs.iter().map(|rung| 72 + 8 * rung.draws.len()).sum();
    let tensors: usize = reading.tensors.iter().map(tensor).sum();
    let runs: usize = reading.runs.iter().map(|run| 48 + 16 * run.nodes.len()).sum();
    let surface =
        reading.surface.as_ref().map_or(0, |surface| 8 * surface.axis.len() + 16 * surface.losses.len());
    512 + 8 * reading.draws.len() + parts(reading.parts.len()) + tensors + rungs + runs + surface
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clino_domain::budget::Budget;

    impl Log {
        fn append(&mut self, event: Event) {
            let sequence = self.next();
            self.keep(&Arc::new(Sequenced { sequence, event }));
        }
    }

    fn log(events: usize, bytes: usize) -> Log {
        Log::new(Bounds { events, bytes, ..Bounds::default() }, 0, Budget::new(u64::MAX).nothing())
    }

    #[test]
    fn a_reader_behind_the_ring_gets_a_gap_and_goes_on() {
        let mut log = log(3, 1 << 20);
        (0..10).for_each(|lost| log.append(Event::Gap { lost }));
        assert_eq!(log.next(), 10);
        let gap = log.at(2).unwrap();
        assert_eq!(*gap, Sequenced { sequence: 6, event: Event::Gap { lost: 5 } });
        assert_eq!(log.at(7).unwrap().sequence, 7);
        assert_eq!(log.at(10), None);
    }

    #[test]
    fn bytes_bound_the_ring_but_the_newest_stays() {
        let mut log = log(1_000, 300);
        let skipped = |n| Event::Skipped {
            snapshot: clino_domain::SnapshotRef { step: 1, attempt: 1 },
            reason: "x".repeat(n),
        };
        log.append(skipped(10));
        log.append(skipped(10));
        log.append(skipped(10_000));
        assert_eq!(log.at(2).unwrap().sequence, 2);
        assert!(matches!(log.at(0).unwrap().event, Event::Gap { lost: 2 }));
        log.append(skipped(10));
        assert_eq!(log.at(3).unwrap().sequence, 3);
    }
    #[test]
    fn where_memory_is_short_the_oldest_events_go() {
        let budget = Budget::new(1_000);
        let log = || Log::new(Bounds::default(), 0, budget.nothing());
        let mut first = log();
        let mut second = log();
        (0..5).for_each(|lost| first.append(Event::Gap { lost }));
        (0..5).for_each(|lost| second.append(Event::Gap { lost }));
        assert_eq!((first.events.len(), second.events.len(), budget.used()), (5, 2, 896));
        assert_eq!((second.next(), second.at(3).unwrap().sequence), (5, 3));
        drop(first);
        (0..9).for_each(|lost| second.append(Event::Gap { lost }));
        assert_eq!((second.events.len(), budget.used()), (7, 896));
    }
}
