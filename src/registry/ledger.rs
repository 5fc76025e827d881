//! What a run remembers of its snapshots for good manners: attempts that are taken, receipts by key.
//!
//! Owns: bounds of that memory. May not touch: the snapshots.

use crate::domain::{Fault, FaultKind, Receipt, SnapshotRef};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Attempts of so many snapshots are remembered; of older ones only that they are no longer in reports.
const MOST_ATTEMPTS: usize = 65_536;
/// So many receipts are remembered.
const MOST_RECEIPTS: usize = 4_096;

/// Attempts that are taken, by step.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    taken: BTreeSet<SnapshotRef>,
    order: VecDeque<SnapshotRef>,
}

impl Attempts {
    /// The attempt that a snapshot of `step` gets: the wanted one, or the next free one.
    ///
    /// # Errors
    /// [`FaultKind::Exists`] when the wanted one is taken or none is left.
    pub fn choose(&self, step: u64, wanted: Option<u32>) -> Result<SnapshotRef, Fault> {
        let all = SnapshotRef { step, attempt: 0 }..=SnapshotRef { step, attempt: u32::MAX };
        let last = self.taken.range(all).next_back().map_or(0, |at| at.attempt);
        let attempt = match wanted {
            Some(attempt) if !self.taken.contains(&SnapshotRef { step, attempt }) => Some(attempt),
            Some(_) => None,
            None => last.checked_add(1),
        };
        let attempt = attempt.ok_or_else(|| {
            let wanted = wanted.unwrap_or(u32::MAX);
            let description =
                format!("found {wanted}, which is taken at step {step}; the last one is {last}");
            Fault::field(FaultKind::Exists, "attempt", description)
        })?;
        Ok(SnapshotRef { step, attempt })
    }

    /// Takes an attempt.
    pub fn take(&mut self, at: SnapshotRef) {
        self.taken.insert(at);
        self.order.push_back(at);
        if self.order.len() > MOST_ATTEMPTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.taken.remove(&oldest);
        }
    }
}

/// Receipts by idempotency key.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    by_key: HashMap<String, (String, Receipt)>,
    order: VecDeque<String>,
}

impl Receipts {
    /// The receipt that `key` got, if what it announced has the same fingerprint.
    ///
    /// # Errors
    /// [`FaultKind::Exists`] when the key announced something else.
    pub fn find(&self, key: &str, print: &str) -> Result<Option<Receipt>, Fault> {
        match self.by_key.get(key) {
            None => Ok(None),
            Some((first, receipt)) if first == print => {
                Ok(Some(Receipt { repeated: true, ..receipt.clone() }))
            }
            Some(_) => {
                let description = "found a key that announced another snapshot, expected a new key";
                Err(Fault::field(FaultKind::Exists, "idempotency_key", description))
            }
        }
    }

    /// Remembers a receipt.
    pub fn keep(&mut self, key: String, print: String, receipt: Receipt) {
        self.order.push_back(key.clone());
        self.by_key.insert(key, (print, receipt));
        if self.order.len() > MOST_RECEIPTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_key.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn row_30_a_repeated_or_rewound_step_gets_the_next_attempt() {
        let mut attempts = Attempts::default();
        for (step, attempt) in [(5, 1), (5, 2), (3, 1), (5, 3)] {
            let at = attempts.choose(step, None).unwrap();
            assert_eq!(at, SnapshotRef { step, attempt });
            attempts.take(at);
        }
        assert_eq!(attempts.choose(5, Some(2)).unwrap_err().kind, FaultKind::Exists);
        attempts.take(attempts.choose(5, Some(u32::MAX)).unwrap());
        assert_eq!(attempts.choose(5, None).unwrap_err().kind, FaultKind::Exists);
        assert_eq!(attempts.choose(5, Some(9)).unwrap().attempt, 9);
    }

    #[test]
    fn memory_of_attempts_is_bounded() {
        let mut attempts = Attempts::default();
        for step in 0..MOST_ATTEMPTS as u64 + 10 {
            attempts.take(SnapshotRef { step, attempt: 1 });
        }
        assert_eq!((attempts.taken.len(), attempts.order.len()), (MOST_ATTEMPTS, MOST_ATTEMPTS));
    }
}
