//! What the daemon counts, as one enum: a new counter is one variant and one name.
//!
//! Owns: the counters. May not touch: how they are shown.

use super::incident::{INCIDENTS, Incident, Origin};
use super::ledger::{Incidents, NotedIncident};
use super::metrics::{Metric, Metrics};
use std::sync::atomic::{AtomicU64, Ordering};

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// A run was opened.
    RunOpened,
    /// A snapshot was received whole.
    SnapshotAccepted,
    /// An upload ended without a snapshot.
    UploadFailed,
    /// A snapshot will not be measured.
    SnapshotSkipped,
    /// A reading was made.
    ReadingMade,
    /// A reading failed: a measure panicked, or the engine did.
    ReadingFailed,
    /// A message was too large or no protobuf.
    MessageRefused,
    /// A call was refused: nobody known, or without the right.
    AccessDenied,
    /// A quota of a project was used up.
    QuotaRefused,
    /// The audit log lost a line.
    AuditLineLost,
    /// A file of tokens, quotas or certificates changed and could not be used.
    ReloadFailed,
    /// A connection was closed before it was served: no handshake in time, or too many.
    ConnectionRefused,
    /// A call was refused because there was no room for it.
    CallShed,
    /// A call or connection was ended because its client sent or read too little for too long.
    CallCut,
}

/// All of them with their names.
const NAMES: [(Counter, &str); 14] = [
    (Counter::RunOpened, "runs_opened_total"),
    (Counter::SnapshotAccepted, "snapshots_accepted_total"),
    (Counter::UploadFailed, "uploads_failed_total"),
    (Counter::SnapshotSkipped, "snapshots_skipped_total"),
    (Counter::ReadingMade, "readings_made_total"),
    (Counter::ReadingFailed, "readings_failed_total"),
    (Counter::MessageRefused, "messages_refused_total"),
    (Counter::AccessDenied, "access_denied_total"),
    (Counter::QuotaRefused, "quota_refused_total"),
    (Counter::AuditLineLost, "audit_lines_lost_total"),
    (Counter::ReloadFailed, "reloads_failed_total"),
    (Counter::ConnectionRefused, "connections_refused_total"),
    (Counter::CallShed, "calls_shed_total"),
    (Counter::CallCut, "calls_cut_total"),
];

/// Counts since the daemon started.
#[derive(Debug)]
pub struct Counters {
    counts: [AtomicU64; NAMES.len()],
    /// The same and much more, with labels, for monitoring.
    pub metrics: Metrics,
    incidents: Incidents,
    /// Unix time in seconds.
    clock: fn() -> f64,
}

impl Default for Counters {
    /// Without a clock: whatever happens has happened in 1970.
    fn default() -> Self {
        Self::timed(|| 0.0)
    }
}

impl Counters {
    /// Counts from now on, with times by a clock that tells Unix seconds.
    pub fn timed(clock: fn() -> f64) -> Self {
        let metrics = Metrics::default();
        // All of them are there from the beginning, so that rates are right from the first one on.
        let noted = INCIDENTS.iter().filter(|(_, info)| info.origin == Origin::Noted);
        noted.for_each(|(_, info)| metrics.add(Metric::Incidents, &[info.code], 0.0));
        Self { counts: Default::default(), metrics, incidents: Incidents::default(), clock }
    }

    /// Notes that something happened, and whom it concerns. Returns its code, for the line of the log that tells the rest.
    #[must_use = "what is noted is logged under its code as well"]
    pub fn note(&self, incident: Incident, detail: &str) -> &'static str {
        self.metrics.one(Metric::Incidents, &[incident.code()]);
        self.incidents.note(incident, detail, (self.clock)());
        incident.code()
    }

    /// All that has happened at least once since the daemon started, in the order of the table of incidents.
    pub fn noted(&self) -> Vec<NotedIncident> {
        self.incidents.noted((self.clock)())
    }

    /// Unix time in seconds.
    pub fn now(&self) -> f64 {
        (self.clock)()
    }

    /// Adds one to a counter.
    pub fn count(&self, counter: Counter) {
        self.counts[counter as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn of(&self, counter: Counter) -> u64 {
        self.counts[counter as usize].load(Ordering::Relaxed)
    }

    /// `name=count` of everything, for a log line.
    pub fn line(&self) -> String {
        let entries: Vec<_> =
            NAMES.iter().map(|(counter, name)| format!("{name}={}", self.of(*counter))).collect();
        entries.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_a_metric_and_an_entry_of_the_ledger() {
        let counters = Counters::timed(|| 7.0);
        assert_eq!(counters.note(Incident::CallShed, "peer a"), "C302");
        assert_eq!(counters.metrics.number(Metric::Incidents, &["C302"]), 1.0);
        let noted = counters.noted();
        assert_eq!((noted.len(), noted[0].at, noted[0].last.as_str()), (1, 7.0, "peer a"));
        let families = counters.metrics.families();
        let series = &families[Metric::Incidents as usize].series;
        let expected = INCIDENTS.iter().filter(|(_, info)| info.origin == Origin::Noted).count();
        assert_eq!(series.len(), expected, "those that have not happened are there as 0");
    }

    #[test]
    fn every_happening_has_a_place_and_a_name_of_its_own() {
        let counters = Counters::default();
        for (place, (counter, _)) in NAMES.iter().enumerate() {
            assert_eq!(*counter as usize, place);
            (0..=place).for_each(|_| counters.count(*counter));
        }
        assert!(counters.line().starts_with("runs_opened_total=1 snapshots_accepted_total=2 "));
    }
}
