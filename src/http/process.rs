//! What the process takes of its machine.
//!
//! Owns: the reading of these figures. May not touch: who asks.

use clino_domain::metrics::{Metric, Metrics};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::path::Path;

/// Sets what can be found out; the rest is left out.
pub(super) fn measure(metrics: &Metrics) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    metrics.set(Metric::ProcessCpu, &[], cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let kibibytes = |name: &str| figure(name).map(|number| number * 1024.0);
        let found = [
            (Metric::ProcessMemory, kibibytes("VmRSS:")),
            (Metric::ProcessVirtual, kibibytes("VmSize:")),
            (Metric::ProcessThreads, figure("Threads:")),
        ];
        for (metric, figure) in found {
            figure.into_iter().for_each(|figure| metrics.set(metric, &[], figure));
        }
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // The folder itself is open as well.
        metrics.set(Metric::ProcessFiles, &[], files.count().saturating_sub(1) as f64);
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        metrics.set(Metric::ProcessFilesLimit, &[], most as f64);
    }
}

/// Sets what is free where a directory lies.
pub(super) fn disk(metrics: &Metrics, name: &str, directory: &Path) {
    if let Ok(found) = rustix::fs::statvfs(directory) {
        let bytes = |blocks: u64| blocks as f64 * found.f_frsize as f64;
        metrics.set(Metric::DiskFree, &[name], bytes(found.f_bavail));
        metrics.set(Metric::DiskSize, &[name], bytes(found.f_blocks));
    }
}
