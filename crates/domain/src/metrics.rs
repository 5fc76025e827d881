//! What the daemon tells monitoring about itself, as one table: name, kind, labels, meaning; and the numbers.
//!
//! Owns: names, bounds of labels, the numbers themselves. May not touch: how they are shown and sent.
//!
//! Names begin with `clino_` (or `process_`, where every program says the same), end with a base unit, and with `_total`
//! where they only grow. No label names a run or a snapshot: what is unbounded belongs to the history.

use super::counters::Counters;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Most label sets of one metric; further ones are counted together under [`OTHER`].
const MOST_SERIES: usize = 256;
/// Most projects that are told apart; runs of further ones count as [`OTHER`].
const MOST_PROJECTS: usize = 20;
/// The label of what is not told apart.
pub const OTHER: &str = "_other";
/// The target of spans that are made for traces; log lines do not show them.
pub const SPANS: &str = "clino::span";
/// The label whose values clients choose.
const PROJECT: &str = "project";

/// Bounds of the buckets for the duration of calls, in seconds.
const CALLS: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 60.0];
/// Seconds of readings and snapshots.
const WORK: &[f64] = &[0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// What a number means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// A count that only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many observations were at most each of these bounds.
    Histogram(&'static [f64]),
}

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Definition {
    /// Name of the metric, without `_total`.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence, without its full stop.
    pub help: &'static str,
}

impl Definition {
    /// `seconds`, `bytes`, or none.
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"]
            .into_iter()
            .find(|unit| self.name.strip_suffix(unit).is_some_and(|stem| stem.ends_with('_')))
    }
}

macro_rules! table {
    ($($metric:ident $kind:expr, $name:literal [$($label:literal),*] $help:literal;)*) => {
        /// A metric of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric {
            $(#[doc = $help] $metric,)*
        }

        /// The table of all metrics.
        pub static METRICS: [Definition; [$(Metric::$metric),*].len()] =
            [$(Definition { name: $name, kind: $kind, labels: &[$($label),*], help: $help },)*];
    };
}

use MetricKind::{Counter, Gauge, Histogram};

table! {
    BuildInfo Gauge, "clino_build_info" ["version"] "1, with the version of the daemon";
    Ready Gauge, "clino_ready" [] "1 while the daemon takes work, else 0";
    NotReady Gauge, "clino_not_ready" ["reason"] "1 for each reason why the daemon takes no work";
    Runs Gauge, "clino_runs" ["state"] "Runs that the daemon holds: idle, waiting, measuring, closed";
    RunsLimit Gauge, "clino_runs_limit" [] "Most runs that the daemon holds";
    ProjectRuns Gauge, "clino_project_runs" ["project"] "Open runs of a project";
    RunsOpened Counter, "clino_runs_opened" ["project"] "Runs that were opened";
    SnapshotsAccepted Counter, "clino_snapshots_accepted" ["project"] "Snapshots that were received whole";
    SnapshotsSkipped Counter, "clino_snapshots_skipped" ["project"] "Snapshots that will not be measured";
    SnapshotSeconds Histogram(WORK), "clino_snapshot_seconds" [] "Time from taking up a snapshot to its last reading";
    SnapshotsWaiting Gauge, "clino_snapshots_waiting" [] "Snapshots that wait for the engine";
    UploadsStarted Counter, "clino_uploads_started" ["what"] "Uploads that began, of snapshots and probes";
    UploadsFinished Counter, "clino_uploads_finished" ["what", "outcome"]
        "Uploads that ended: done, failed or cancelled";
    UploadBytes Counter, "clino_upload_bytes" [] "Bytes of tensors that were received";
    BudgetUsed Gauge, "clino_budget_used_bytes" ["budget"] "Bytes of memory that are claimed, by what for";
    BudgetLimit Gauge, "clino_budget_limit_bytes" ["budget"] "Bytes of memory that may be claimed, for all together";
    Readings Counter, "clino_readings" ["measure", "outcome"] "Readings that were made";
    ReadingSeconds Histogram(WORK), "clino_reading_seconds" ["measure"] "Time of a reading";
    NonFiniteSnapshots Counter, "clino_non_finite_snapshots" []
        "Snapshots whose loss or parameters are not finite";
    ModelChecks Counter, "clino_model_checks" [] "Comparisons of a trainer's model with its configuration";
    ModelMismatches Counter, "clino_model_mismatches" []
        "Comparisons in which the trainer's model differs from its configuration";
    EngineBusy Counter, "clino_engine_busy_seconds" [] "Time that the engine spent on readings";
    DeviceInfo Gauge, "clino_device_info" ["device"] "1, with where the engine computes";
    GpusLost Gauge, "clino_gpus_lost" [] "GPUs that failed for good since the daemon started";
    Decisions Counter, "clino_decisions" ["advice", "rule"] "Decisions of policies by what they say and the rule that decided";
    Stops Counter, "clino_stops" [] "Runs that were told to stop";
    WatchesStarted Counter, "clino_watches_started" [] "Streams of events that began";
    WatchesFinished Counter, "clino_watches_finished" [] "Streams of events that ended";
    WatchEvents Counter, "clino_watch_events" [] "Events that were sent to watchers";
    WatchGaps Counter, "clino_watch_gaps" [] "Times that a watcher was too slow and missed events";
    WatchLost Counter, "clino_watch_lost_events" [] "Events that watchers missed";
    RpcStarted Counter, "clino_rpc_started" ["service", "method"] "Calls that began";
    RpcHandled Counter, "clino_rpc_handled" ["service", "method", "code"] "Calls that ended, by status code";
    RpcSeconds Histogram(CALLS), "clino_rpc_server_duration_seconds" ["service", "method"]
        "Time of a call that is no stream of events";
    CallsShed Counter, "clino_calls_shed" ["what"]
        "Calls that were refused because there was no room for them: call, message, answer";
    CallsCut Counter, "clino_calls_cut" ["what"]
        "Calls and connections that were ended because of their client's silence: message, upload, answer, idle, unread";
    ConnectionsRefused Counter, "clino_connections_refused" [] "Connections that were closed before they were served";
    HttpCut Counter, "clino_http_cut" ["why"] "Connections to the HTTP port that were cut or refused: crowd, time, host";
    MessagesRefused Counter, "clino_messages_refused" [] "Messages that were too large or no protobuf";
    HistoryWrites Counter, "clino_history_writes" [] "Rows that were written to the history";
    HistoryFailures Counter, "clino_history_failures" [] "Writes to the history that failed";
    HistoryDropped Counter, "clino_history_dropped" [] "Rows that could not be kept for the history";
    HistoryLag Gauge, "clino_history_lag_seconds" [] "Age of the oldest row that is not yet in the history";
    HistoryQueue Gauge, "clino_history_queue" [] "Rows that are not yet in the history";
    DiskFree Gauge, "clino_disk_free_bytes" ["directory"] "Bytes that are free where the directory lies";
    DiskSize Gauge, "clino_disk_size_bytes" ["directory"] "Bytes of the file system where the directory lies";
    Incidents Counter, "clino_incidents" ["code"] "Incidents by their code, of which docs/codes.md says what they mean";
    OtlpFailures Counter, "clino_otlp_failures" [] "Exports by OTLP that failed";
    ProcessCpu Counter, "process_cpu_seconds" [] "Time of all processors that the process used";
    ProcessMemory Gauge, "process_resident_memory_bytes" [] "Memory that the process holds";
    ProcessVirtual Gauge, "process_virtual_memory_bytes" [] "Addresses that the process holds";
    ProcessThreads Gauge, "process_threads" [] "Threads of the process";
    ProcessFiles Gauge, "process_open_fds" [] "Files and sockets that are open";
    ProcessFilesLimit Gauge, "process_max_fds" [] "Most files and sockets that may be open";
    ProcessStart Gauge, "process_start_time_seconds" [] "When the process began, since 1970";
}

const RUN: [&str; 4] = ["run", "name", "project", "experiment"];

/// Those of single runs, which are told only where they are asked for, and of few runs.
pub static RUN_METRICS: [Definition; 3] = [
    Definition {
        name: "clino_run_reading",
        kind: Gauge,
        labels: &[RUN[0], RUN[1], RUN[2], RUN[3], "measure", "group"],
        help: "Principal number of a reading of the snapshot that was measured last",
    },
    Definition {
        name: "clino_run_step",
        kind: Gauge,
        labels: &RUN,
        help: "Step of the snapshot that was measured last",
    },
    Definition {
        name: "clino_run_advice",
        kind: Gauge,
        labels: &[RUN[0], RUN[1], RUN[2], RUN[3], "advice"],
        help: "1, with what the policy of the run said last",
    },
];

/// One number, or one histogram.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricSample {
    /// Of a counter or a gauge.
    Number(f64),
    /// The observations of a histogram.
    Spread {
        /// Of all that was observed.
        sum: f64,
        /// How many were in each bucket, not cumulated; the last has no bound.
        counts: Vec<u64>,
    },
}

/// A metric with all its label sets.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricFamily {
    /// Its line of the table.
    pub definition: &'static Definition,
    /// Values of the labels, and the number.
    pub series: Vec<(Vec<String>, MetricSample)>,
}

/// Whoever can tell all metrics as they are now.
pub trait Exposed: Send + Sync {
    /// In the order of the table.
    fn families(&self) -> Vec<MetricFamily>;

    /// Where more is counted.
    fn counters(&self) -> &Counters;
}

/// Through which metrics are seen as soon as the daemon has begun to work.
#[derive(Clone, Default)]
pub struct Window(Arc<OnceLock<Arc<dyn Exposed>>>);

impl Debug for Window {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("Window(..)")
    }
}

impl Window {
    /// From now on this is seen.
    pub fn open(&self, exposed: Arc<dyn Exposed>) {
        let _ = self.0.set(exposed);
    }

    /// The source of metrics; `None` before the daemon has begun to work.
    pub fn look(&self) -> Option<&Arc<dyn Exposed>> {
        self.0.get()
    }
}

type Series = BTreeMap<Vec<String>, MetricSample>;

/// All numbers, bounded whatever the labels are.
#[derive(Debug)]
pub struct Metrics {
    series: [Mutex<Series>; METRICS.len()],
    projects: Mutex<BTreeSet<String>>,
}

impl Default for Metrics {
    /// What has no labels is there from the beginning, so that rates are right from the first event on.
    fn default() -> Self {
        let series = METRICS.map(|definition| {
            let first = (Vec::new(), definition.kind.blank());
            let plain = definition.kind != Gauge && definition.labels.is_empty();
            Mutex::new(plain.then_some(first).into_iter().collect())
        });
        Self { series, projects: Mutex::default() }
    }
}

impl MetricKind {
    fn blank(self) -> MetricSample {
        match self {
            Counter | Gauge => MetricSample::Number(0.0),
            Histogram(bounds) => MetricSample::Spread { sum: 0.0, counts: vec![0; bounds.len() + 1] },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// Adds an amount to a counter.
    pub fn add(&self, metric: Metric, labels: &[&str], amount: f64) {
        self.at(metric, labels, |sample| {
            if let MetricSample::Number(number) = sample {
                *number += amount;
            }
        });
    }

    /// Adds one to a counter.
    pub fn one(&self, metric: Metric, labels: &[&str]) {
        self.add(metric, labels, 1.0);
    }

    /// Sets a gauge to a value.
    pub fn set(&self, metric: Metric, labels: &[&str], value: f64) {
        self.at(metric, labels, |sample| *sample = MetricSample::Number(value));
    }

    /// These are all label sets of a gauge now; values of the same labels are summed.
    pub fn replace(&self, metric: Metric, values: &[(&[&str], f64)]) {
        let mut series = Series::new();
        for (labels, value) in values {
            let labels = self.labels(metric, labels, &series);
            if let MetricSample::Number(sum) = series.entry(labels).or_insert(MetricSample::Number(0.0)) {
                *sum += value;
            }
        }
        *lock(&self.series[metric as usize]) = series;
    }

    /// One more of a histogram.
    pub fn observe(&self, metric: Metric, labels: &[&str], value: f64) {
        let Histogram(bounds) = METRICS[metric as usize].kind else { return };
        self.at(metric, labels, |sample| {
            if let MetricSample::Spread { sum, counts } = sample {
                *sum += value;
                counts[bounds.partition_point(|bound| *bound < value)] += 1;
            }
        });
    }

    fn at(&self, metric: Metric, labels: &[&str], change: impl FnOnce(&mut MetricSample)) {
        let mut series = lock(&self.series[metric as usize]);
        let labels = self.labels(metric, labels, &series);
        change(series.entry(labels).or_insert_with(|| METRICS[metric as usize].kind.blank()));
    }

    /// The label set under which something is counted.
    fn labels(&self, metric: Metric, labels: &[&str], known: &Series) -> Vec<String> {
        let names = METRICS[metric as usize].labels;
        debug_assert_eq!(names.len(), labels.len(), "{metric:?}");
        let bounded = |(name, value): (&&str, &&str)| match *name {
            PROJECT => self.project(value),
            _ => (*value).to_owned(),
        };
        let labels: Vec<_> = names.iter().zip(labels).map(bounded).collect();
        match known.len() >= MOST_SERIES && !known.contains_key(&labels) {
            true => vec![OTHER.to_owned(); labels.len()],
            false => labels,
        }
    }

    /// The first projects that come keep their names.
    fn project(&self, name: &str) -> String {
        let mut projects = lock(&self.projects);
        if !projects.contains(name) {
            if projects.len() >= MOST_PROJECTS {
                return OTHER.to_owned();
            }
            projects.insert(name.to_owned());
        }
        name.to_owned()
    }

    /// One number as it is now; 0 for what was never counted.
    pub fn number(&self, metric: Metric, labels: &[&str]) -> f64 {
        let labels: Vec<_> = labels.iter().map(|label| (*label).to_owned()).collect();
        match lock(&self.series[metric as usize]).get(&labels) {
            Some(MetricSample::Number(number)) => *number,
            _ => 0.0,
        }
    }

    /// All of them, in the order of the table.
    pub fn families(&self) -> Vec<MetricFamily> {
        let family = |(definition, series): (&'static Definition, &Mutex<Series>)| MetricFamily {
            definition,
            series: lock(series).iter().map(|(labels, sample)| (labels.clone(), sample.clone())).collect(),
        };
        METRICS.iter().zip(&self.series).map(family).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_in_order_and_have_base_units() {
        let mut seen = BTreeSet::new();
        for Definition { name, kind, labels, help } in METRICS {
            assert!(seen.insert(name), "{name} is there twice");
            assert!(name.starts_with("clino_") || name.starts_with("process_"), "{name}");
            assert!(!name.ends_with("_total") && !help.ends_with('.'), "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert!(["millis", "_ms", "_kb", "_mb"].iter().all(|wrong| !name.contains(wrong)), "{name}");
            assert!(labels.iter().all(|label| !["run", "snapshot", "step", "le"].contains(label)), "{name}");
            if let Histogram(bounds) = kind {
                assert!(bounds.is_sorted() && name.ends_with("_seconds"), "{name}");
            }
        }
        assert_eq!(METRICS[Metric::ProcessStart as usize].name, "process_start_time_seconds");
    }

    #[test]
    fn labels_are_bounded_whatever_clients_send() {
        let metrics = Metrics::default();
        for n in 0..1_000 {
            metrics.one(Metric::RunsOpened, &[&format!("project {n}")]);
            metrics.one(Metric::RpcStarted, &["s", &format!("method {n}")]);
        }
        let families = metrics.families();
        let of = |metric: Metric| &families[metric as usize].series;
        assert_eq!(of(Metric::RunsOpened).len(), MOST_PROJECTS + 1);
        let other = |labels: &[&str], metric| metrics.number(metric, labels);
        assert_eq!(other(&[OTHER], Metric::RunsOpened), 980.0);
        assert_eq!(of(Metric::RpcStarted).len(), MOST_SERIES + 1);
        assert_eq!(other(&[OTHER, OTHER], Metric::RpcStarted), 1_000.0 - MOST_SERIES as f64);
    }

    #[test]
    fn histograms_count_what_is_at_most_the_bound() {
        let metrics = Metrics::default();
        for seconds in [0.001, 0.0011, 1e9] {
            metrics.observe(Metric::SnapshotSeconds, &[], seconds);
        }
        let families = metrics.families();
        let MetricSample::Spread { sum, counts } = &families[Metric::SnapshotSeconds as usize].series[0].1
        else {
            panic!("a histogram");
        };
        assert_eq!(*sum, 0.001 + 0.0011 + 1e9);
        assert_eq!((counts[0], counts[1], counts[WORK.len()], counts.iter().sum()), (1, 1, 1, 3));
    }

    #[test]
    fn gauges_forget_what_is_gone() {
        let metrics = Metrics::default();
        metrics.replace(Metric::ProjectRuns, &[(&["a"], 1.0), (&["b"], 2.0), (&["a"], 3.0)]);
        assert_eq!(metrics.number(Metric::ProjectRuns, &["a"]), 4.0);
        metrics.replace(Metric::ProjectRuns, &[(&["b"], 5.0)]);
        assert_eq!(metrics.families()[Metric::ProjectRuns as usize].series.len(), 1);
    }
}
