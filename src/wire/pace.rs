//! How fast an upload must come.
//!
//! Owns: the least rate. May not touch: what is uploaded.
//!
//! An upload holds memory and a place until it ends, so it may not take for ever. Only the time counts in which the daemon waits
//! for its client: a trainer may pause, and a link may be slow.

use clino_domain::{Fault, FaultKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Least bytes a second, on average over the patience of the daemon.
const LEAST: f64 = 1024.0;

/// Bytes of a call that have come, as the doors count them.
#[derive(Debug, Clone, Default)]
pub(super) struct Received(Arc<AtomicU64>);

impl Received {
    /// More have come.
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The pace of one upload.
#[derive(Debug)]
pub(super) struct Pace {
    patience: Duration,
    received: Received,
    /// Of the present period: how long was waited in it, and what had come before.
    waited: Duration,
    before: u64,
}

impl Pace {
    /// An upload that must come at the least rate in each `patience` of waiting.
    pub fn new(patience: Duration, received: Received) -> Self {
        let before = received.get();
        Self { patience, received, waited: Duration::ZERO, before }
    }

    /// Bytes of the upload that have come.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    /// The daemon has waited for its client for so long.
    ///
    /// # Errors
    /// [`FaultKind::Deadline`] when too little came in that time.
    pub fn waited(&mut self, time: Duration) -> Result<(), Fault> {
        self.waited += time;
        if self.waited < self.patience {
            return Ok(());
        }
        let all = self.received.get();
        let came = all - self.before;
        let least = self.waited.as_secs_f64() * LEAST;
        if (came as f64) < least {
            let seconds = self.waited.as_secs_f64();
            let message = match came {
                0 => format!("no frame was received for {seconds:.0} s"),
                _ => format!(
                    "found {came} bytes in {seconds:.0} s of waiting, expected at least {LEAST} a second: \
                     send the snapshot at once or over a faster link"
                ),
            };
            return Err(Fault::new(FaultKind::Deadline, message));
        }
        self.before = all;
        self.waited = Duration::ZERO;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_trickle_ends_and_a_slow_link_does_not() {
        let received = Received::default();
        let mut trickle = Pace::new(SECOND * 30, received.clone());
        let ended = (0..).find_map(|frame| {
            received.add(1);
            trickle.waited(SECOND * 5).err().map(|fault| (frame, fault))
        });
        let (frame, fault) = ended.unwrap();
        assert_eq!((frame, fault.kind), (5, FaultKind::Deadline));
        assert!(fault.message.contains("6 bytes in 30 s"), "{fault}");

        let received = Received::default();
        let mut slow = Pace::new(SECOND * 30, received.clone());
        for _ in 0..1_000 {
            received.add(5 << 10);
            slow.waited(SECOND * 5).unwrap();
        }
    }

    #[test]
    fn a_trainer_may_pause_and_waiting_of_the_daemon_does_not_count() {
        let received = Received::default();
        let mut pace = Pace::new(SECOND * 30, received.clone());
        for _ in 0..10 {
            received.add(1 << 20);
            pace.waited(Duration::ZERO).unwrap();
            pace.waited(SECOND * 29).unwrap();
        }
        assert!(pace.waited(SECOND * 30).is_ok(), "the last frame counts");
        let fault = pace.waited(SECOND * 30).unwrap_err();
        assert!(fault.message.contains("no frame was received for 30 s"), "{fault}");
    }
}
