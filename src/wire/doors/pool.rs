//! Limits that all callers share, of which one peer gets no more than its share.
//!
//! Owns: the counts. May not touch: what is counted.

use crate::access::Origin;
use clino_domain::budget::{Budget, Claim};
use clino_domain::{Fault, FaultKind};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// Of a pool, what one peer may have, so that others find something left.
const QUARTERS: u64 = 3;

/// So many units that may be taken at once: bytes, calls or connections.
#[derive(Debug)]
pub(in crate::wire) struct Pool {
    /// For metrics, logs and faults.
    pub name: &'static str,
    limit: u64,
    share: u64,
    /// Units that are claimed from no budget.
    free: u64,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u64,
    by: HashMap<Origin, u64>,
    /// What is claimed of a budget for them.
    claim: Option<Claim>,
    /// Tasks that wait until something is given back.
    waiting: Vec<Waker>,
}

impl Taken {
    /// Claims what is taken beyond `free`, or gives back what is claimed for more.
    fn claim(&mut self, all: u64, free: u64) -> Result<(), Fault> {
        let Some(claim) = self.claim.as_mut() else { return Ok(()) };
        let due = all.saturating_sub(free);
        match due.checked_sub(claim.bytes()) {
            Some(0) => Ok(()),
            Some(more) => claim.grow(more),
            None => {
                claim.shrink_to(due);
                Ok(())
            }
        }
    }
}

impl Pool {
    /// A pool of `limit` units, claimed from no budget; one peer gets at most three quarters of it, but never less than `least`.
    pub fn new(name: &'static str, limit: u64, least: u64) -> Arc<Self> {
        let share = (limit / 4 * QUARTERS).max(least).min(limit);
        Arc::new(Self { name, limit, share, free: 0, taken: Mutex::default() })
    }

    /// The same pool, whose units are bytes: beyond the first `free` of them they are claimed from `budget`.
    pub fn claiming(self: Arc<Self>, budget: &Budget, free: u64) -> Arc<Self> {
        let taken = Taken { claim: Some(budget.nothing()), ..Taken::default() };
        Arc::new(Self {
            name: self.name,
            limit: self.limit,
            share: self.share,
            free,
            taken: Mutex::new(taken),
        })
    }

    /// Takes units for a peer.
    ///
    /// # Errors
    /// [`FaultKind::Exhausted`] when the pool, or the share of this peer, has less left.
    pub fn take(self: &Arc<Self>, origin: &Origin, units: u64) -> Result<Portion, Fault> {
        let mut portion = Portion { pool: self.clone(), origin: origin.clone(), units: 0 };
        portion.resize(units)?;
        Ok(portion)
    }

    /// Wakes the task when something is given back.
    pub fn wake_later(&self, waker: &Waker) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if !taken.waiting.iter().any(|other| other.will_wake(waker)) {
            taken.waiting.push(waker.clone());
        }
    }

    fn add(&self, origin: &Origin, more: u64) -> Result<(), Fault> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by.get(origin).copied().unwrap_or(0);
        let name = self.name;
        let all = taken.all;
        if all.saturating_add(more) > self.limit {
            let found = format!("found {all} taken, expected at most {} with {more} more", self.limit);
            return Err(Fault::new(FaultKind::Exhausted, format!("{name}: {found}: try again later")));
        }
        if own.saturating_add(more) > self.share {
            let found = format!("found {own} taken by this peer, expected at most {}", self.share);
            let message = format!("{name}: {found} with {more} more: try again later");
            return Err(Fault::new(FaultKind::Exhausted, message));
        }
        taken.claim(all + more, self.free)?;
        taken.all += more;
        taken.by.insert(origin.clone(), own + more);
        Ok(())
    }

    fn give_back(&self, origin: &Origin, units: u64) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let left = taken.all - units;
        taken.all = left;
        // Nothing is refused that gives back.
        let _ = taken.claim(left, self.free);
        let left = taken.by.get(origin).map_or(0, |own| own - units);
        if left == 0 {
            taken.by.remove(origin);
        } else {
            taken.by.insert(origin.clone(), left);
        }
        let waiting = std::mem::take(&mut taken.waiting);
        drop(taken);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// What was taken from a pool; it is given back when this drops.
#[derive(Debug)]
pub(in crate::wire) struct Portion {
    pool: Arc<Pool>,
    origin: Origin,
    units: u64,
}

impl Portion {
    /// Takes more, or gives some back, so that there are `units`. What was there stays when there is no more.
    ///
    /// # Errors
    /// As [`Pool::take`].
    pub fn resize(&mut self, units: u64) -> Result<(), Fault> {
        match units.checked_sub(self.units) {
            Some(0) => return Ok(()),
            Some(more) => self.pool.add(&self.origin, more)?,
            None => self.pool.give_back(&self.origin, self.units - units),
        }
        self.units = units;
        Ok(())
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        if self.units > 0 {
            self.pool.give_back(&self.origin, self.units);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_peer_leaves_something_for_others() {
        let pool = Pool::new("bytes", 100, 0);
        let [one, other] = [1, 2].map(Origin::User);
        let mut most = pool.take(&one, 75).unwrap();
        let fault = pool.take(&one, 1).unwrap_err();
        assert!(fault.kind == FaultKind::Exhausted && fault.message.contains("by this peer"), "{fault}");
        let rest = pool.take(&other, 25).unwrap();
        let fault = pool.take(&other, 1).unwrap_err();
        assert!(fault.message.contains("100 taken"), "{fault}");
        most.resize(10).unwrap();
        assert!(most.resize(76).is_err());
        most.resize(11).unwrap();
        drop(rest);
        pool.take(&other, 75).unwrap();
        drop(most);
        let taken = pool.taken.lock().unwrap();
        assert!(taken.all == 0 && taken.by.is_empty());
    }

    #[test]
    fn bytes_beyond_the_first_are_claimed() {
        let budget = Budget::new(100);
        let pool = Pool::new("bytes", 400, 400).claiming(&budget, 50);
        let peer = Origin::Local;
        let first = pool.take(&peer, 40).unwrap();
        let mut more = pool.take(&peer, 60).unwrap();
        assert_eq!(budget.used(), 50);
        assert!(more.resize(111).is_err(), "the budget has no more");
        more.resize(110).unwrap();
        assert_eq!(budget.used(), 100);
        drop(first);
        assert_eq!(budget.used(), 60);
        drop(more);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_small_pool_can_be_had_whole() {
        let pool = Pool::new("connections", 2, 16);
        let both = pool.take(&Origin::User(1), 2).unwrap();
        assert!(pool.take(&Origin::User(1), 1).is_err());
        drop(both);
    }
}
