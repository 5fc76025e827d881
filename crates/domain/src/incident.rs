//! What goes wrong or is given up, as one table of stable codes: counted, logged and told by `clino doctor` under the same
//! code.
//!
//! Owns: the codes, what they mean and what to do. May not touch: who notes an incident, how it is shown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How much an incident matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Usual under load: nothing is wrong.
    Note,
    /// Somebody does not get what they asked for.
    Warning,
    /// Something is broken.
    Error,
}

impl Severity {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncidentInfo {
    /// Never changes, never means anything else.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What happened, a sentence.
    pub what: &'static str,
    /// What to do next, a sentence.
    pub action: &'static str,
}

macro_rules! table {
    ($($incident:ident $code:literal $severity:ident $what:literal $action:literal;)*) => {
        /// Something that goes wrong or is given up.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Incident {
            $(#[doc = $what] $incident,)*
        }

        /// The table of all incidents, in the order of their codes.
        pub static INCIDENTS: [(Incident, IncidentInfo); [$(Incident::$incident),*].len()] = [$((
            Incident::$incident,
            IncidentInfo { code: $code, severity: Severity::$severity, what: $what, action: $action },
        ),)*];
    };
}

table! {
    SnapshotReplaced "C101" Note
        "A snapshot was skipped because a newer one of its run took its place."
        "If a curve has too few points, push less often, ask for fewer measures, set a budget, or open the run with delivery EVERY.";
    SnapshotAbandoned "C102" Note
        "A snapshot was skipped because its run was abandoned, stopped by its policy, or the daemon shut down."
        "Nothing needs to be done.";
    SnapshotFailed "C103" Error
        "A snapshot could not be measured at all."
        "Read the reason in `clino watch RUN` and in the log; if it names a defect, report it with the log.";
    ReadingSkipped "C104" Note
        "A reading was skipped because it did not fit into its budget of seconds."
        "Raise the budget, lower the cost of the measure, or leave it out: `clino plan` tells what fits.";
    ReadingFailed "C105" Error
        "A reading failed."
        "Read the reason in `clino watch RUN`; a panic is a defect of clino: report it with the log.";
    ModelMismatch "C106" Error
        "A trainer's model is not what its configuration says, so its run has no readings."
        "Compare the config with the model that is trained: `clino watch RUN` shows both losses.";
    DeviceFallback "C107" Warning
        "A snapshot was measured on the CPU though the daemon has a GPU."
        "Read the reason in the log; choose fewer measures or shorter probes, or give the GPU more memory.";
    DeviceLost "C108" Error
        "A GPU failed for good."
        "Restart the daemon; if it fails again, run `clino selftest --device cuda:0` and look at `dmesg`.";
    LanesLimited "C109" Warning
        "The system gave no thread for a further snapshot, so fewer are measured by turns."
        "Raise the limit on threads (TasksMax, ulimit -u), or start fewer daemons on this machine.";
    UploadFailed "C201" Warning
        "An upload was refused or broke off."
        "`clino runs` and `clino watch RUN` show why the last one of a run was refused.";
    UploadSlow "C202" Warning
        "An upload was ended because it sent nothing, or too little, for too long."
        "Look at the connection and at the trainer; `--idle` sets how long an upload may be silent.";
    MemoryRefused "C203" Warning
        "An upload or a run was refused because it does not fit into the memory of the daemon now."
        "Close runs, ask for fewer measures or smaller probes, or raise `--memory`.";
    QuotaRefused "C204" Warning
        "A quota of a project was used up."
        "Wait, close runs of the project, or raise the quota (docs/access.md).";
    ConnectionRefused "C301" Warning
        "A connection was closed before it was served: no handshake in time, or too many connections."
        "Look for clients that open connections and do not close them; `--connections` sets the limit.";
    CallShed "C302" Warning
        "A call was refused because too much is asked at once."
        "Clients try again by themselves; if it lasts, look for one that asks too often.";
    CallTimedOut "C303" Warning
        "A call was ended because its request did not arrive, or its answer was not read, in time."
        "Look at the connection and at the client.";
    AccessDenied "C304" Warning
        "A call was refused: unknown token or certificate, or without the right."
        "Check the token of the client and its entry in the tokens file; the audit log says who asked.";
    MessageRefused "C305" Warning
        "A message was too large or not one of clino's."
        "Update the client, or find out who speaks to this port.";
    WatcherGap "C401" Note
        "A watcher was too slow and missed events."
        "It has the newest state; read the history for what it missed.";
    HistoryFailed "C501" Error
        "A write to the history failed and is tried again."
        "Look at the disk of `--data`: space, permissions, errors in `dmesg`.";
    HistoryDropped "C502" Error
        "A row could not be kept in the history."
        "Look at the disk of `--data`; readings of this row are lost after a restart.";
    SpoolRecreated "C503" Warning
        "The spool was removed while the daemon was running, and made again."
        "Keep `--spool` out of what cleans temporary files.";
    AuditLineLost "C504" Error
        "The audit log lost a line."
        "Look at the disk of `--audit`: space and permissions.";
    ReloadFailed "C601" Error
        "A file of tokens, quotas or certificates changed and cannot be used; what was read before still counts."
        "Mend the file: the log names the line.";
    ExportFailed "C602" Warning
        "Traces and metrics could not be sent to the collector."
        "Check `--otlp` and the collector.";
}

impl Incident {
    /// Its line of the table.
    pub fn info(self) -> &'static IncidentInfo {
        &INCIDENTS[self as usize].1
    }

    /// Its code, as in `C101`.
    pub fn code(self) -> &'static str {
        self.info().code
    }
}

/// An incident, how often it has happened, and what was said of it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotedIncident {
    /// Which one.
    pub incident: Incident,
    /// Since the daemon started.
    pub count: u64,
    /// Of the last one; empty where nothing was said.
    pub last: String,
}

/// What has happened since the daemon started.
#[derive(Debug, Default)]
pub struct Incidents {
    counts: [AtomicU64; INCIDENTS.len()],
    last: Mutex<[String; INCIDENTS.len()]>,
}

impl Incidents {
    fn last(&self) -> MutexGuard<'_, [String; INCIDENTS.len()]> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened; `detail` says whom it concerns.
    pub fn note(&self, incident: Incident, detail: &str) {
        self.counts[incident as usize].fetch_add(1, Ordering::Relaxed);
        if !detail.is_empty() {
            detail.clone_into(&mut self.last()[incident as usize]);
        }
    }

    /// How often it has happened.
    pub fn count(&self, incident: Incident) -> u64 {
        self.counts[incident as usize].load(Ordering::Relaxed)
    }

    /// All that has happened at least once, in the order of the table.
    pub fn noted(&self) -> Vec<NotedIncident> {
        let last = self.last();
        let noted = INCIDENTS.iter().map(|(incident, _)| NotedIncident {
            incident: *incident,
            count: self.count(*incident),
            last: last[*incident as usize].clone(),
        });
        noted.filter(|noted| noted.count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_say_what_to_do() {
        for (place, (incident, info)) in INCIDENTS.iter().enumerate() {
            assert_eq!(*incident as usize, place);
            assert!(place == 0 || INCIDENTS[place - 1].1.code < info.code, "{}", info.code);
            assert!(info.code.len() == 4 && info.code.starts_with('C'), "{}", info.code);
            assert!(info.what.ends_with('.') && info.action.ends_with('.'), "{}", info.code);
        }
    }

    #[test]
    fn what_happened_is_told_with_its_last_detail() {
        let incidents = Incidents::default();
        assert!(incidents.noted().is_empty());
        incidents.note(Incident::UploadFailed, "run a: no bytes");
        incidents.note(Incident::UploadFailed, "");
        incidents.note(Incident::SnapshotReplaced, "run b");
        let noted = incidents.noted();
        assert_eq!(noted.iter().map(|noted| noted.incident.code()).collect::<Vec<_>>(), ["C101", "C201"]);
        assert_eq!((noted[1].count, noted[1].last.as_str()), (2, "run a: no bytes"));
    }
}
