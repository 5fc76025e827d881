//! The database: opened, checked, brought to this version's schema; connections that only read.
//!
//! Owns: pragmas, the schema's steps, what becomes of a damaged file. May not touch: what the rows mean.

use super::folder::Folder;
use crate::domain::{Fault, FaultKind};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The schema in numbered steps: `user_version` tells how many of them a database has behind it.
const STEPS: [&str; 7] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
];
/// What a database of ours says of itself since the step that counts files ("clin"); earlier ones are known by their tables.
const APPLICATION: i64 = 0x636c_696e;
/// A question to each of our tables that only they can answer.
const QUESTIONS: [&str; 4] = [
    "SELECT number, id, key, fingerprint, groups, next_sequence FROM runs",
    "SELECT run, step, attempt, digest, print, receipt, accepted FROM snapshots",
    "SELECT run, sequence, step, measure, place, outcome, detail FROM readings",
    "SELECT run, sequence, kind, body FROM events",
];
/// How long a connection waits for another one's lock.
const BUSY: Duration = Duration::from_secs(5);
/// How long the check at the start may take; what it has not seen by then is trusted.
const CHECK: Duration = Duration::from_millis(400);
/// Operations of SQLite's machine between two looks at the clock.
const LOOK: i32 = 20_000;
/// The log is cut to so many bytes after a checkpoint.
const LOG_BYTES: i64 = 64 << 20;
/// Connections that are kept for the next reader.
const SPARE: usize = 4;

/// All statements that make the schema, with comments on every table and column.
pub fn schema() -> String {
    STEPS.join("\n")
}

/// Why a database was not opened.
enum Refused {
    /// It is damaged: another one takes its place.
    Damaged(String),
    /// Whatever it is, it stays.
    Fault(Fault),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                let description = "another process holds a lock on the database: close what has it open";
                Self::Fault(Fault::field(FaultKind::Exists, "data", description))
            }
            _ => Self::Fault(Fault::internal(format!("the history cannot be opened: {error}"))),
        }
    }
}

/// Opens the database of a folder for its one writer; a damaged one is put aside and a new one begun.
///
/// # Errors
/// [`FaultKind::Precondition`] for one that a newer clino has made, [`FaultKind::Exists`] for one that another process
/// locks.
pub(super) fn open(folder: &Folder) -> Result<Connection, Fault> {
    match attempt(folder, look) {
        Ok(connection) => Ok(connection),
        Err(Refused::Fault(fault)) => Err(fault),
        Err(Refused::Damaged(why)) => {
            let aside = folder.quarantine()?;
            tracing::error!(why, aside, "the history is damaged: it is put aside, and a new one begins");
            // This one is new, whatever lies beside it.
            attempt(folder, |_, _| Ok(())).map_err(|refused| match refused {
                Refused::Fault(fault) => fault,
                Refused::Damaged(why) => Fault::internal(format!("the new history is damaged, too: {why}")),
            })
        }
    }
}

fn attempt(
    folder: &Folder,
    look: fn(&Connection, &Folder) -> Result<(), Refused>,
) -> Result<Connection, Refused> {
    let mut connection = writer(folder)?;
    look(&connection, folder)?;
    migrate(&mut connection, &folder.database())?;
    check(&mut connection)?;
    Ok(connection)
}

/// Whether it is a database of ours, or a new one that nothing was lost from.
fn look(connection: &Connection, folder: &Folder) -> Result<(), Refused> {
    let sql = "SELECT count(*) FROM sqlite_master";
    let things: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    if things > 0 && !has_our_tables(connection)? {
        let description = format!(
            "{} is a database of something else: name another directory, or move it away",
            folder.database().display()
        );
        return Err(Refused::Fault(Fault::invalid("data", description)));
    }
    if things > 0 {
        return Ok(());
    }
    let tensors = folder.some_tensors();
    let failed = |error: std::io::Error| Fault::internal(format!("the history cannot be opened: {error}"));
    match tensors.map_err(|error| Refused::Fault(failed(error)))? {
        None => Ok(()),
        Some(file) => {
            Err(Refused::Damaged(format!("it is empty, and an earlier one has named {}", file.display())))
        }
    }
}

fn has_our_tables(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != 0 {
        return Ok(application == APPLICATION);
    }
    for question in QUESTIONS {
        match connection.prepare(question) {
            Ok(_) => {}
            // No such table, or no such column.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Whether a file is a database of ours. Opens it to be read alone, and makes nothing beside it.
///
/// # Errors
/// [`FaultKind::Exists`] when another process locks it; [`FaultKind::Internal`] when it cannot be read.
pub(super) fn is_ours(path: &Path) -> Result<bool, Fault> {
    // Without a log all of it is in the file; with one a reader needs that as well.
    let log = path.with_extension("db-wal");
    let logged = std::fs::symlink_metadata(&log).is_ok_and(|found| found.len() > 0);
    let asked = || -> Result<bool, rusqlite::Error> {
        let connection = match path.to_str() {
            Some(path) if !logged => still(path)?,
            _ => reader(path)?,
        };
        has_our_tables(&connection)
    };
    match asked().map_err(Refused::from) {
        Ok(ours) => Ok(ours),
        Err(Refused::Damaged(_)) => Ok(false),
        Err(Refused::Fault(fault)) => Err(fault),
    }
}

/// A connection to a file that nobody changes meanwhile.
fn still(path: &str) -> Result<Connection, rusqlite::Error> {
    let escaped = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// A connection that writes, to a database whose schema is known to be ours.
pub(super) fn writer(folder: &Folder) -> Result<Connection, rusqlite::Error> {
    folder.make_database().map_err(unmade)?;
    let connection = Connection::open(folder.database())?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Takes effect in a database without tables only.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // Memory that processes share is not shared over a network.
    let mode = if folder.local { "WAL" } else { "TRUNCATE" };
    connection.pragma_update_and_check(None, "journal_mode", mode, |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |row| row.get::<_, i64>(0))?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn unmade(error: std::io::Error) -> rusqlite::Error {
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let code = if full { rusqlite::ffi::SQLITE_FULL } else { rusqlite::ffi::SQLITE_CANTOPEN };
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some(error.to_string()))
}

fn version(connection: &Connection) -> Result<usize, rusqlite::Error> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // One that is none of ours is newer, too.
    Ok(usize::try_from(found).unwrap_or(usize::MAX))
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), Refused> {
    let found = version(connection)?;
    if found > STEPS.len() {
        let (path, known) = (path.display(), STEPS.len());
        let description = format!(
            "{path} has schema {found}, expected at most {known}: a newer clino has made it; use that one, or another \
             directory"
        );
        return Err(Refused::Fault(Fault::field(FaultKind::Precondition, "data", description)));
    }
    for (done, step) in STEPS.iter().enumerate().skip(found) {
        let transaction: Transaction<'_> = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", done as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Looks for damage as long as there is time.
fn check(connection: &mut Connection) -> Result<(), Refused> {
    let began = Instant::now();
    connection.progress_handler(LOOK, Some(move || began.elapsed() > CHECK))?;
    let found = connection.pragma_query_value(None, "quick_check", |row| row.get::<_, String>(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(Refused::Damaged(found)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            tracing::debug!("the history is too large to be checked whole at the start");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// A connection that cannot write, also beside a daemon.
///
/// A database keeps a log beside it, and with it a file that readers write. Where neither is there and the folder takes
/// none, as in a copy on a medium that cannot be written, nobody writes the database either: it is read as it is.
///
/// # Errors
/// When there is no database.
pub(super) fn reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let attempt = |connection: Connection| {
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "query_only", true)?;
        // Opening alone reads nothing.
        version(&connection)?;
        Ok(connection)
    };
    let opened = Connection::open_with_flags(path, flags).and_then(attempt);
    match opened {
        Err(error) if cannot_open(&error) && !logged(path) => {
            let uri = flags | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(immutable(path), uri).and_then(attempt)
        }
        opened => opened,
    }
}

fn cannot_open(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// Whether there is a log with something in it.
fn logged(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// The name by which SQLite reads a database that nobody writes.
fn immutable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri += &format!("%{byte:02X}"),
        }
    }
    uri + "?immutable=1"
}

/// Connections for readers, made when they are needed and kept for the next.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    spare: Mutex<Vec<Connection>>,
}

impl Readers {
    pub fn new(path: PathBuf) -> Self {
        Self { path, spare: Mutex::default() }
    }

    /// Reads with one of them.
    ///
    /// # Errors
    /// Those of `read`; [`FaultKind::Unavailable`] when the database cannot be read.
    pub fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T, Fault> {
        let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let found = spare().pop();
        let connection = match found {
            Some(connection) => connection,
            None => reader(&self.path).map_err(|error| Trouble::from(error).reading())?,
        };
        let answer = read(&connection).map_err(Trouble::reading)?;
        let mut spare = spare();
        if spare.len() < SPARE {
            spare.push(connection);
        }
        Ok(answer)
    }
}

/// What goes wrong between rows and values.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The database, or the disk below it.
    Database(rusqlite::Error),
    /// The disk below the files of tensors.
    Disk(std::io::Error),
    /// What was read or is to be written.
    Fault(Fault),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Trouble {
    /// Whether it is of what is to be written and stays however often that is tried: of a row that the database refuses, or
    /// of a value that has no form there.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Fault(_) => true,
            Self::Disk(error) => error.kind() == std::io::ErrorKind::Other,
            Self::Database(rusqlite::Error::ToSqlConversionFailure(_)) => true,
            Self::Database(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::ConstraintViolation
                        | ErrorCode::TooBig
                        | ErrorCode::TypeMismatch
                        | ErrorCode::ParameterOutOfRange
                )
            ),
        }
    }

    /// As whoever wanted to read hears it.
    pub fn reading(self) -> Fault {
        match self {
            Self::Database(error) => {
                Fault::new(FaultKind::Unavailable, format!("the history cannot be read: {error}"))
            }
            Self::Disk(error) => {
                Fault::new(FaultKind::Unavailable, format!("the history cannot be read: {error}"))
            }
            Self::Fault(fault) => fault,
        }
    }

    /// As whoever wanted something kept hears it: a full disk may have room again.
    pub fn writing(&self) -> Fault {
        let full = match self {
            Self::Database(error) => error.sqlite_error_code() == Some(ErrorCode::DiskFull),
            Self::Disk(error) => {
                matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
            }
            Self::Fault(_) => false,
        };
        let kind = if full { FaultKind::Exhausted } else { FaultKind::Unavailable };
        let why = match self {
            Self::Database(error) => error.to_string(),
            Self::Disk(error) => error.to_string(),
            Self::Fault(fault) => fault.to_string(),
        };
        Fault::new(kind, format!("the history cannot be written: {why}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_older_schema_is_brought_up_and_a_newer_one_refused() {
        let directory = tempfile::tempdir().unwrap();
        let old = Connection::open(directory.path().join(super::super::names::DATABASE)).unwrap();
        old.execute_batch(STEPS[0]).unwrap();
        let reading = "INSERT INTO readings (run, sequence, step, attempt, measure, outcome, value, stderr) \
                       VALUES (1, 0, 1, 1, 'sharpness', 'measured', 0.5, 0.25)";
        old.pragma_update(None, "foreign_keys", false).unwrap();
        old.execute_batch(reading).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let folder = Folder::open(directory.path()).unwrap();
        let connection = open(&folder).unwrap();
        assert_eq!(version(&connection).unwrap(), STEPS.len());
        connection.prepare("SELECT value, interval_low FROM readings_labelled").unwrap();
        let kept = "SELECT stderr, interval_low FROM readings";
        let kept = connection.query_row(kept, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(kept, (0.25, None::<f64>));
        connection.pragma_update(None, "user_version", STEPS.len() as i64 + 1).unwrap();
        drop(connection);
        assert_eq!(open(&folder).unwrap_err().kind, FaultKind::Precondition);
    }

    #[test]
    fn names_of_files_may_hold_anything() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b?c#d%20é.db");
        let database = Connection::open(&path).unwrap();
        database.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(database);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(immutable(&path), flags).unwrap();
        connection.prepare("SELECT x FROM t").unwrap();
    }

    #[test]
    fn row_43_a_damaged_database_is_put_aside() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open(directory.path()).unwrap();
        drop(open(&folder).unwrap());
        std::fs::write(
            folder.database(),
            b"this is no database, but long enough to be looked at ".repeat(99),
        )
        .unwrap();
        let connection = open(&folder).unwrap();
        assert_eq!(version(&connection).unwrap(), STEPS.len());
        let names = std::fs::read_dir(directory.path()).unwrap();
        let aside = names.filter(|entry| {
            entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("history.db.corrupt-")
        });
        assert_eq!(aside.count(), 1);
    }
}
