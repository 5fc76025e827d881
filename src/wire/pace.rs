//! How fast an upload must come.
//!
//! Owns: the least rate. May not touch: what is uploaded.
//!
//! An upload holds memory and a place until it ends, so it may not take for ever. Only the time counts in which the daemon waits
//! for its client: a trainer may pause, and a link may be slow.

use clino_domain::{Fault, FaultKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Least bytes a second, on average over the patience of the daemon.
const LEAST: f64 = 1024.0;

/// What has come of a call, as the doors count it.
#[derive(Debug, Clone, Default)]
pub(super) struct Received(Arc<Mutex<Count>>);

#[derive(Debug, Default)]
struct Count {
    bytes: u64,
    /// How long it was held up for want of room, and since when it is.
    held_up: Duration,
    since: Option<Instant>,
}

impl Received {
    /// More have come.
    pub fn add(&self, bytes: u64) {
        self.count().bytes += bytes;
    }

    /// From now on it is held up.
    pub fn hold_up(&self) {
        self.count().since.get_or_insert_with(Instant::now);
    }

    /// From now on it is not.
    pub fn go_on(&self) {
        let mut count = self.count();
        if let Some(since) = count.since.take() {
            count.held_up += since.elapsed();
        }
    }

    /// Bytes that have come.
    pub fn bytes(&self) -> u64 {
        self.count().bytes
    }

    fn held_up(&self) -> Duration {
        let count = self.count();
        count.held_up + count.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// How long it had been held up when that was last asked.
    held_up: Duration,
}

impl Pace {
    /// An upload that must come at the least rate in each `patience` of waiting.
    pub fn new(patience: Duration, received: Received) -> Self {
        let before = received.bytes();
        Self { patience, received, waited: Duration::ZERO, before, held_up: Duration::ZERO }
    }

    /// Bytes of the upload that have come.
    pub fn received(&self) -> u64 {
        self.received.bytes()
    }

    /// Whether it has been held up since time was last counted.
    pub fn is_held_up(&self) -> bool {
        self.received.held_up() > self.held_up
    }

    /// So long there was nothing to read; it counts as far as the upload was not held up.
    ///
    /// # Errors
    /// [`FaultKind::Deadline`] when too little came in that time.
    pub fn waited(&mut self, time: Duration) -> Result<(), Fault> {
        let held_up = self.received.held_up();
        self.waited += time.saturating_sub(held_up - self.held_up);
        self.held_up = held_up;
        if self.waited < self.patience {
            return Ok(());
        }
        let all = self.received.bytes();
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
    fn what_is_held_up_does_not_count() {
        let received = Received::default();
        let mut pace = Pace::new(SECOND, received.clone());
        received.hold_up();
        std::thread::sleep(Duration::from_millis(20));
        assert!(pace.is_held_up());
        received.go_on();
        let held_up = received.held_up();
        pace.waited(SECOND + held_up - Duration::from_millis(1)).unwrap();
        assert!(!pace.is_held_up());
        assert!(pace.waited(Duration::from_millis(1)).is_err());
    }

    #[test]
    fn a_trainer_may_pause_and_waiting_of_the_daemon_does_not_count() {
        let received = Received::default();
        let mut pace = Pace::new(SECOND * 30, received.clone());
        for _ in 0..11 {
            received.add(1 << 20);
            pace.waited(Duration::ZERO).unwrap();
            pace.waited(SECOND * 29).unwrap();
        }
        assert!(pace.waited(SECOND * 30).is_ok(), "the last frame counts");
        let fault = pace.waited(SECOND * 30).unwrap_err();
        assert!(fault.message.contains("no frame was received for 30 s"), "{fault}");
    }
}
