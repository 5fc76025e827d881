//! The database: opened, checked, brought to this version's schema; connections that only read.
//!
//! Owns: pragmas, the schema's steps, what becomes of a damaged file. May not touch: what the rows mean.

use super::folder::Folder;
use crate::domain::{Fault, FaultKind};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The schema in numbered steps: `user_version` tells how many of them a database has behind it.
const STEPS: [&str; 3] =
    [include_str!("schema/1.sql"), include_str!("schema/2.sql"), include_str!("schema/3.sql")];
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
    match attempt(folder) {
        Ok(connection) => Ok(connection),
        Err(Refused::Fault(fault)) => Err(fault),
        Err(Refused::Damaged(why)) => {
            let aside = folder.quarantine()?;
            tracing::error!(why, aside, "the history is damaged: it is put aside, and a new one begins");
            attempt(folder).map_err(|refused| match refused {
                Refused::Fault(fault) => fault,
                Refused::Damaged(why) => Fault::internal(format!("the new history is damaged, too: {why}")),
            })
        }
    }
}

fn attempt(folder: &Folder) -> Result<Connection, Refused> {
    let mut connection = writer(folder)?;
    migrate(&mut connection, &folder.database())?;
    check(&mut connection)?;
    Ok(connection)
}

/// A connection that writes, to a database whose schema is known to be ours.
pub(super) fn writer(folder: &Folder) -> Result<Connection, rusqlite::Error> {
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
/// # Errors
/// When there is no database.
pub(super) fn reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
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
        let old = Connection::open(directory.path().join(super::super::folder::DATABASE)).unwrap();
        old.execute_batch(STEPS[0]).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let folder = Folder::open(directory.path()).unwrap();
        let connection = open(&folder).unwrap();
        assert_eq!(version(&connection).unwrap(), STEPS.len());
        connection.prepare("SELECT value FROM readings_labelled").unwrap();
        connection.pragma_update(None, "user_version", STEPS.len() as i64 + 1).unwrap();
        drop(connection);
        assert_eq!(open(&folder).unwrap_err().kind, FaultKind::Precondition);
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
