//! The database: opened, checked, brought to this version's schema.
//!
//! Owns: pragmas of who writes, the schema's steps, what becomes of a damaged file. May not touch: what the rows mean.

use super::errors::OpenError;
use super::folder::Folder;
use super::reader::{BUSY, has_our_tables, version};
use clino_domain::incident::Incident;
use clino_domain::{Fault, FaultKind};
use rusqlite::{Connection, ErrorCode, Transaction};
use std::path::Path;
use std::time::{Duration, Instant};

/// The schema in numbered steps: `user_version` tells how many of them a database has behind it.
const STEPS: [&str; 8] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
    include_str!("schema/8.sql"),
];
/// How long the check at the start may take; what it has not seen by then is trusted.
const CHECK: Duration = Duration::from_millis(400);
/// Operations of SQLite's machine between two looks at the clock.
const LOOK: i32 = 20_000;
/// Size in bytes to which the log is cut after a checkpoint.
const LOG_BYTES: i64 = 64 << 20;
/// All statements that make the schema, with comments on every table and column.
pub fn schema() -> String {
    STEPS.join("\n")
}

/// Opens the database of a folder for its one writer; a damaged one is put aside and a new one begun.
///
/// # Errors
/// [`FaultKind::Precondition`] for one that a newer clino has made, [`FaultKind::Exists`] for one that another process
/// locks.
pub(super) fn open(folder: &Folder) -> Result<Connection, Fault> {
    match attempt(folder, look) {
        Ok(connection) => Ok(connection),
        Err(OpenError::Fault(fault)) => Err(fault),
        Err(OpenError::Damaged(why)) => {
            let aside = folder.quarantine()?;
            let code = folder.notes.note(Incident::HistoryDamaged, &format!("{aside}: {why}"));
            tracing::error!(
                code,
                why,
                aside,
                "the history is damaged: it is moved aside, and a new one begins"
            );
            // This one is new, whatever lies beside it.
            attempt(folder, |_, _| Ok(())).map_err(|refused| match refused {
                OpenError::Fault(fault) => fault,
                OpenError::Damaged(why) => Fault::internal(format!("the new history is damaged too: {why}")),
            })
        }
    }
}

fn attempt(
    folder: &Folder,
    look: fn(&Connection, &Folder) -> Result<(), OpenError>,
) -> Result<Connection, OpenError> {
    let mut connection = writer(folder)?;
    look(&connection, folder)?;
    migrate(&mut connection, &folder.database())?;
    check(&mut connection)?;
    Ok(connection)
}

/// Whether it is a database of ours, or a new one that nothing was lost from.
fn look(connection: &Connection, folder: &Folder) -> Result<(), OpenError> {
    let sql = "SELECT count(*) FROM sqlite_master";
    let things: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    if things > 0 && !has_our_tables(connection)? {
        let description = format!(
            "{} is a database of another program: choose another directory, or move it away",
            folder.database().display()
        );
        return Err(OpenError::Fault(Fault::invalid("data", description)));
    }
    if things > 0 {
        return Ok(());
    }
    let tensors = folder.some_tensors();
    let failed = |error: std::io::Error| Fault::internal(format!("the history cannot be opened: {error}"));
    match tensors.map_err(|error| OpenError::Fault(failed(error)))? {
        None => Ok(()),
        Some(file) => {
            Err(OpenError::Damaged(format!("it is empty, but an earlier one refers to {}", file.display())))
        }
    }
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

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let found = version(connection)?;
    if found > STEPS.len() {
        let path = path.display();
        let known = STEPS.len();
        let description = format!(
            "{path} has schema {found}, expected at most {known}: a newer clino made it; use that version, or \
            another directory"
        );
        return Err(OpenError::Fault(Fault::field(FaultKind::Precondition, "data", description)));
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
fn check(connection: &mut Connection) -> Result<(), OpenError> {
    let began = Instant::now();
    connection.progress_handler(LOOK, Some(move || began.elapsed() > CHECK))?;
    let found = connection.pragma_query_value(None, "quick_check", |row| row.get::<_, String>(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(OpenError::Damaged(found)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            tracing::debug!("the history is too large for a full check at the start");
            Ok(())
        }
        Err(error) => Err(error.into()),
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
        let handle = "SELECT stderr, interval_low FROM readings";
        let handle = connection.query_row(handle, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(handle, (0.25, None::<f64>));
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
