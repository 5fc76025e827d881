//! Limits that all callers share, of which one peer gets no more than its share.
//!
//! Owns: the counts. May not touch: what is counted.

use crate::access::Origin;
use clino_domain::{Fault, FaultKind};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Of a pool, what one peer may have, so that others find something left.
const SHARE: (u64, u64) = (3, 4);

/// So many units that may be taken at once: bytes, calls or connections.
#[derive(Debug)]
pub(in crate::wire) struct Pool {
    /// For metrics, logs and faults.
    pub name: &'static str,
    limit: u64,
    share: u64,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u64,
    by: HashMap<Origin, u64>,
}

impl Pool {
    /// A pool of `limit` units; one peer gets at most three quarters of it, but never less than `least`.
    pub fn new(name: &'static str, limit: u64, least: u64) -> Arc<Self> {
        let share = (limit / SHARE.1 * SHARE.0).max(least).min(limit);
        Arc::new(Self { name, limit, share, taken: Mutex::default() })
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

    fn add(&self, origin: &Origin, more: u64) -> Result<(), Fault> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by.get(origin).copied().unwrap_or(0);
        let (name, all) = (self.name, taken.all);
        if all.saturating_add(more) > self.limit {
            let found = format!("found {all} taken, expected at most {} with {more} more", self.limit);
            return Err(Fault::new(FaultKind::Exhausted, format!("{name}: {found}: try again later")));
        }
        if own.saturating_add(more) > self.share {
            let found = format!("found {own} taken by this peer, expected at most {}", self.share);
            let message = format!("{name}: {found} with {more} more: try again later");
            return Err(Fault::new(FaultKind::Exhausted, message));
        }
        taken.all += more;
        taken.by.insert(origin.clone(), own + more);
        Ok(())
    }

    fn give_back(&self, origin: &Origin, units: u64) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= units;
        let left = taken.by.get(origin).map_or(0, |own| own - units);
        if left == 0 {
            taken.by.remove(origin);
        } else {
            taken.by.insert(origin.clone(), left);
        }
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
        let (one, other) = (Origin::User(1), Origin::User(2));
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
    fn a_small_pool_can_be_had_whole() {
        let pool = Pool::new("connections", 2, 16);
        let both = pool.take(&Origin::User(1), 2).unwrap();
        assert!(pool.take(&Origin::User(1), 1).is_err());
        drop(both);
    }
}
