//! Bytes of memory that may be taken at once: claimed before they are, given back when their owner drops.
//!
//! Owns: the count, and who holds how much. May not touch: the bytes.

use super::{Fault, FaultKind};
use std::any::Any;
use std::fmt::{Debug, Formatter};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// What bytes are claimed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetPart {
    /// Snapshots in memory: they arrive, wait, or others are compared with them.
    Snapshots,
    /// Probes that were put, and those that arrive.
    Probes,
    /// What open runs keep, such as their prepared probes.
    Runs,
    /// What measuring takes, and what is set aside so that the dearest run can be measured.
    Measuring,
    /// Requests and answers in flight.
    Messages,
    /// Events and readings that are kept for watchers and reports.
    History,
}

impl BudgetPart {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Snapshots, Self::Probes, Self::Runs, Self::Measuring, Self::Messages, Self::History];

    /// Its name in metrics and in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshots => "snapshots",
            Self::Probes => "probes",
            Self::Runs => "runs",
            Self::Measuring => "measuring",
            Self::Messages => "messages",
            Self::History => "history",
        }
    }
}

/// Whoever holds bytes that nobody needs just now, and can give them back.
pub trait Reclaim: Send + Sync {
    /// Gives some back; false when there are none. May not claim from the budget.
    fn reclaim(&self) -> bool;
}

/// A shared limit on bytes, and what the bytes that are claimed through it are for.
#[derive(Debug, Clone)]
pub struct Budget {
    total: Arc<Total>,
    part: BudgetPart,
    /// Most bytes that may be claimed for its purpose.
    most: u64,
}

struct Total {
    limit: u64,
    used: AtomicU64,
    parts: [AtomicU64; BudgetPart::ALL.len()],
    spare: OnceLock<Weak<dyn Reclaim>>,
}

impl Debug for Total {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Total").field("limit", &self.limit).field("used", &self.used).finish_non_exhaustive()
    }
}

/// Bytes claimed from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Claim {
    bytes: u64,
    budget: Budget,
    /// What else is given back with it.
    other: Option<Box<dyn Any + Send + Sync>>,
}

impl Claim {
    /// Keeps something else for as long as the bytes are claimed, such as a place in another count.
    pub fn with(mut self, other: impl Any + Send + Sync) -> Self {
        self.other = Some(Box::new((other, self.other.take())));
        self
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Claims `more` bytes besides, or none of them.
    ///
    /// # Errors
    /// Those of [`Budget::claim`].
    pub fn grow(&mut self, more: u64) -> Result<(), Fault> {
        self.budget.check(self.bytes.saturating_add(more))?;
        self.budget.take(more)?;
        self.bytes += more;
        Ok(())
    }

    /// Whether `more` bytes would fit now; claims none of them.
    ///
    /// # Errors
    /// Those of [`Budget::claim`].
    pub fn room(&self, more: u64) -> Result<(), Fault> {
        self.budget.check(self.bytes.saturating_add(more))?;
        self.budget.room(more)
    }

    /// Gives back all but `bytes`; one that holds less stays as it is.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.budget.give_back(surplus);
        self.bytes -= surplus;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

impl Default for Budget {
    /// One without a limit.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Budget {
    /// A budget of `limit` bytes, through which snapshots claim.
    pub fn new(limit: u64) -> Self {
        let total =
            Total { limit, used: AtomicU64::new(0), parts: Default::default(), spare: OnceLock::new() };
        Self { total: Arc::new(total), part: BudgetPart::Snapshots, most: limit }
    }

    /// The same budget, through which bytes are claimed for another purpose.
    pub fn part(&self, part: BudgetPart) -> Self {
        Self { total: self.total.clone(), part, most: self.limit() }
    }

    /// The same, through which nothing is claimed beyond `most` bytes of its purpose.
    pub fn at_most(self, most: u64) -> Self {
        Self { most: most.min(self.most), ..self }
    }

    /// Asks `spare` for bytes whenever a claim does not fit; only the first one that is named is asked.
    pub fn reclaim_from(&self, spare: Weak<dyn Reclaim>) {
        // A second one would be a defect of whoever connects the parts; nothing breaks by it.
        let _ = self.total.spare.set(spare);
    }

    /// Bytes that are claimed now, for whatever purpose.
    pub fn used(&self) -> u64 {
        self.total.used.load(Ordering::Relaxed)
    }

    /// Bytes that are claimed now for one purpose.
    pub fn used_for(&self, part: BudgetPart) -> u64 {
        self.total.parts[part as usize].load(Ordering::Relaxed)
    }

    /// The most bytes that may be claimed at once, for all purposes together.
    pub fn limit(&self) -> u64 {
        self.total.limit
    }

    /// Claims `bytes` or nothing.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] when they can never fit, [`FaultKind::Exhausted`] when they do not fit now.
    pub fn claim(&self, bytes: u64) -> Result<Claim, Fault> {
        self.check(bytes)?;
        self.take(bytes)?;
        Ok(Claim { bytes, budget: self.clone(), other: None })
    }

    /// A claim on no bytes, which may grow.
    pub fn nothing(&self) -> Claim {
        Claim { bytes: 0, budget: self.clone(), other: None }
    }

    /// Whether `bytes` would fit now; claims none of them.
    ///
    /// # Errors
    /// Those of [`Budget::claim`].
    pub fn room(&self, bytes: u64) -> Result<(), Fault> {
        self.check(bytes)?;
        while self.limit() - self.used() < bytes {
            if !self.reclaim() {
                return Err(self.full(bytes));
            }
        }
        Ok(())
    }

    fn check(&self, bytes: u64) -> Result<(), Fault> {
        let limit = self.limit();
        match bytes > limit {
            true => {
                let description = format!("found {bytes} bytes, expected at most {limit} (--memory)");
                Err(Fault::invalid("tensors", description))
            }
            false => Ok(()),
        }
    }

    fn take(&self, bytes: u64) -> Result<(), Fault> {
        let part = &self.total.parts[self.part as usize];
        let fits = |used: u64| used.checked_add(bytes).is_some_and(|sum| sum <= self.most);
        // What a purpose may not have is not reclaimed from others.
        if self.most < self.limit() && !fits(part.load(Ordering::Relaxed)) {
            return Err(self.full(bytes));
        }
        while !add(&self.total.used, bytes, self.limit()) {
            if !self.reclaim() {
                return Err(self.full(bytes));
            }
        }
        if add(part, bytes, self.most) {
            return Ok(());
        }
        self.total.used.fetch_sub(bytes, Ordering::Relaxed);
        Err(self.full(bytes))
    }

    fn give_back(&self, bytes: u64) {
        self.total.parts[self.part as usize].fetch_sub(bytes, Ordering::Relaxed);
        self.total.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn reclaim(&self) -> bool {
        self.total.spare.get().and_then(Weak::upgrade).is_some_and(|spare| spare.reclaim())
    }

    fn full(&self, bytes: u64) -> Fault {
        let message = format!("{} do not fit now: {}; try again later", size(bytes), self.standing());
        Fault { retry: Some(later()), ..Fault::new(FaultKind::Exhausted, message) }
    }

    /// What is free and who holds the rest: `12 MiB of 64 MiB are free (40 MiB for probes, 12 MiB for runs)`.
    pub fn standing(&self) -> String {
        let held = BudgetPart::ALL.map(|part| (self.used_for(part), part.name()));
        let mut held: Vec<_> = held.into_iter().filter(|(bytes, _)| *bytes > 0).collect();
        held.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let held: Vec<_> = held.iter().map(|(bytes, name)| format!("{} for {name}", size(*bytes))).collect();
        let free = size(self.limit().saturating_sub(self.used()));
        let limit = size(self.limit());
        match held.is_empty() {
            true => format!("{free} of {limit} are free"),
            false => format!("{free} of {limit} are free ({})", held.join(", ")),
        }
    }
}

/// Adds, unless the sum is above `most`.
fn add(count: &AtomicU64, bytes: u64, most: u64) -> bool {
    let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= most);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
}

/// A size as sentences tell it, in bytes where MiB would hide it.
pub fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 MiB".into(),
        1..=1_048_575 => format!("{bytes} bytes"),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// When to try again: those who were refused together do not come back together.
fn later() -> Duration {
    let spread = RandomState::new().hash_one(()) % 3_000;
    Duration::from_millis(1_000 + spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn claims_are_given_back() {
        let budget = Budget::new(10);
        let first = budget.claim(6).expect("fits");
        assert_eq!(budget.claim(5).expect_err("full").kind, FaultKind::Exhausted);
        drop(first);
        assert_eq!(budget.claim(11).expect_err("never").kind, FaultKind::Invalid);
        assert!(budget.claim(10).is_ok());
    }

    #[test]
    fn what_goes_with_a_claim_goes_with_it() {
        let first = Arc::new(());
        let second = Arc::new(());
        let claim = Budget::new(1).claim(1).expect("fits").with(first.clone()).with(second.clone());
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (2, 2));
        drop(claim);
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 1));
    }

    #[test]
    fn all_purposes_share_one_limit_and_a_refusal_names_them() {
        let budget = Budget::new(10 << 20);
        let probes = budget.part(BudgetPart::Probes).claim(6 << 20).expect("fits");
        let runs = budget.part(BudgetPart::Runs).claim(3 << 20).expect("fits");
        let fault = budget.claim(2 << 20).expect_err("full");
        let expected = "2 MiB do not fit now: 1 MiB of 10 MiB are free (6 MiB for probes, 3 MiB for runs); try again \
                        later";
        assert_eq!((fault.kind, fault.message.as_str()), (FaultKind::Exhausted, expected));
        let retry = fault.retry.expect("a time");
        assert!((1_000..4_000).contains(&retry.as_millis()), "{retry:?}");
        drop(probes);
        assert_eq!((budget.used_for(BudgetPart::Probes), budget.used()), (0, 3 << 20));
        drop(runs);
        assert_eq!((budget.used_for(BudgetPart::Runs), budget.used()), (0, 0));
    }

    #[test]
    fn a_claim_grows_as_far_as_there_is_room_and_shrinks() {
        let budget = Budget::new(10);
        let other = budget.claim(3).expect("fits");
        let mut claim = budget.claim(1).expect("fits");
        claim.grow(6).expect("fits");
        assert_eq!(claim.grow(1).expect_err("full").kind, FaultKind::Exhausted);
        assert_eq!(claim.grow(4).expect_err("never").kind, FaultKind::Invalid);
        assert_eq!(claim.grow(u64::MAX).expect_err("never").kind, FaultKind::Invalid);
        assert_eq!((claim.bytes(), budget.used()), (7, 10), "a refused step takes nothing");
        claim.shrink_to(8);
        assert_eq!(claim.bytes(), 7);
        claim.shrink_to(2);
        assert_eq!((claim.bytes(), budget.used()), (2, 5));
        drop((claim, other));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_purpose_may_have_a_limit_of_its_own() {
        let budget = Budget::new(100);
        let history = budget.part(BudgetPart::History).at_most(25);
        let claim = history.claim(20).expect("fits");
        assert_eq!(history.claim(6).expect_err("its own limit").kind, FaultKind::Exhausted);
        assert_eq!((budget.used(), budget.used_for(BudgetPart::History)), (20, 20));
        let other = budget.claim(76).expect("not of that purpose");
        assert_eq!(history.claim(5).expect_err("the limit of all").kind, FaultKind::Exhausted);
        assert_eq!(budget.used_for(BudgetPart::History), 20);
        drop((claim, other));
        assert_eq!(budget.used(), 0);
    }

    struct Spare(Mutex<Vec<Claim>>);

    impl Reclaim for Spare {
        fn reclaim(&self) -> bool {
            self.0.lock().expect("no panic").pop().is_some()
        }
    }

    #[test]
    fn what_nobody_needs_makes_room_and_no_more_of_it_than_must() {
        let budget = Budget::new(10);
        let spare = (0..4).map(|_| budget.part(BudgetPart::Probes).claim(2).expect("fits")).collect();
        let spare: Arc<Spare> = Arc::new(Spare(Mutex::new(spare)));
        let weak = Arc::downgrade(&spare);
        budget.reclaim_from(weak);
        let claim = budget.claim(5).expect("there is spare");
        assert_eq!((spare.0.lock().expect("no panic").len(), budget.used()), (2, 9));
        budget.room(5).expect("there is spare");
        assert_eq!(budget.used(), 5, "asking for room claims none");
        assert_eq!(budget.room(6).expect_err("full").kind, FaultKind::Exhausted);
        drop(claim);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn many_threads_never_take_more_than_there_is() {
        let budget = Budget::new(1_000);
        std::thread::scope(|scope| {
            for seed in 1..=4u64 {
                let budget = budget.part(BudgetPart::ALL[seed as usize]);
                scope.spawn(move || {
                    for i in 0..2_000u64 {
                        let Ok(mut claim) = budget.claim(i * seed % 400) else { continue };
                        let _ = claim.grow(i % 97);
                        assert!(budget.used() <= 1_000);
                        claim.shrink_to(i % 50);
                    }
                });
            }
        });
        assert!(BudgetPart::ALL.iter().all(|part| budget.used_for(*part) == 0));
        assert_eq!(budget.used(), 0);
    }
}
