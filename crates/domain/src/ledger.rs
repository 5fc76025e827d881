//! How often each incident has happened, and what was said of it last.
//!
//! Owns: the counts, of bounded size whatever happens. May not touch: the clock, who is told.

use super::incident::{INCIDENTS, Incident};
use super::text::harmless;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most bytes that are kept of what is said of an incident.
const DETAIL: usize = 600;

/// An incident, how often it has happened, and what was said of it last.
#[derive(Debug, Clone, PartialEq)]
pub struct NotedIncident {
    /// Which one.
    pub incident: Incident,
    /// Since the daemon started.
    pub count: u64,
    /// Within the last hour, to a minute.
    pub recent: u64,
    /// When it happened last, in Unix seconds.
    pub at: f64,
    /// Of the last one; empty where nothing was said.
    pub last: String,
}

/// Minutes that are told apart.
const MINUTES: usize = 60;

/// How often one incident has happened.
#[derive(Debug)]
struct Tally {
    count: u64,
    at: f64,
    last: String,
    /// How often in each of the last minutes; the place is the minute modulo their number.
    minutes: [u64; MINUTES],
}

impl Default for Tally {
    fn default() -> Self {
        Self { count: 0, at: 0.0, last: String::new(), minutes: [0; MINUTES] }
    }
}

/// The minute of a time in Unix seconds.
fn minute(at: f64) -> u64 {
    (at / 60.0) as u64
}

impl Tally {
    /// Forgets the minutes that are over at `now`.
    fn age(&mut self, now: f64) {
        let before = minute(self.at);
        for minute in (before + 1..=minute(now)).take(MINUTES) {
            self.minutes[(minute % MINUTES as u64) as usize] = 0;
        }
    }

    fn note(&mut self, detail: &str, now: f64) {
        // A clock may be set back: what happened then counts now.
        let now = now.max(self.at);
        self.age(now);
        self.count += 1;
        self.at = now;
        self.minutes[(minute(now) % MINUTES as u64) as usize] += 1;
        if !detail.is_empty() {
            let detail = harmless(detail);
            detail[..detail.floor_char_boundary(DETAIL)].clone_into(&mut self.last);
        }
    }

    fn recent(&self, now: f64) -> u64 {
        let gone = minute(now).saturating_sub(minute(self.at));
        let kept = (MINUTES as u64).saturating_sub(gone);
        let newest = minute(self.at);
        (0..kept)
            .filter_map(|ago| newest.checked_sub(ago))
            .map(|m| self.minutes[(m % MINUTES as u64) as usize])
            .sum()
    }
}

/// What has happened since the daemon started.
#[derive(Debug)]
pub struct Incidents([Mutex<Tally>; INCIDENTS.len()]);

impl Default for Incidents {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Incidents {
    fn tally(&self, incident: Incident) -> MutexGuard<'_, Tally> {
        self.0[incident as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened at `now`, in Unix seconds; `detail` says whom it concerns, and is cut where it is long.
    pub fn note(&self, incident: Incident, detail: &str, now: f64) {
        self.tally(incident).note(detail, now);
    }

    /// How often it has happened.
    pub fn count(&self, incident: Incident) -> u64 {
        self.tally(incident).count
    }

    /// All that has happened at least once, in the order of the table, as things stand at `now`.
    pub fn noted(&self, now: f64) -> Vec<NotedIncident> {
        let noted = INCIDENTS.iter().map(|(incident, _)| {
            let tally = self.tally(*incident);
            NotedIncident {
                incident: *incident,
                count: tally.count,
                recent: tally.recent(now),
                at: tally.at,
                last: tally.last.clone(),
            }
        });
        noted.filter(|noted| noted.count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told_with_its_last_detail() {
        let incidents = Incidents::default();
        assert!(incidents.noted(0.0).is_empty());
        incidents.note(Incident::UploadFailed, "run a: no bytes", 60.0);
        incidents.note(Incident::UploadFailed, "", 90.0);
        incidents.note(Incident::SnapshotReplaced, &"b\n".repeat(10_000), 90.0);
        let noted = incidents.noted(100.0);
        assert_eq!(noted.iter().map(|noted| noted.incident.code()).collect::<Vec<_>>(), ["C101", "C201"]);
        assert_eq!((noted[1].count, noted[1].at, noted[1].last.as_str()), (2, 90.0, "run a: no bytes"));
        assert!(noted[0].last.len() < 2_000 && !noted[0].last.contains('\n'), "{}", noted[0].last);
    }

    #[test]
    fn what_happened_long_ago_is_not_recent() {
        let incidents = Incidents::default();
        let recent = |now: f64| incidents.noted(now)[0].recent;
        (0..120).for_each(|minute| incidents.note(Incident::CallShed, "", f64::from(minute) * 60.0));
        let end = 119.0 * 60.0;
        assert_eq!(
            [end, end + 600.0, end + 3_540.0, end + 3_600.0, end + 1e9].map(recent),
            [60, 50, 1, 0, 0]
        );
        incidents.note(Incident::CallShed, "", end + 7_200.0);
        // A clock that was set back.
        incidents.note(Incident::CallShed, "", 5.0);
        assert_eq!((recent(end + 7_200.0), incidents.count(Incident::CallShed)), (2, 122));
    }
}
