//! What the daemon as a whole is short of: readiness, memory, places for runs, disks.
//!
//! Owns: from where on something is short. May not touch: runs one by one.

use super::Doctor;
use crate::registry::RunCounts;
use clino_domain::Journal;
use clino_domain::diagnosis::{Concern, Finding};
use clino_domain::incident::Incident;
use clino_domain::readiness::{DEVICE, DRAINING, ENGINE, STARTING};
use rustix::fs::{Access, access, statfs, statvfs};
use std::path::Path;

/// Of a disk, the share that is not low: a twentieth is.
const LOW: u64 = 20;
/// What `statfs` calls a file system in memory: tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

impl Doctor {
    pub(super) fn house(&self, counts: &RunCounts) -> Vec<Finding> {
        let mut findings = self.readiness();
        findings.extend(self.memory());
        findings.extend(self.places(counts));
        findings.extend(self.spool());
        findings.extend(self.disks());
        findings
    }

    /// Why it takes no work; disks are asked for themselves.
    fn readiness(&self) -> Vec<Finding> {
        let reasons = self.readiness.reasons();
        reasons.into_iter().filter_map(|(name, reason)| unready(name, &reason)).collect()
    }

    /// From nine tenths on there is little for whoever comes next.
    fn memory(&self) -> Option<Finding> {
        let used = self.budget.used();
        let limit = self.budget.limit();
        let what = format!(
            "More than nine tenths of the memory of the daemon are claimed: {}.",
            self.budget.standing()
        );
        let finding = || Finding::of(Incident::MemoryNearlyFull).about(Concern::Memory, "").told(what);
        (used / 9 > limit / 10).then(finding)
    }

    fn places(&self, counts: &RunCounts) -> Option<Finding> {
        let limit = self.registry.limit();
        let what = format!("As many runs are open as the daemon holds, {limit} (--runs): it opens no more.");
        let finding = || Finding::of(Incident::RunLimit).told(what);
        (counts.unfinished() >= limit).then(finding)
    }

    /// Whether snapshots can wait there.
    fn spool(&self) -> Option<Finding> {
        let folder = self.spool.display();
        let found = |incident| Finding::of(incident).about(Concern::Disk, folder.to_string());
        if let Err(error) = usable(&self.spool) {
            let what = format!(
                "The spool {folder} cannot be used: {error}. Snapshots above 4 MiB are refused, or wait for it to be \
                made again."
            );
            return Some(found(Incident::SpoolFailed).told(what));
        }
        let kind = statfs(&self.spool).ok()?.f_type as u64 & 0xffff_ffff;
        let what = format!(
            "The spool {folder} lies in a file system in memory: snapshots that wait there take the machine's memory \
            beside --memory."
        );
        IN_MEMORY.contains(&kind).then(|| found(Incident::SpoolInMemory).told(what))
    }

    fn disks(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let room = self.bus.room();
        if let Err(fault) = &room {
            let what = format!("{} The reason: {fault}.", Incident::DiskRefused.info().what);
            findings.push(Finding::of(Incident::DiskRefused).about(Concern::Disk, "").told(what));
        }
        match &self.data {
            None => findings.push(Finding::of(Incident::NoHistory).about(Concern::Setting, "data")),
            Some(data) => findings.extend(usable(data).err().map(|error| {
                let folder = data.display();
                let what = format!(
                    "The folder of the history {folder} cannot be used: {error}. What is measured from now on may be \
                    lost when the daemon stops."
                );
                let found = Finding::of(Incident::HistoryFailed).about(Concern::Disk, folder.to_string());
                found.told(what)
            })),
        }
        // One that is full is told already.
        findings.extend(self.folders().filter(|_| room.is_ok()).filter_map(|(_, folder)| self.low(folder)));
        findings
    }

    fn low(&self, folder: &Path) -> Option<Finding> {
        let found = statvfs(folder).ok()?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let size = found.f_blocks.saturating_mul(found.f_frsize);
        let reserve = self.reserve;
        let what = format!(
            "{} MiB of {} MiB are free in {}; below {} MiB (--reserve) nothing new is accepted.",
            free >> 20,
            size >> 20,
            folder.display(),
            reserve >> 20
        );
        let finding =
            || Finding::of(Incident::DiskLow).about(Concern::Disk, folder.display().to_string()).told(what);
        (free < size / LOW || free < reserve.saturating_mul(2)).then(finding)
    }
}

/// Why a daemon is not ready; `None` for what is found in another way.
fn unready(name: &str, reason: &str) -> Option<Finding> {
    match name {
        STARTING => Some(Finding::of(Incident::Starting)),
        DRAINING => Some(Finding::of(Incident::Draining)),
        ENGINE => Some(Finding::of(Incident::EngineGone)),
        DEVICE => {
            let what = format!("{} The daemon {reason}.", Incident::DeviceLost.info().what);
            Some(Finding::of(Incident::DeviceLost).about(Concern::Device, "").told(what))
        }
        _ => None,
    }
}

/// Whether files can be made in a folder.
fn usable(folder: &Path) -> rustix::io::Result<()> {
    access(folder, Access::WRITE_OK | Access::EXEC_OK)
}
