//! Log lines that a peer could repeat without end.
//!
//! Owns: how often one is written. May not touch: what it says.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one kind in each period of this length …
const PERIOD: Duration = Duration::from_secs(10);
/// … are at most so many; the next one tells how many were left out.
const LINES: u64 = 20;

/// Counts the lines of one kind.
#[derive(Debug, Default)]
pub(in crate::wire) struct LogThrottle(Mutex<Option<Lines>>);

#[derive(Debug)]
struct Lines {
    since: Instant,
    written: u64,
    left_out: u64,
}

impl LogThrottle {
    /// None was written yet.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether a line is to be written now; if so, how many were not since the last one.
    pub fn due(&self) -> Option<u64> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = lines.get_or_insert(Lines { since: now, written: 0, left_out: 0 });
        if now.saturating_duration_since(lines.since) >= PERIOD {
            lines.since = now;
            lines.written = 0;
        }
        if lines.written == LINES {
            lines.left_out += 1;
            return None;
        }
        lines.written += 1;
        Some(std::mem::take(&mut lines.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_few_lines_and_a_count() {
        let throttle = LogThrottle::default();
        let began = Instant::now();
        let first = (0..1_000).filter(|_| throttle.due_at(began).is_some()).count() as u64;
        assert_eq!(first, LINES);
        let later = began + PERIOD;
        assert_eq!(throttle.due_at(later), Some(1_000 - LINES));
        assert_eq!(throttle.due_at(later), Some(0));
    }
}
