//! The doctor: what is slow, full, skipped, refused or misconfigured in the daemon as it stands.
//!
//! Owns: what is looked at, and how much of it is told to whom. May not touch: the wire; it changes nothing.

mod happened;
mod house;
mod runs;

use crate::publish::EventBus;
use crate::registry::{Registry, RunCounts};
use clino_domain::Journal;
use clino_domain::budget::Budget;
use clino_domain::counters::Counters;
use clino_domain::diagnosis::{DaemonFacts, Diagnosis, DiskFacts, rank};
use clino_domain::metrics::Metric;
use clino_domain::readiness::Readiness;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Whoever may read this may read every project that has no line of its own.
const EVERY_PROJECT: &str = "*";

/// Whom it asks.
pub struct Doctor {
    /// Runs, and what waits.
    pub registry: Arc<Registry>,
    /// How runs stand.
    pub bus: Arc<EventBus>,
    /// Memory of the process.
    pub budget: Budget,
    /// What has happened.
    pub counters: Arc<Counters>,
    /// Whether the daemon takes work.
    pub readiness: Arc<Readiness>,
    /// Where large snapshots wait.
    pub spool: PathBuf,
    /// Where the history is, if there is one.
    pub data: Option<PathBuf>,
    /// Bytes that should stay free on both.
    pub reserve: u64,
    /// When the daemon started.
    pub started: Instant,
}

/// Whether somebody may read a project.
pub type MayRead<'a> = &'a dyn Fn(&str) -> bool;

impl Doctor {
    /// What is wrong, for somebody who may read some projects. Asks disks: not for an asynchronous thread.
    pub fn diagnose(&self, may: MayRead<'_>) -> Diagnosis {
        let counts = self.registry.run_counts();
        let mut findings = self.house(&counts);
        findings.extend(self.runs(may));
        self.happened(may(EVERY_PROJECT), &mut findings);
        rank(&mut findings);
        Diagnosis { facts: self.facts(&counts), findings }
    }

    fn facts(&self, counts: &RunCounts) -> DaemonFacts {
        let families = self.counters.metrics.families();
        let device =
            families[Metric::DeviceInfo as usize].series.first().and_then(|(labels, _)| labels.first());
        DaemonFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: self.started.elapsed().as_secs_f64(),
            now: self.counters.now(),
            ready: self.readiness.reasons().is_empty() && self.bus.room().is_ok(),
            device: device.cloned().unwrap_or_default(),
            memory_used: self.budget.used(),
            memory_limit: self.budget.limit(),
            runs_open: counts.unfinished() as u64,
            runs_limit: self.registry.limit() as u64,
            snapshots_waiting: counts.snapshots_waiting as u64,
            disks: self.folders().map(|(purpose, folder)| disk(purpose, folder)).collect(),
        }
    }

    /// The folders of the daemon by what they are for.
    fn folders(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let data = self.data.as_deref().map(|data| ("data", data));
        data.into_iter().chain([("spool", self.spool.as_path())])
    }
}

/// What of a disk can be found out; nothing is free on one that cannot be asked.
fn disk(purpose: &str, folder: &Path) -> DiskFacts {
    let found = rustix::fs::statvfs(folder).ok();
    let bytes = |blocks: u64, size: u64| blocks.saturating_mul(size);
    DiskFacts {
        purpose: purpose.to_owned(),
        folder: folder.display().to_string(),
        free: found.as_ref().map_or(0, |found| bytes(found.f_bavail, found.f_frsize)),
        size: found.as_ref().map_or(0, |found| bytes(found.f_blocks, found.f_frsize)),
    }
}
