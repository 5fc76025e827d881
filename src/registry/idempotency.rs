//! What a run remembers of its snapshots for good manners: attempts that are taken, receipts by key.
//!
//! Owns: bounds of that memory. May not touch: the snapshots.

use clino_domain::persisted::MOST_RECEIPTS;
use clino_domain::{Fault, FaultKind, Receipt, SnapshotRef};
use std::collections::{HashMap, VecDeque};

/// So many lines of snapshots are remembered; snapshots of older ones are forgotten.
const MOST_LINES: usize = 4_096;

/// Snapshots that followed each other at equal gaps with the same attempt: one for a whole run of a trainer that sends
/// every hundredth step, however long it is.
#[derive(Debug, Clone, Copy)]
struct StepRange {
    first: u64,
    /// Between two steps; of no matter for a single one.
    gap: u64,
    count: u64,
    attempt: u32,
}

impl StepRange {
    fn holds(&self, step: u64) -> bool {
        match step.checked_sub(self.first) {
            None => false,
            Some(0) => true,
            Some(behind) => self.count > 1 && behind % self.gap == 0 && behind / self.gap < self.count,
        }
    }

    /// Whether a snapshot continues it; then it is taken in.
    fn continues(&mut self, at: SnapshotRef) -> bool {
        let Some(behind) = at.step.checked_sub(self.first).filter(|behind| *behind > 0) else { return false };
        let gap = if self.count == 1 { behind } else { self.gap };
        let next = at.attempt == self.attempt && gap.checked_mul(self.count) == Some(behind);
        if next {
            (self.gap, self.count) = (gap, self.count + 1);
        }
        next
    }
}

/// Attempts that are taken, by step.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Ranges of steps, oldest first.
    lines: VecDeque<StepRange>,
}

impl Attempts {
    /// The attempt that a snapshot of `step` gets: the wanted one, or the next free one.
    ///
    /// # Errors
    /// [`FaultKind::Exists`] when the wanted one is taken or none is left.
    pub fn choose(&self, step: u64, wanted: Option<u32>) -> Result<SnapshotRef, Fault> {
        let taken = || self.lines.iter().filter(|line| line.holds(step)).map(|line| line.attempt);
        let last = taken().max().unwrap_or(0);
        let attempt = match wanted {
            Some(wanted) => taken().all(|attempt| attempt != wanted).then_some(wanted),
            None => last.checked_add(1),
        };
        let attempt = attempt.ok_or_else(|| {
            let wanted = wanted.unwrap_or(u32::MAX);
            let description = format!(
                "found {wanted}, which is already taken at step {step}, expected more than {last}, the last \
                        one"
            );
            Fault::field(FaultKind::Exists, "attempt", description)
        })?;
        Ok(SnapshotRef { step, attempt })
    }

    /// Marks an attempt as taken.
    pub fn take(&mut self, at: SnapshotRef) {
        if self.lines.back_mut().is_some_and(|line| line.continues(at)) {
            return;
        }
        self.lines.push_back(StepRange { first: at.step, gap: 0, count: 1, attempt: at.attempt });
        if self.lines.len() > MOST_LINES {
            self.lines.pop_front();
        }
    }
}

/// Whether bytes with `digest` are those of a receipt; gives it back if so.
///
/// # Errors
/// [`FaultKind::Exists`] naming both digests.
pub(super) fn same_content(receipt: Receipt, digest: &str) -> Result<Receipt, Fault> {
    if receipt.digest == digest {
        return Ok(receipt);
    }
    let SnapshotRef { step, attempt } = receipt.at;
    let description = format!(
        "found bytes of digest {digest}, expected {} as of step {step} attempt {attempt}, which has this key: use a \
        new key for other weights",
        receipt.digest
    );
    Err(Fault::field(FaultKind::Exists, "idempotency_key", description))
}

/// Receipts by idempotency key.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    by_key: HashMap<String, (String, Receipt)>,
    order: VecDeque<String>,
}

impl Receipts {
    /// The receipt that `key` got, if what it announced has the same fingerprint. Whether the bytes are the same as well is
    /// for [`same_content`] to say.
    ///
    /// # Errors
    /// [`FaultKind::Exists`] when the key announced something else.
    pub fn find(&self, key: &str, print: &str) -> Result<Option<Receipt>, Fault> {
        match self.by_key.get(key) {
            None => Ok(None),
            Some((first, receipt)) if first == print => {
                Ok(Some(Receipt { repeated: true, ..receipt.clone() }))
            }
            Some((_, Receipt { at, .. })) => {
                let description = format!(
                    "found the key of step {} attempt {}, which was announced with other content: use a new key for \
                    another snapshot, or announce this one as before",
                    at.step, at.attempt
                );
                Err(Fault::field(FaultKind::Exists, "idempotency_key", description))
            }
        }
    }

    /// Remembers the receipt of an upload under its key.
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
    use clino_domain::SnapshotId;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

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
    fn equal_gaps_take_no_memory_and_others_a_bounded_one() {
        let mut attempts = Attempts::default();
        let mut take = |step: u64| attempts.take(SnapshotRef { step, attempt: 1 });
        (0..100_000).for_each(|n| take(n * 100));
        take(u64::MAX);
        assert_eq!(attempts.lines.len(), 2);
        for step in [0, 100, 9_999_900, u64::MAX] {
            assert_eq!(attempts.choose(step, None).unwrap().attempt, 2, "{step}");
        }
        for step in [1, 50, 10_000_000, u64::MAX - 1] {
            assert_eq!(attempts.choose(step, None).unwrap().attempt, 1, "{step}");
        }
        (0..3 * MOST_LINES as u64).for_each(|n| attempts.take(SnapshotRef { step: n * n, attempt: 1 }));
        assert_eq!(attempts.lines.len(), MOST_LINES);
    }

    proptest! {
        #[test]
        fn lines_hold_what_a_set_holds(steps in vec((0u64..40, 1u32..3), 0..200)) {
            let mut attempts = Attempts::default();
            let mut set = BTreeSet::new();
            for (step, attempt) in steps {
                attempts.take(SnapshotRef { step, attempt });
                set.insert(SnapshotRef { step, attempt });
                for step in 0..41 {
                    let last = set.iter().filter(|at| at.step == step).map(|at| at.attempt).max();
                    prop_assert_eq!(attempts.choose(step, None).unwrap().attempt, last.unwrap_or(0) + 1);
                    let taken = set.contains(&SnapshotRef { step, attempt: 1 });
                    prop_assert_eq!(attempts.choose(step, Some(1)).is_err(), taken);
                }
            }
        }
    }

    #[test]
    fn the_newest_receipts_are_remembered() {
        let receipt = Receipt {
            id: SnapshotId("s".into()),
            at: SnapshotRef { step: 1, attempt: 1 },
            digest: String::new(),
            measures: Vec::new(),
            unmeasured: Vec::new(),
            replaced: None,
            repeated: false,
            warnings: Vec::new(),
            decision: None,
        };
        let mut receipts = Receipts::default();
        (0..=MOST_RECEIPTS).for_each(|n| receipts.keep(n.to_string(), "print".into(), receipt.clone()));
        assert_eq!(receipts.find("0", "print").unwrap(), None);
        assert!(receipts.find("1", "print").unwrap().unwrap().repeated);
        assert_eq!(receipts.find("1", "other").unwrap_err().kind, FaultKind::Exists);
        assert_eq!(receipts.by_key.len(), MOST_RECEIPTS);
    }
}
