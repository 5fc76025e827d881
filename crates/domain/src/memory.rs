//! Memory of runs: claimed when a run opens, so that each one that is open can be measured.
//!
//! Owns: who is admitted, and how much is set aside for measuring. May not touch: how a footprint is worked out, threads.
//!
//! A run keeps some bytes for as long as it is open, and takes others while a snapshot of it is measured. Those of all open
//! runs together would rarely fit, and need not: a *reserve* is set aside that is as large as what the dearest of them
//! takes. A snapshot is measured within the reserve; a second one beside it within what is left of the reserve, or what is
//! free beyond it.

use super::budget::{Budget, BudgetPart, Claim, size};
use super::{Fault, FaultKind, MemoryPart, RunFootprint, SharedPart};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The memory that runs take of the budget of a process. Clones are the same memory.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    runs: Budget,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Bytes that open runs take while they are measured, and how many of them take so many.
    needs: BTreeMap<u64, usize>,
    /// What several runs share, and how many do.
    shared: HashMap<String, SharedClaim>,
    /// Bytes that are taken for measuring now.
    in_use: u64,
    /// As much as the dearest run takes, or what is in use if that is more.
    reserve: Claim,
}

#[derive(Debug)]
struct SharedClaim {
    runs: usize,
    _claim: Claim,
}

/// Claims on what a run keeps.
struct Wanted {
    /// For itself.
    own: Claim,
    /// For each key that it shares; without a claim where it is there already.
    shared: HashMap<String, Option<Claim>>,
}

impl State {
    /// Claims more for measuring if `dearest` and `in_use` ask for more than there is.
    fn raise(&mut self, dearest: u64, in_use: u64) -> Result<(), Fault> {
        let more = dearest.max(in_use).saturating_sub(self.reserve.bytes());
        self.reserve.grow(more)
    }

    /// Gives back what nobody is measured with and no run asks for.
    fn settle(&mut self) {
        let dearest = self.needs.last_key_value().map_or(0, |(bytes, _)| *bytes);
        self.reserve.shrink_to(dearest.max(self.in_use));
    }

    fn forget(&mut self, working: u64) {
        if let Some(runs) = self.needs.get_mut(&working) {
            *runs -= 1;
            if *runs == 0 {
                self.needs.remove(&working);
            }
        }
    }

    fn leave(&mut self, key: &str) {
        if let Some(shared) = self.shared.get_mut(key) {
            shared.runs -= 1;
            if shared.runs == 0 {
                self.shared.remove(key);
            }
        }
    }
}

impl Memory {
    /// Memory out of a budget.
    pub fn new(budget: &Budget) -> Self {
        let measuring = budget.part(BudgetPart::Measuring);
        let state =
            State { needs: BTreeMap::new(), shared: HashMap::new(), in_use: 0, reserve: measuring.nothing() };
        Self(Arc::new(Shared { runs: budget.part(BudgetPart::Runs), state: Mutex::new(state) }))
    }

    /// Memory without a limit.
    pub fn unlimited() -> Self {
        Self::new(&Budget::new(u64::MAX))
    }

    /// Claims what a run keeps until it is over, and sets aside what it takes to be measured.
    ///
    /// # Errors
    /// With the sum by part: [`FaultKind::Invalid`] when the run can never fit, [`FaultKind::Exhausted`], with who holds
    /// the rest, when it does not fit now.
    pub fn admit(&self, footprint: &RunFootprint) -> Result<Admitted, Fault> {
        let mut state = self.0.lock();
        let wanted = self.wanted(&state, footprint);
        let Wanted { own, shared } = wanted.map_err(|fault| self.refused(footprint, fault))?;
        let working = footprint.working_bytes();
        let in_use = state.in_use;
        state.raise(working, in_use).map_err(|fault| self.refused(footprint, fault))?;
        *state.needs.entry(working).or_default() += 1;
        let mut keys = Vec::new();
        for (key, claim) in shared {
            if let Some(_claim) = claim {
                state.shared.insert(key.clone(), SharedClaim { runs: 0, _claim });
            }
            if let Some(shared) = state.shared.get_mut(&key) {
                shared.runs += 1;
            }
            keys.push(key);
        }
        drop(state);
        Ok(Admitted { memory: self.clone(), _own: own, keys, working })
    }

    /// Claims on what a run keeps: for itself, and for each key that is shared; without a claim where it is there already.
    fn wanted(&self, state: &State, footprint: &RunFootprint) -> Result<Wanted, Fault> {
        let mut own = self.0.runs.nothing();
        let mut shared = HashMap::new();
        for MemoryPart { bytes, .. } in &footprint.kept {
            own.grow(*bytes)?;
        }
        for SharedPart { key, part } in &footprint.shared {
            if !shared.contains_key(key) {
                let is_there = state.shared.contains_key(key);
                let claim = (!is_there).then(|| self.0.runs.claim(part.bytes)).transpose()?;
                shared.insert(key.clone(), claim);
            }
        }
        Ok(Wanted { own, shared })
    }

    fn refused(&self, footprint: &RunFootprint, fault: Fault) -> Fault {
        let limit = self.0.runs.limit();
        if fault.kind == FaultKind::Invalid || footprint.bytes() > limit {
            let description = format!(
                "found a run that takes {footprint}, expected at most {} (--memory): use fewer or shorter examples or \
                cheaper measures, or start the daemon with more --memory",
                size(limit)
            );
            return Fault::invalid("memory", description);
        }
        let description = format!(
            "found a run that takes {footprint}, but {}: close runs that are done, use fewer or shorter examples or \
            cheaper measures, or try again later",
            self.0.runs.standing()
        );
        Fault { retry: fault.retry, ..Fault::field(FaultKind::Exhausted, "memory", description) }
    }

    /// Bytes for what is made of a specification before it is known what the run takes.
    ///
    /// # Errors
    /// Those of [`Budget::claim`].
    pub fn examine(&self, bytes: u64) -> Result<Claim, Fault> {
        self.0.runs.claim(bytes).map_err(|fault| {
            let message = format!("the probes cannot be prepared: {}", fault.message);
            Fault { message, violations: Vec::new(), ..fault }
        })
    }

    /// Bytes to measure one snapshot with; `None` while there are not so many, which ends when others give theirs back.
    ///
    /// Whoever asks for as many bytes as an admitted run takes gets them at the latest when nobody else has any, as long
    /// as it asks for all of them at once. Of several that wait, ask first for the one that was refused first: small ones
    /// would pass it for ever.
    pub fn working(&self, bytes: u64) -> Option<WorkingClaim> {
        let mut state = self.0.lock();
        let in_use = state.in_use.checked_add(bytes)?;
        state.raise(0, in_use).ok()?;
        state.in_use = in_use;
        drop(state);
        Some(WorkingClaim { memory: self.clone(), bytes })
    }

    /// Bytes that are set aside for measuring, those in use among them.
    pub fn reserved(&self) -> u64 {
        self.0.lock().reserve.bytes()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The claim of a run that is open; dropping it gives all of it back.
#[derive(Debug)]
pub struct Admitted {
    memory: Memory,
    _own: Claim,
    /// What it shares with others.
    keys: Vec<String>,
    working: u64,
}

impl Admitted {
    /// Bytes to measure one of its snapshots with.
    pub fn working(&self) -> u64 {
        self.working
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut state = self.memory.0.lock();
        state.forget(self.working);
        self.keys.iter().for_each(|key| state.leave(key));
        state.settle();
    }
}

/// Bytes to measure one snapshot with; dropping it gives them back.
#[derive(Debug)]
pub struct WorkingClaim {
    memory: Memory,
    bytes: u64,
}

impl Drop for WorkingClaim {
    fn drop(&mut self) {
        let mut state = self.memory.0.lock();
        state.in_use -= self.bytes;
        state.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn footprint(kept: &[(u64, Option<&str>)], working: u64) -> RunFootprint {
        let mut footprint = RunFootprint {
            working: vec![MemoryPart { name: "the gradient", bytes: working }],
            ..RunFootprint::default()
        };
        for (bytes, key) in kept {
            let part = MemoryPart { name: "probes", bytes: *bytes };
            match key {
                None => footprint.kept.push(part),
                Some(key) => footprint.shared.push(SharedPart { key: (*key).to_owned(), part }),
            }
        }
        footprint
    }

    fn memory(limit: u64) -> (Memory, Budget) {
        let budget = Budget::new(limit);
        (Memory::new(&budget), budget)
    }

    #[test]
    fn row_55_a_run_that_does_not_fit_is_refused_with_the_sum() {
        let (memory, budget) = memory(100 * MIB);
        let fault = memory.admit(&footprint(&[(70 * MIB, None)], 40 * MIB)).expect_err("too large");
        assert_eq!((fault.kind, budget.used()), (FaultKind::Invalid, 0));
        let sum = "110 MiB (70 MiB for probes, 40 MiB for the gradient), expected at most 100 MiB (--memory)";
        assert!(fault.message.contains(sum), "{fault}");
        let first = memory.admit(&footprint(&[(30 * MIB, None)], 40 * MIB)).expect("fits");
        let snapshot = budget.claim(10 * MIB).expect("fits");
        let fault = memory.admit(&footprint(&[(21 * MIB, None)], 40 * MIB)).expect_err("full");
        assert_eq!((fault.kind, fault.violations[0].field.as_str()), (FaultKind::Exhausted, "memory"));
        let standing =
            "20 MiB of 100 MiB are free (40 MiB for measuring, 30 MiB for runs, 10 MiB for snapshots)";
        assert!(fault.message.contains(standing) && fault.retry.is_some(), "{fault}");
        assert_eq!(budget.used(), 80 * MIB, "a refused run takes nothing");
        drop((first, snapshot));
        assert_eq!(budget.used(), 0);
        let saturated = footprint(&[(u64::MAX, None), (1, None)], u64::MAX);
        assert_eq!(memory.admit(&saturated).expect_err("too large").kind, FaultKind::Invalid);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn only_the_dearest_run_is_set_aside_for() {
        let (memory, budget) = memory(100);
        let small = memory.admit(&footprint(&[(10, None)], 30)).expect("fits");
        let large = memory.admit(&footprint(&[(10, None)], 50)).expect("fits");
        let same = memory.admit(&footprint(&[(10, None)], 50)).expect("fits");
        assert_eq!((memory.reserved(), budget.used()), (50, 80));
        drop(large);
        assert_eq!(memory.reserved(), 50);
        drop(same);
        assert_eq!((memory.reserved(), budget.used()), (30, 40));
        drop(small);
        assert_eq!((memory.reserved(), budget.used()), (0, 0));
    }

    #[test]
    fn row_54_what_runs_share_is_claimed_once_and_goes_with_the_last_one() {
        let (memory, budget) = memory(100);
        let shared = || footprint(&[(1, None), (60, Some("a")), (60, Some("a"))], 5);
        let first = memory.admit(&shared()).expect("fits");
        let second = memory.admit(&shared()).expect("it is there already");
        assert_eq!(budget.used(), 1 + 60 + 1 + 5);
        let other = footprint(&[(20, Some("b")), (20, Some("c"))], 0);
        assert_eq!(memory.admit(&other).expect_err("full").kind, FaultKind::Exhausted);
        assert_eq!(budget.used(), 67, "what a refused run would share is not kept");
        drop(first);
        assert_eq!(budget.used(), 1 + 60 + 5);
        drop(second);
        assert_eq!(budget.used(), 0);
        assert!(memory.admit(&other).is_ok());
    }

    #[test]
    fn snapshots_are_measured_within_the_reserve_and_what_is_free() {
        let (memory, budget) = memory(100);
        let run = memory.admit(&footprint(&[], 50)).expect("fits");
        let first = memory.working(20).expect("within the reserve");
        let second = memory.working(30).expect("within the rest of the reserve");
        assert_eq!(budget.used(), 50);
        let third = memory.working(50).expect("free");
        assert!(memory.working(1).is_none());
        assert!(memory.working(u64::MAX).is_none());
        drop(first);
        assert_eq!((memory.reserved(), budget.used()), (80, 80));
        let other = budget.claim(20).expect("given back");
        assert!(memory.working(50).is_none(), "others have taken it meanwhile");
        drop((second, third));
        assert_eq!(memory.reserved(), 50, "what is set aside stays");
        assert!(memory.working(50).is_some());
        drop((run, other));
        assert_eq!(budget.used(), 0);
    }

    /// The next of a sequence of numbers that only look random.
    fn next(state: &mut u64, below: u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % below
    }

    /// Whatever runs open, end and are measured, beside snapshots that come and go: the limit holds; each open run
    /// gets its bytes once nobody else is measured; of those that wait the first one gets them, whoever comes behind it;
    /// in the end all is given back.
    #[test]
    fn every_open_run_can_be_measured_whatever_happens() {
        for seed in 0..300 {
            let mut random = seed;
            let limit = 100 + next(&mut random, 400);
            let (memory, budget) = memory(limit);
            let mut runs: Vec<Admitted> = Vec::new();
            let mut measured: Vec<WorkingClaim> = Vec::new();
            let mut snapshots: Vec<Claim> = Vec::new();
            let mut waiting: Option<u64> = None;
            for _ in 0..300 {
                match next(&mut random, 7) {
                    0 | 1 => {
                        let key = ["a", "b", "c"][next(&mut random, 3) as usize];
                        let own = next(&mut random, 30);
                        let kept = [(own, None), (20, Some(key))];
                        runs.extend(memory.admit(&footprint(&kept, next(&mut random, 200))));
                    }
                    2 => snapshots.extend(budget.claim(next(&mut random, 60))),
                    3 if !snapshots.is_empty() => {
                        drop(snapshots.remove(next(&mut random, snapshots.len() as u64) as usize));
                    }
                    4 if !runs.is_empty() && waiting.is_none() && measured.is_empty() => {
                        drop(runs.remove(next(&mut random, runs.len() as u64) as usize));
                    }
                    5 if !measured.is_empty() => {
                        drop(measured.remove(next(&mut random, measured.len() as u64) as usize));
                    }
                    _ if !runs.is_empty() => {
                        let place = next(&mut random, runs.len() as u64) as usize;
                        let bytes = waiting.unwrap_or(runs[place].working());
                        match memory.working(bytes) {
                            Some(claim) => {
                                measured.push(claim);
                                waiting = None;
                            }
                            None => {
                                assert!(
                                    !measured.is_empty(),
                                    "seed {seed}: nobody is measured, and it waits"
                                );
                                waiting = Some(bytes);
                            }
                        }
                    }
                    _ => {}
                }
                assert!(budget.used() <= limit);
                let dearest = runs.iter().map(Admitted::working).max().unwrap_or(0);
                assert!(memory.reserved() >= dearest, "seed {seed}");
            }
            measured.clear();
            assert!(runs.iter().all(|run| memory.working(run.working()).is_some()), "seed {seed}");
            runs.clear();
            snapshots.clear();
            assert_eq!((budget.used(), memory.reserved()), (0, 0), "seed {seed}");
        }
    }

    #[test]
    fn threads_that_measure_never_wait_for_ever() {
        let (memory, budget) = memory(100);
        let runs: Vec<_> =
            [10, 40, 90].map(|bytes| memory.admit(&footprint(&[], bytes)).expect("fits")).into();
        std::thread::scope(|scope| {
            for run in &runs {
                let memory = &memory;
                scope.spawn(move || {
                    for _ in 0..200 {
                        let claim = loop {
                            match memory.working(run.working()) {
                                Some(claim) => break claim,
                                None => std::thread::yield_now(),
                            }
                        };
                        std::thread::yield_now();
                        drop(claim);
                        std::thread::yield_now();
                    }
                });
            }
        });
        assert_eq!(budget.used(), 90);
        drop(runs);
        assert_eq!(budget.used(), 0);
    }
}
