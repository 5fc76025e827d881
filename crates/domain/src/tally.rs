//! What the daemon counts, as one enum: a new happening is one variant and one name.
//!
//! Owns: the counters. May not touch: how they are shown.

use super::meters::Meters;
use std::sync::atomic::{AtomicU64, Ordering};

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
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
}

/// All of them with their names.
const NAMES: [(Happening, &str); 12] = [
    (Happening::RunOpened, "runs_opened_total"),
    (Happening::SnapshotAccepted, "snapshots_accepted_total"),
    (Happening::UploadFailed, "uploads_failed_total"),
    (Happening::SnapshotSkipped, "snapshots_skipped_total"),
    (Happening::ReadingMade, "readings_made_total"),
    (Happening::ReadingFailed, "readings_failed_total"),
    (Happening::MessageRefused, "messages_refused_total"),
    (Happening::AccessDenied, "access_denied_total"),
    (Happening::QuotaRefused, "quota_refused_total"),
    (Happening::AuditLineLost, "audit_lines_lost_total"),
    (Happening::ReloadFailed, "reloads_failed_total"),
    (Happening::ConnectionRefused, "connections_refused_total"),
];

/// Counts since the daemon started.
#[derive(Debug, Default)]
pub struct Tally {
    counts: [AtomicU64; NAMES.len()],
    /// The same and much more, with labels, for monitoring.
    pub meters: Meters,
}

impl Tally {
    /// Counts one happening.
    pub fn count(&self, happening: Happening) {
        self.counts[happening as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn of(&self, happening: Happening) -> u64 {
        self.counts[happening as usize].load(Ordering::Relaxed)
    }

    /// `name=count` of everything, for a log line.
    pub fn line(&self) -> String {
        let entries: Vec<_> =
            NAMES.iter().map(|(happening, name)| format!("{name}={}", self.of(*happening))).collect();
        entries.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_happening_has_a_place_and_a_name_of_its_own() {
        let tally = Tally::default();
        for (place, (happening, _)) in NAMES.iter().enumerate() {
            assert_eq!(*happening as usize, place);
            (0..=place).for_each(|_| tally.count(*happening));
        }
        assert!(tally.line().starts_with("runs_opened_total=1 snapshots_accepted_total=2 "));
    }
}
