//! Runs that are too old go, and the space that they took.
//!
//! Owns: how long runs are kept, and how much is done at once. May not touch: runs that have not ended.

use super::errors::RowError;
use super::folder::Folder;
use crate::store::now;
use clino_domain::RunId;
use rusqlite::{Connection, params};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Rows that one transaction removes: what happens meanwhile waits no longer than for these.
const ROWS: i64 = 5_000;
/// Pages that are given back to the file system at once.
const PAGES: i64 = 2_000;
/// How often old runs are looked for, at most and at least.
const SELDOM: Duration = Duration::from_secs(60);
const OFTEN: Duration = Duration::from_millis(250);

/// Unix time that never runs ahead of what has passed since the start: a wall clock that jumps forward dooms no run.
#[derive(Debug)]
struct Clock {
    /// Unix time in seconds.
    wall: fn() -> f64,
    began: (f64, Instant),
}

impl Clock {
    fn new(wall: fn() -> f64) -> Self {
        Self { wall, began: (wall(), Instant::now()) }
    }

    fn now(&self) -> f64 {
        let (began, since) = self.began;
        (self.wall)().min(began + since.elapsed().as_secs_f64())
    }
}

/// What there is to do.
#[derive(Debug)]
pub(super) struct Retention {
    retain: Option<Duration>,
    clock: Clock,
    every: Duration,
    next: Instant,
    doomed: VecDeque<(i64, RunId)>,
    /// Whether files and pages may be left over.
    littered: bool,
}

impl Retention {
    /// How long runs are kept after their end; `None`: forever.
    pub fn new(retain: Option<Duration>) -> Self {
        let every = retain.map_or(SELDOM, |retain| (retain / 4).clamp(OFTEN, SELDOM));
        // A process that was killed may have left files that no row names.
        let clock = Clock::new(now);
        Self { retain, clock, every, next: Instant::now(), doomed: VecDeque::new(), littered: true }
    }

    /// How long there is nothing to do.
    pub fn idle(&self) -> Duration {
        match self.doomed.is_empty() && !self.littered {
            true => self.next.saturating_duration_since(Instant::now()),
            false => Duration::ZERO,
        }
    }

    /// Does a little of it. `expire` asks everyone to forget a run, and tells whether they did.
    ///
    /// # Errors
    /// When the disk or the database fails; it is tried again later.
    pub fn work(
        &mut self,
        connection: &mut Connection,
        folder: &Folder,
        expire: &dyn Fn(&RunId) -> bool,
    ) -> Result<(), RowError> {
        if let Some((number, run)) = self.doomed.pop_front() {
            if !expire(&run) {
                return Ok(());
            }
            let left = remove(connection, number)?;
            match left {
                true => self.doomed.push_front((number, run)),
                false => {
                    tracing::info!(%run, "a run was too old to be kept");
                    self.littered = true;
                }
            }
            return Ok(());
        }
        if std::mem::take(&mut self.littered) {
            self.littered = tidy(connection, folder)?;
            return Ok(());
        }
        if Instant::now() >= self.next {
            self.next = Instant::now() + self.every;
            self.doomed = self.too_old(connection)?;
        }
        Ok(())
    }

    /// After a failure: not before the next round.
    pub fn postpone(&mut self) {
        self.doomed.clear();
        self.littered = false;
        self.next = Instant::now() + self.every;
    }

    fn too_old(&self, connection: &Connection) -> Result<VecDeque<(i64, RunId)>, RowError> {
        let Some(retain) = self.retain else { return Ok(VecDeque::new()) };
        let before = self.clock.now() - retain.as_secs_f64();
        let sql = "SELECT number, id FROM runs WHERE ended_at < ?1 ORDER BY number LIMIT 100";
        let mut statement = connection.prepare_cached(sql)?;
        let found = statement.query_map([before], |row| Ok((row.get(0)?, RunId(row.get(1)?))))?;
        Ok(found.collect::<Result<_, _>>()?)
    }
}

/// Removes some rows of a run; false when nothing is left.
fn remove(connection: &mut Connection, run: i64) -> Result<bool, RowError> {
    let transaction = connection.transaction()?;
    for (table, key) in [("readings", "sequence"), ("events", "sequence"), ("snapshots", "step, attempt")] {
        let sql = format!(
            "DELETE FROM {table} WHERE run = ?1 AND ({key}) IN (SELECT {key} FROM {table} WHERE run = ?1 LIMIT ?2)"
        );
        if transaction.execute(&sql, params![run, ROWS])? > 0 {
            transaction.commit()?;
            return Ok(true);
        }
    }
    transaction.execute("DELETE FROM runs WHERE number = ?1", [run])?;
    transaction.commit()?;
    Ok(false)
}

/// Files that this database has written and that no row names any more.
const UNNAMED: &str = "SELECT folder, digest FROM files WHERE CASE folder
    WHEN 'probes' THEN digest NOT IN
        (SELECT json_extract(value, '$.digest') FROM runs, json_each(runs.groups)
         WHERE json_extract(value, '$.digest') IS NOT NULL)
    ELSE digest NOT IN (SELECT file FROM snapshots WHERE file IS NOT NULL) END";

/// Removes files that were written here and that no row names any more, and gives some free pages back; true when there are
/// more. A database that has just begun, also in the place of a damaged one, has written none.
fn tidy(connection: &Connection, folder: &Folder) -> Result<bool, RowError> {
    let mut statement = connection.prepare(UNNAMED)?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for file in found.collect::<Result<Vec<(String, String)>, _>>()? {
        let (room, digest) = &file;
        folder.remove(room, digest)?;
        connection.execute("DELETE FROM files WHERE folder = ?1 AND digest = ?2", [room, digest])?;
        tracing::debug!(room, digest, "a file that no run names any more is removed");
    }
    let free: i64 = connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?;
    if free > 0 {
        give_back(connection)?;
    }
    checkpoint(connection)?;
    Ok(free > PAGES)
}

/// Gives some free pages back to the file system. Each step of the statement gives one, so that it must be run to its end.
fn give_back(connection: &Connection) -> Result<(), RowError> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// Brings the log into the database and cuts it to nothing, as far as readers let it.
pub(super) fn checkpoint(connection: &Connection) -> Result<(), RowError> {
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    #[test]
    fn space_of_what_was_removed_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        let mut connection = super::super::database::open(&folder).unwrap();
        let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
            INSERT INTO large SELECT randomblob(4000) FROM n";
        connection.execute_batch("CREATE TABLE large (x)").unwrap();
        connection.execute_batch(fill).unwrap();
        connection.execute_batch("DROP TABLE large").unwrap();
        checkpoint(&connection).unwrap();
        let size = || std::fs::metadata(folder.database()).unwrap().len();
        assert!(size() > 5_000 * 4_000, "{}", size());
        let mut retention = Retention::new(None);
        let mut rounds = 0;
        while retention.littered {
            retention.work(&mut connection, &folder, &|_| true).unwrap();
            rounds += 1;
        }
        assert!(size() < 100 * 4_096, "{}", size());
        assert!(rounds <= 5_000 / PAGES + 2, "{rounds}");
    }

    static WALL: AtomicU64 = AtomicU64::new(1_000_000);

    #[test]
    fn row_31_a_clock_that_jumps_dooms_no_run() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE runs (number INTEGER, id TEXT, ended_at REAL)").unwrap();
        for (number, ended_at) in [(1, 1_000_000.0 - 60.0), (2, 1_000_000.0 - 3_700.0)] {
            let id = format!("run {number}");
            connection
                .execute("INSERT INTO runs VALUES (?1, ?2, ?3)", params![number, id, ended_at])
                .unwrap();
        }
        let mut retention = Retention::new(Some(Duration::from_secs(3_600)));
        retention.clock = Clock::new(|| WALL.load(Relaxed) as f64);
        let doomed =
            || retention.too_old(&connection).unwrap().into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(doomed(), [2]);
        WALL.store(1_000_000 + 86_400, Relaxed);
        assert_eq!(doomed(), [2], "forward");
        WALL.store(1_000_000 - 86_400, Relaxed);
        assert_eq!(doomed(), [] as [i64; 0], "back");
    }
}
