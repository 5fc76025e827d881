//! Where numbers come from that nobody counts as they happen: runs, budgets, disks, the process.
//!
//! Owns: asking for them when metrics are asked for. May not touch: what they mean to their owners.

use super::process;
use super::runs::RunMetrics;
use crate::publish::EventBus;
use crate::registry::{Registry, RunCounts};
use clino_domain::Journal;
use clino_domain::budget::{Budget, BudgetPart};
use clino_domain::counters::{Counter, Counters};
use clino_domain::incident::Incident;
use clino_domain::metrics::{Exposed, Metric, MetricFamily};
use clino_domain::readiness::{Readiness, SPOOL, STORE};
use std::fs::DirBuilder;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The spool is written to at most so often to see whether it can be.
const LOOK: Duration = Duration::from_secs(2);

/// Whom metrics and readiness are asked of.
pub struct Sources {
    /// Runs.
    pub registry: Arc<Registry>,
    /// How they stand.
    pub bus: Arc<EventBus>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Whether the daemon takes work.
    pub readiness: Arc<Readiness>,
    /// Memory of the process.
    pub budget: Budget,
    /// Directories by what they are for; one is called `spool`.
    pub directories: Vec<(&'static str, PathBuf)>,
    /// Which runs get metrics of their own.
    pub runs: RunMetrics,
    /// When the process began.
    pub started: SystemTime,
    /// When the spool was looked at last.
    pub looked: Mutex<Option<Instant>>,
}

impl Exposed for Sources {
    fn families(&self) -> Vec<MetricFamily> {
        self.refresh();
        self.counters.metrics.families()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Sources {
    /// Metrics of single runs; `None`: they are off.
    pub(super) fn run_families(&self) -> Option<Vec<MetricFamily>> {
        self.runs.families(&self.registry, &self.bus)
    }

    /// What stands against work.
    pub(super) fn reasons(&self) -> Vec<(&'static str, String)> {
        self.look_at_spool();
        match self.bus.room() {
            Ok(()) => self.readiness.release(STORE),
            Err(fault) => self.readiness.hold(STORE, fault.message),
        }
        self.readiness.reasons()
    }

    fn look_at_spool(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_some_and(|at| at.elapsed() < LOOK) {
            return;
        }
        let Some((_, spool)) = self.directories.iter().find(|(name, _)| *name == SPOOL) else { return };
        let written = tempfile::tempfile_in(spool).and_then(|mut file| file.write_all(&[0; 4096]));
        match written {
            Ok(()) => self.readiness.release(SPOOL),
            Err(error) => {
                self.readiness.hold(SPOOL, format!("{}: {error}", spool.display()));
                if error.kind() == ErrorKind::NotFound {
                    // It was removed; found at the next look.
                    if DirBuilder::new().recursive(true).mode(0o700).create(spool).is_ok() {
                        let code = self.counters.note(Incident::SpoolRecreated, &spool.display().to_string());
                        tracing::warn!(code, spool = %spool.display(), "the spool was removed: it is created again");
                    }
                }
            }
        }
        *looked = Some(Instant::now());
    }

    fn refresh(&self) {
        let metrics = &self.counters.metrics;
        let reasons = self.reasons();
        metrics.set(Metric::BuildInfo, &[env!("CARGO_PKG_VERSION")], 1.0);
        metrics.set(Metric::Ready, &[], f64::from(u8::from(reasons.is_empty())));
        let lines: Vec<_> = reasons.iter().map(|(name, _)| [*name]).collect();
        let held: Vec<_> = lines.iter().map(|line| (&line[..], 1.0)).collect();
        metrics.replace(Metric::NotReady, &held);
        self.count_runs();
        for part in BudgetPart::ALL {
            metrics.set(Metric::BudgetUsed, &[part.name()], self.budget.used_for(part) as f64);
        }
        metrics.set(Metric::BudgetLimit, &["memory"], self.budget.limit() as f64);
        let refused = self.counters.of(Counter::MessageRefused);
        metrics.set(Metric::MessagesRefused, &[], refused as f64);
        for (name, directory) in &self.directories {
            process::disk(metrics, name, directory);
        }
        let started = self.started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        metrics.set(Metric::ProcessStart, &[], started);
        process::measure(metrics);
    }

    fn count_runs(&self) {
        let metrics = &self.counters.metrics;
        let RunCounts { idle, waiting, measuring, closed, snapshots_waiting, open } =
            self.registry.run_counts();
        let states = [("idle", idle), ("waiting", waiting), ("measuring", measuring), ("closed", closed)];
        for (state, runs) in states {
            metrics.set(Metric::Runs, &[state], runs as f64);
        }
        metrics.set(Metric::RunsLimit, &[], self.registry.limit() as f64);
        metrics.set(Metric::SnapshotsWaiting, &[], snapshots_waiting as f64);
        let lines: Vec<_> = open.iter().map(|(project, runs)| ([project.as_str()], *runs as f64)).collect();
        let values: Vec<_> = lines.iter().map(|(label, runs)| (&label[..], *runs)).collect();
        metrics.replace(Metric::ProjectRuns, &values);
    }
}
