//! What the doctor finds: what is slow, full, skipped, refused, unreachable or misconfigured.
//!
//! Owns: the shape of findings, their order. May not touch: how anything is found, how it is shown.

use super::incident::{Incident, Severity};

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Concern {
    /// The daemon as a whole.
    #[default]
    Daemon,
    /// A run; the subject is its id.
    Run,
    /// Where the engine computes.
    Device,
    /// A disk; the subject is a folder.
    Disk,
    /// The memory.
    Memory,
    /// The way to the daemon; the subject is an address.
    Connection,
    /// A setting; the subject is its name.
    Setting,
}

impl Concern {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Daemon, Self::Run, Self::Device, Self::Disk, Self::Memory, Self::Connection, Self::Setting];

    /// As people and programs write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Run => "run",
            Self::Device => "device",
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Connection => "connection",
            Self::Setting => "setting",
        }
    }
}

/// Something that the doctor found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Finding {
    /// From the table of incidents.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub concern: Concern,
    /// Which one, where there are several: a run, a folder, an address.
    pub subject: String,
    /// What is, a sentence.
    pub what: String,
    /// What to do, a sentence.
    pub action: String,
    /// How often it has happened in the last hour; 0 for what is so now.
    pub count: u64,
    /// When it happened last, in Unix seconds; `None` for what is so now.
    pub last: Option<f64>,
    /// What was said when it happened last; may be empty.
    pub detail: String,
}

impl Finding {
    /// What a line of the table says.
    pub fn of(incident: Incident) -> Self {
        let info = incident.info();
        Self {
            code: info.code.to_owned(),
            severity: info.severity,
            what: info.what.to_owned(),
            action: info.action.to_owned(),
            ..Self::default()
        }
    }

    /// The same about something; `subject` may be empty.
    pub fn about(self, concern: Concern, subject: impl Into<String>) -> Self {
        Self { concern, subject: subject.into(), ..self }
    }

    /// The same, told in other words.
    pub fn told(self, what: impl Into<String>) -> Self {
        Self { what: what.into(), ..self }
    }

    /// The same, with another thing to do.
    pub fn doing(self, action: impl Into<String>) -> Self {
        Self { action: action.into(), ..self }
    }
}

/// A disk of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DiskFacts {
    /// What it is for: `data` or `spool`.
    pub purpose: String,
    /// The folder.
    pub folder: String,
    /// Bytes that are free there.
    pub free: u64,
    /// Bytes of the file system.
    pub size: u64,
}

/// What a daemon is, and how busy.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DaemonFacts {
    /// Its version.
    pub version: String,
    /// Seconds since it started.
    pub uptime: f64,
    /// Its clock, in Unix seconds.
    pub now: f64,
    /// Whether it takes work.
    pub ready: bool,
    /// Where the engine computes; empty until it is known.
    pub device: String,
    /// Bytes of memory that are claimed.
    pub memory_used: u64,
    /// Bytes of memory that may be claimed.
    pub memory_limit: u64,
    /// Runs that are open.
    pub runs_open: u64,
    /// Most runs that it holds.
    pub runs_limit: u64,
    /// Snapshots that wait for the engine.
    pub snapshots_waiting: u64,
    /// Where it keeps things.
    pub disks: Vec<DiskFacts>,
}

/// What the doctor says of a daemon.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diagnosis {
    /// What the daemon is.
    pub facts: DaemonFacts,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

/// The worst first, then by code and subject; what concerns no one in particular behind what does.
pub fn rank(findings: &mut [Finding]) {
    findings.sort_by(|one, other| {
        let severity = other.severity.cmp(&one.severity);
        let key =
            |finding: &Finding| (finding.code.clone(), finding.subject.is_empty(), finding.subject.clone());
        severity.then_with(|| key(one).cmp(&key(other)))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first() {
        let run = |incident, id: &str| Finding::of(incident).about(Concern::Run, id);
        let mut findings = [
            Finding::of(Incident::NoHistory),
            Finding::of(Incident::ManySkipped),
            run(Incident::ManySkipped, "b"),
            run(Incident::ManySkipped, "a"),
            Finding::of(Incident::DeviceLost),
            Finding::of(Incident::MemoryNearlyFull),
        ];
        rank(&mut findings);
        let order = findings.map(|finding| format!("{} {}", finding.code, finding.subject));
        assert_eq!(order, ["C108 ", "C114 a", "C114 b", "C114 ", "C210 ", "C514 "]);
    }
}
