//! Quotas by project: the file with the limits, and what has been used up.
//!
//! Owns: the counts, in memory. May not touch: runs, bytes, the engine; they tell what they use.

use super::watched::Watched;
use clino_domain::Fault;
use clino_domain::quota::{Quota, exceeded};
use clino_domain::run::RESERVED_PROJECTS;
use clino_domain::text::check_free_name;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Name of the file in faults.
const FIELD: &str = "quotas";
/// The window of measure-seconds, and the pieces in which it is counted: those of the last 60 minutes count, the one that
/// has begun included.
const PIECE: Duration = Duration::from_secs(60);
const PIECES: u64 = 60;
/// The window as a whole. The clock begins with it, so that what was before the start has its place.
pub const WINDOW: Duration = Duration::from_secs(PIECE.as_secs() * PIECES);
/// So many projects are remembered before those that use nothing are forgotten.
const MANY: usize = 1_024;

/// Between these a weight is of use: nobody is left without the engine.
const LEAST_WEIGHT: f64 = 0.01;
const MOST_WEIGHT: f64 = 100.0;

/// Limits of a project; what is absent is not limited.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ProjectLimits {
    pub open_runs: Option<u64>,
    pub snapshot_bytes: Option<u64>,
    pub uploads: Option<u64>,
    pub measure_seconds_per_hour: Option<f64>,
    /// Of the engine, each run beside the others.
    pub weight: Option<f64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    open_runs: Option<u64>,
    snapshot_bytes: Option<Size>,
    uploads: Option<u64>,
    measure_seconds_per_hour: Option<f64>,
    weight: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Bytes(u64),
    Text(String),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawTable {
    #[serde(default)]
    default: RawLimits,
    #[serde(default)]
    project: BTreeMap<String, RawLimits>,
}

/// The limits of all projects.
#[derive(Debug, Default)]
pub(super) struct Table {
    default: ProjectLimits,
    projects: BTreeMap<String, ProjectLimits>,
}

impl Table {
    /// Reads the text of a quotas file.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Invalid`] naming the line or the key.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let wrong = |why: String| Fault::invalid(FIELD, why);
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("expected UTF-8".into()))?;
        let raw: RawTable =
            toml::from_str(text).map_err(|error| wrong(error.to_string().trim().to_owned()))?;
        let default = limits("default", raw.default, ProjectLimits::default())?;
        let mut projects = BTreeMap::new();
        for (project, raw) in raw.project {
            check_free_name("project", &project, &RESERVED_PROJECTS).map_err(|fault| wrong(fault.message))?;
            let limits = limits(&format!("project.{project}"), raw, default)?;
            projects.insert(project, limits);
        }
        Ok(Self { default, projects })
    }

    fn of(&self, project: &str) -> ProjectLimits {
        self.projects.get(project).copied().unwrap_or(self.default)
    }
}

/// What a section leaves out is taken from `standard`.
fn limits(section: &str, raw: RawLimits, standard: ProjectLimits) -> Result<ProjectLimits, Fault> {
    let wrong =
        |key: &str, expected: &str| Fault::invalid(FIELD, format!("{section}.{key}: expected {expected}"));
    let snapshot_bytes = match raw.snapshot_bytes {
        None => None,
        Some(Size::Bytes(bytes)) => Some(bytes),
        Some(Size::Text(text)) => {
            let size = text.parse::<bytesize::ByteSize>().map(|size| size.as_u64());
            Some(size.map_err(|_| wrong("snapshot_bytes", "a size such as 512MiB"))?)
        }
    };
    let seconds = raw.measure_seconds_per_hour;
    if seconds.is_some_and(|seconds| !seconds.is_finite() || seconds < 0.0) {
        return Err(wrong("measure_seconds_per_hour", "a number that is not negative"));
    }
    if raw.weight.is_some_and(|weight| !(LEAST_WEIGHT..=MOST_WEIGHT).contains(&weight)) {
        return Err(wrong("weight", "a number from 0.01 to 100"));
    }
    Ok(ProjectLimits {
        open_runs: raw.open_runs.or(standard.open_runs),
        snapshot_bytes: snapshot_bytes.or(standard.snapshot_bytes),
        uploads: raw.uploads.or(standard.uploads),
        measure_seconds_per_hour: seconds.or(standard.measure_seconds_per_hour),
        weight: raw.weight.or(standard.weight),
    })
}

/// What a project uses.
#[derive(Debug, Default)]
struct Usage {
    bytes: u64,
    uploads: u64,
    /// Number of the piece of time and seconds in it, oldest first; at most as many as the window has.
    seconds: VecDeque<(u64, f64)>,
}

impl Usage {
    fn is_nothing(&self) -> bool {
        self.bytes == 0 && self.uploads == 0 && self.seconds.is_empty()
    }

    fn forget(&mut self, now: u64) {
        while self.seconds.front().is_some_and(|(piece, _)| piece + PIECES <= now) {
            self.seconds.pop_front();
        }
    }

    fn spend(&mut self, now: u64, seconds: f64) {
        self.forget(now);
        match self.seconds.back_mut().filter(|(piece, _)| *piece == now) {
            Some((_, sum)) => *sum += seconds,
            None => self.seconds.push_back((now, seconds)),
        }
    }

    /// Seconds in the window; and the piece whose end makes room, if there is none below `limit`.
    fn spent(&mut self, now: u64, limit: f64) -> (f64, Option<u64>) {
        self.forget(now);
        let total: f64 = self.seconds.iter().map(|(_, seconds)| seconds).sum();
        let mut left = total;
        let mut room = None;
        for (piece, seconds) in &self.seconds {
            if left < limit {
                break;
            }
            left -= seconds;
            room = Some(*piece);
        }
        (total, room.filter(|_| total >= limit))
    }
}

/// Limits and use of all projects. Clones are the same.
#[derive(Clone)]
pub struct Quotas(Arc<QuotaState>);

struct QuotaState {
    limits: Option<Watched<Table>>,
    usage: Mutex<HashMap<String, Usage>>,
    began: Instant,
}

impl std::fmt::Debug for Quotas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Quotas")
    }
}

/// An upload of a project, until it drops.
#[derive(Debug)]
pub struct UploadSlot(Quotas, String);

/// Bytes that a project holds, until it drops.
#[derive(Debug)]
pub struct Hold(Quotas, String, u64);

impl Drop for UploadSlot {
    fn drop(&mut self) {
        self.0.give_back(&self.1, |usage| usage.uploads = usage.uploads.saturating_sub(1));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.give_back(&self.1, |usage| usage.bytes = usage.bytes.saturating_sub(self.2));
    }
}

impl Quotas {
    /// Without a file nothing is limited.
    pub(super) fn new(limits: Option<Watched<Table>>) -> Self {
        Self(Arc::new(QuotaState { limits, usage: Mutex::default(), began: Instant::now() }))
    }

    pub(super) fn watched(&self) -> Option<&Watched<Table>> {
        self.0.limits.as_ref()
    }

    /// One more upload of a snapshot of a project.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Quota`] when as many are open as may be, or its measure-seconds are used up.
    pub fn upload(&self, project: &str) -> Result<UploadSlot, Fault> {
        if let Some(limit) = self.limits(project).measure_seconds_per_hour {
            measured(project, usage(&mut self.lock(), project), limit, self.now())?;
        }
        self.slot(project)
    }

    /// One more upload of a project that the engine does nothing for, such as that of a probe.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Quota`] when as many are open as may be.
    pub fn slot(&self, project: &str) -> Result<UploadSlot, Fault> {
        let limits = self.limits(project);
        let mut all = self.lock();
        let usage = usage(&mut all, project);
        if let Some(limit) = limits.uploads.filter(|limit| usage.uploads >= *limit) {
            let description =
                format!("found {} uploads at once, expected at most {limit}", usage.uploads + 1);
            return Err(exceeded(project, "uploads", description, None));
        }
        usage.uploads += 1;
        Ok(UploadSlot(self.clone(), project.into()))
    }

    /// The engine worked for a project before the start; to be told in the order of time.
    pub fn remember(&self, project: &str, seconds: f64, ago: Duration) {
        self.spend_at(project, seconds, self.now().saturating_sub(ago));
    }

    /// By a clock that never goes back.
    fn now(&self) -> Duration {
        WINDOW + self.0.began.elapsed()
    }

    /// Bytes of a snapshot or a probe of a project.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Quota`] when they do not fit beside those that it holds.
    pub fn hold(&self, project: &str, bytes: u64) -> Result<Hold, Fault> {
        let limits = self.limits(project);
        let mut all = self.lock();
        let usage = usage(&mut all, project);
        if let Some(limit) = limits.snapshot_bytes.filter(|limit| usage.bytes.saturating_add(bytes) > *limit)
        {
            let held = usage.bytes;
            let description = format!(
                "found {bytes} bytes on top of {held} already held, expected at most {limit} in total"
            );
            return Err(exceeded(project, "snapshot_bytes", description, None));
        }
        usage.bytes = usage.bytes.saturating_add(bytes);
        Ok(Hold(self.clone(), project.into(), bytes))
    }

    fn limits(&self, project: &str) -> ProjectLimits {
        self.0.limits.as_ref().map_or_else(ProjectLimits::default, |watched| watched.get().of(project))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Usage>> {
        self.0.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, project: &str, change: impl FnOnce(&mut Usage)) {
        if let Some(usage) = self.lock().get_mut(project) {
            change(usage);
        }
    }

    fn spend_at(&self, project: &str, seconds: f64, now: Duration) {
        let now = piece(now);
        let mut all = self.lock();
        if all.len() > MANY {
            all.retain(|_, usage| {
                usage.forget(now);
                !usage.is_nothing()
            });
        }
        usage(&mut all, project).spend(now, seconds);
    }
}

impl Quota for Quotas {
    fn may_open(&self, project: &str, open: usize) -> Result<(), Fault> {
        match self.limits(project).open_runs.filter(|limit| open as u64 >= *limit) {
            None => Ok(()),
            Some(limit) => {
                let description =
                    format!("found {} open runs, expected at most {limit}: close one", open + 1);
                Err(exceeded(project, "open_runs", description, None))
            }
        }
    }

    fn spend(&self, project: &str, seconds: f64) {
        self.spend_at(project, seconds, self.now());
    }

    fn weight(&self, project: &str) -> f64 {
        self.limits(project).weight.unwrap_or(1.0)
    }
}

fn usage<'a>(all: &'a mut HashMap<String, Usage>, project: &str) -> &'a mut Usage {
    all.entry(project.to_owned()).or_default()
}

fn piece(now: Duration) -> u64 {
    now.as_secs() / PIECE.as_secs()
}

fn measured(project: &str, usage: &mut Usage, limit: f64, now: Duration) -> Result<(), Fault> {
    let (spent, room) = usage.spent(piece(now), limit);
    // A limit of nothing is never undercut.
    if spent < limit {
        return Ok(());
    }
    let description = format!("found {spent:.1} s of measuring in the last hour, expected less than {limit}");
    let free = room.map(|room| PIECE.saturating_mul(u32::try_from(room + PIECES).unwrap_or(u32::MAX)));
    let retry = free.map_or(PIECE, |free| free.saturating_sub(now));
    Err(exceeded(project, "measure_seconds_per_hour", description, Some(retry)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clino_domain::FaultKind;

    fn quotas(text: &str) -> Quotas {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let make = |files: &[Vec<u8>]| Table::parse(&files[0]);
        let files = vec![file.path().to_owned()];
        Quotas::new(Some(Watched::open(FIELD, files, |_, _| Ok(()), Box::new(make)).unwrap()))
    }

    fn subject(fault: &Fault) -> &str {
        assert_eq!(fault.kind, FaultKind::Quota, "{fault}");
        &fault.violations[0].field
    }

    #[test]
    fn what_a_project_leaves_out_is_the_defaults() {
        let table = Table::parse(
            b"[default]\nuploads = 2\nopen_runs = 3\n[project.a]\nuploads = 5\nweight = 2.0\nsnapshot_bytes = \"1KiB\"",
        );
        let table = table.unwrap();
        let expected = ProjectLimits {
            open_runs: Some(3),
            snapshot_bytes: Some(1_024),
            uploads: Some(5),
            measure_seconds_per_hour: None,
            weight: Some(2.0),
        };
        assert_eq!(table.of("a"), expected);
        assert_eq!(
            table.of("b"),
            ProjectLimits { uploads: Some(2), open_runs: Some(3), ..ProjectLimits::default() }
        );
        for wrong in [
            "[default]\nrun = 1",
            "[default]\nuploads = -1",
            "[default]\nsnapshot_bytes = \"much\"",
            "[default]\nmeasure_seconds_per_hour = -1.0",
            "[default]\nmeasure_seconds_per_hour = nan",
            "[default]\nweight = 0.0",
            "[default]\nweight = nan",
            "[project.\"*\"]\nuploads = 1",
            "[project.\"a/../b\"]\nuploads = 1",
        ] {
            assert!(Table::parse(wrong.as_bytes()).unwrap_err().message.starts_with("quotas: "), "{wrong}");
        }
    }

    #[test]
    fn bytes_and_uploads_are_given_back() {
        let quotas = quotas("[default]\nuploads = 1\nsnapshot_bytes = 10");
        let slot = quotas.upload("a").unwrap();
        let hold = quotas.hold("a", 6).unwrap();
        assert_eq!(subject(&quotas.upload("a").unwrap_err()), "project/a/uploads");
        assert_eq!(subject(&quotas.hold("a", 5).unwrap_err()), "project/a/snapshot_bytes");
        assert_eq!(subject(&quotas.hold("a", u64::MAX).unwrap_err()), "project/a/snapshot_bytes");
        drop((quotas.upload("b").unwrap(), quotas.hold("b", 10).unwrap()));
        drop((slot, hold));
        drop((quotas.upload("a").unwrap(), quotas.hold("a", 10).unwrap()));
    }

    #[test]
    fn runs_beyond_the_limit_are_refused() {
        let quotas = quotas("[default]\nopen_runs = 2");
        assert!(quotas.may_open("a", 1).is_ok());
        assert_eq!(subject(&quotas.may_open("a", 2).unwrap_err()), "project/a/open_runs");
    }

    #[test]
    fn measured_seconds_leave_the_window_after_an_hour() {
        let minute = |minute: u64| Duration::from_secs(60 * minute);
        let quotas = quotas("[default]\nmeasure_seconds_per_hour = 100");
        quotas.spend_at("a", 60.0, minute(0));
        quotas.spend_at("a", 60.0, minute(10) + Duration::from_secs(30));
        let mut all = quotas.lock();
        let usage = all.get_mut("a").unwrap();
        let fault = measured("a", usage, 100.0, minute(11)).unwrap_err();
        assert_eq!(subject(&fault), "project/a/measure_seconds_per_hour");
        // The first minute leaves at minute 60.
        assert_eq!(fault.retry, Some(minute(49)));
        assert!(measured("a", usage, 100.0, minute(59)).is_err());
        assert!(measured("a", usage, 100.0, minute(60)).is_ok());
        assert!(measured("a", usage, 60.0, minute(60)).is_err());
        assert!(measured("a", usage, 60.0, minute(70)).is_ok());
        assert!(usage.is_nothing());
        assert!(measured("a", usage, 0.0, minute(70)).is_err());
    }

    #[test]
    fn what_was_measured_before_the_start_is_remembered() {
        let quotas = quotas("[default]\nmeasure_seconds_per_hour = 100");
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        quotas.remember("a", 60.0, minutes(59));
        quotas.remember("a", 60.0, minutes(10));
        let fault = quotas.upload("a").unwrap_err();
        assert_eq!(subject(&fault), "project/a/measure_seconds_per_hour");
        assert_eq!(fault.retry.unwrap().as_secs().div_ceil(60), 1, "{fault:?}");
        assert!(quotas.slot("a").is_ok());
        quotas.remember("b", 1_000.0, minutes(61));
        assert!(quotas.upload("b").is_ok());
    }

    #[test]
    fn memory_of_projects_is_bounded() {
        let quotas = quotas("");
        for i in 0..3 * MANY {
            quotas.spend_at(&i.to_string(), 1.0, Duration::from_secs(3_600 * (i / MANY) as u64 * 2));
        }
        assert!(quotas.lock().len() <= MANY + 2, "{}", quotas.lock().len());
    }
}
