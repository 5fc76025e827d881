//! Connections that only read, and whether a database is ours.
//!
//! Owns: how a file is opened that may not be written. May not touch: the schema, what the rows mean.

use super::errors::{OpenError, RowError};
use clino_domain::Fault;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// Connections that are kept for the next reader.
const SPARE: usize = 4;
const READ_ONLY: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Steps of the schema that a database has behind it.
///
/// # Errors
/// When it cannot be read.
pub(super) fn version(connection: &Connection) -> Result<usize, rusqlite::Error> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // One that is none of ours is newer, too.
    Ok(usize::try_from(found).unwrap_or(usize::MAX))
}

/// Whether the tables of a database are ours.
///
/// # Errors
/// Those of the database.
pub(super) fn has_our_tables(connection: &Connection) -> Result<bool, rusqlite::Error> {
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
    let asked = || {
        let connection = if logged(path) { reader(path)? } else { still(path)? };
        has_our_tables(&connection)
    };
    match asked().map_err(OpenError::from) {
        Ok(ours) => Ok(ours),
        Err(OpenError::Damaged(_)) => Ok(false),
        Err(OpenError::Fault(fault)) => Err(fault),
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
    match Connection::open_with_flags(path, READ_ONLY).and_then(prepared) {
        Err(error) if cannot_open(&error) && !logged(path) => still(path),
        opened => opened,
    }
}

/// A connection to a file that nobody writes meanwhile: it makes nothing beside it.
fn still(path: &Path) -> Result<Connection, rusqlite::Error> {
    Connection::open_with_flags(immutable(path), READ_ONLY | OpenFlags::SQLITE_OPEN_URI).and_then(prepared)
}

fn prepared(connection: Connection) -> Result<Connection, rusqlite::Error> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    // Opening alone reads nothing.
    version(&connection)?;
    Ok(connection)
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
    pub fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, RowError>) -> Result<T, Fault> {
        let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let found = spare().pop();
        let connection = match found {
            Some(connection) => connection,
            None => reader(&self.path).map_err(|error| RowError::from(error).reading())?,
        };
        let answer = read(&connection).map_err(RowError::reading)?;
        let mut spare = spare();
        if spare.len() < SPARE {
            spare.push(connection);
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_files_may_hold_anything() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b?c#d%20é.db");
        let database = Connection::open(&path).unwrap();
        database.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(database);
        let connection = still(&path).unwrap();
        connection.prepare("SELECT x FROM t").unwrap();
    }
}
