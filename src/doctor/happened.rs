//! What has been noted in the last hour.
//!
//! Owns: how it joins what is so now. May not touch: the counts.

use super::Doctor;
use clino_domain::diagnosis::{Concern, Finding};
use clino_domain::incident::Incident;
use clino_domain::ledger::NotedIncident;

impl Doctor {
    /// Adds what has happened in the last hour to what was found, with details for those who may see `all`. What the same
    /// code says of the daemon as it is now gets the count instead of a line of its own.
    pub(super) fn happened(&self, all: bool, findings: &mut Vec<Finding>) {
        for NotedIncident { incident, recent, at, last, .. } in self.counters.noted() {
            let of_runs = |found: &&Finding| found.code == incident.code() && found.concern == Concern::Run;
            // Runs that are told of say it better than a count of them.
            if recent <= findings.iter().filter(of_runs).count() as u64 {
                continue;
            }
            let detail = if all { last } else { String::new() };
            let same = |found: &&mut Finding| found.code == incident.code() && found.concern != Concern::Run;
            let noted = match findings.iter_mut().find(same) {
                Some(found) => found,
                None => {
                    findings.push(Finding::of(incident).about(concern(incident), ""));
                    let Some(found) = findings.last_mut() else { return };
                    found
                }
            };
            let reason = detail.split_once(": ").map_or(detail.as_str(), |(_, reason)| reason);
            let said = !reason.is_empty() && noted.what.contains(reason);
            (noted.count, noted.last) = (recent, Some(at));
            noted.detail = if said { String::new() } else { detail };
        }
    }
}

/// What an incident is about that has no subject of its own.
fn concern(incident: Incident) -> Concern {
    match incident {
        Incident::DeviceFallback | Incident::DeviceLost | Incident::NoGpu => Concern::Device,
        Incident::MemoryRefused | Incident::MemoryWaited => Concern::Memory,
        Incident::HistoryFailed
        | Incident::HistoryDropped
        | Incident::HistoryDamaged
        | Incident::HistoryUpkeep
        | Incident::FilesExposed
        | Incident::NetworkDisk
        | Incident::SpoolRecreated
        | Incident::AuditLineLost
        | Incident::DiskRefused => Concern::Disk,
        Incident::ReloadFailed | Incident::ExportFailed => Concern::Setting,
        _ => Concern::Daemon,
    }
}
