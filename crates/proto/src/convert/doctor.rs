//! What the doctor says.
//!
//! Owns: nothing beside the conversion. May not touch: how anything is found.

use super::Coded;
use crate::pb;
use clino_domain::diagnosis::{Concern, DaemonFacts, Diagnosis, DiskFacts, Finding};
use clino_domain::incident::Severity;

impl Coded for Severity {
    type Pb = pb::Severity;
    const TABLE: &'static [(pb::Severity, Self)] = &[
        (pb::Severity::Note, Self::Note),
        (pb::Severity::Warning, Self::Warning),
        (pb::Severity::Error, Self::Error),
    ];
    fn name(pb: &pb::Severity) -> &'static str {
        pb.as_str_name()
    }
}

impl Coded for Concern {
    type Pb = pb::Concern;
    const TABLE: &'static [(pb::Concern, Self)] = &[
        (pb::Concern::Daemon, Self::Daemon),
        (pb::Concern::Run, Self::Run),
        (pb::Concern::Device, Self::Device),
        (pb::Concern::Disk, Self::Disk),
        (pb::Concern::Memory, Self::Memory),
        (pb::Concern::Connection, Self::Connection),
        (pb::Concern::Setting, Self::Setting),
    ];
    fn name(pb: &pb::Concern) -> &'static str {
        pb.as_str_name()
    }
}

/// Converts what the doctor says to its message.
pub fn diagnosis_to_pb(diagnosis: &Diagnosis) -> pb::DiagnoseResponse {
    let Diagnosis { facts, findings } = diagnosis;
    let disk = |disk: &DiskFacts| pb::DiskFacts {
        purpose: disk.purpose.clone(),
        folder: disk.folder.clone(),
        free_bytes: disk.free,
        size_bytes: disk.size,
    };
    let facts = pb::DaemonFacts {
        version: facts.version.clone(),
        uptime_seconds: facts.uptime,
        now: facts.now,
        ready: facts.ready,
        device: facts.device.clone(),
        memory_used_bytes: facts.memory_used,
        memory_limit_bytes: facts.memory_limit,
        runs_open: facts.runs_open,
        runs_limit: facts.runs_limit,
        snapshots_waiting: facts.snapshots_waiting,
        disks: facts.disks.iter().map(disk).collect(),
    };
    pb::DiagnoseResponse { facts: Some(facts), findings: findings.iter().map(finding_to_pb).collect() }
}

fn finding_to_pb(finding: &Finding) -> pb::Finding {
    pb::Finding {
        code: finding.code.clone(),
        severity: finding.severity.to_pb(),
        concern: finding.concern.to_pb(),
        subject: finding.subject.clone(),
        what: finding.what.clone(),
        action: finding.action.clone(),
        count: finding.count,
        last: finding.last,
        detail: finding.detail.clone(),
    }
}

/// What the doctor says. A newer daemon may find what this client does not know: that is no reason to hear nothing of it, so
/// an unknown severity is a warning, and an unknown concern the daemon.
pub fn diagnosis_from_pb(answer: pb::DiagnoseResponse) -> Diagnosis {
    let facts = answer.facts.unwrap_or_default();
    let disk = |disk: pb::DiskFacts| DiskFacts {
        purpose: disk.purpose,
        folder: disk.folder,
        free: disk.free_bytes,
        size: disk.size_bytes,
    };
    let facts = DaemonFacts {
        version: facts.version,
        uptime: facts.uptime_seconds,
        now: facts.now,
        ready: facts.ready,
        device: facts.device,
        memory_used: facts.memory_used_bytes,
        memory_limit: facts.memory_limit_bytes,
        runs_open: facts.runs_open,
        runs_limit: facts.runs_limit,
        snapshots_waiting: facts.snapshots_waiting,
        disks: facts.disks.into_iter().map(disk).collect(),
    };
    Diagnosis { facts, findings: answer.findings.into_iter().map(finding_from_pb).collect() }
}

fn finding_from_pb(finding: pb::Finding) -> Finding {
    Finding {
        severity: Severity::from_pb("severity", finding.severity).unwrap_or(Severity::Warning),
        concern: Concern::from_pb("concern", finding.concern).unwrap_or_default(),
        code: finding.code,
        subject: finding.subject,
        what: finding.what,
        action: finding.action,
        count: finding.count,
        last: finding.last,
        detail: finding.detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clino_domain::incident::Incident;

    #[test]
    fn a_diagnosis_comes_back_as_it_was() {
        let disks = vec![DiskFacts { purpose: "data".into(), folder: "/d".into(), free: 1, size: 2 }];
        let facts = DaemonFacts {
            version: "1.2.3".into(),
            uptime: 4.5,
            now: 1e9,
            ready: true,
            device: "cpu".into(),
            memory_used: 3,
            memory_limit: 4,
            runs_open: 5,
            runs_limit: 6,
            snapshots_waiting: 7,
            disks,
        };
        let finding = |concern| Finding {
            count: 8,
            last: Some(1e9),
            detail: "x".into(),
            ..Finding::of(Incident::ModelMismatch).about(concern, "r")
        };
        let diagnosis = Diagnosis { facts, findings: Concern::ALL.map(finding).into() };
        assert_eq!(diagnosis_from_pb(diagnosis_to_pb(&diagnosis)), diagnosis);
    }

    #[test]
    fn what_a_newer_daemon_finds_is_heard() {
        let unknown =
            pb::Finding { code: "C999".into(), severity: 99, concern: 99, ..pb::Finding::default() };
        let answer = pb::DiagnoseResponse { facts: None, findings: vec![unknown] };
        let found = &diagnosis_from_pb(answer).findings[0];
        assert_eq!(
            (found.severity, found.concern, found.code.as_str()),
            (Severity::Warning, Concern::Daemon, "C999")
        );
    }
}
