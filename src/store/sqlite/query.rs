//! Questions to a history from outside: any SELECT, and the export of readings. Also beside a daemon.
//!
//! Owns: what may be asked. May not touch: what is in there; nothing here can write.

use super::errors::RowError;
use super::load::{self, LoadedRun};
use super::names::DATABASE;
use super::reader::reader;
use super::row_sink::{Cell, ColumnKind, RowSink};
use clino_domain::{Fault, FaultKind, RunSummary};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, Statement, ToSql};
use std::io;
use std::path::Path;

/// Columns of an export: those of the view `readings_labelled`.
pub const COLUMNS: [(&str, ColumnKind); 28] = [
    ("run_id", ColumnKind::Text),
    ("run_name", ColumnKind::Text),
    ("project", ColumnKind::Text),
    ("experiment", ColumnKind::Text),
    ("tags", ColumnKind::Text),
    ("model_type", ColumnKind::Text),
    ("sequence", ColumnKind::Integer),
    ("step", ColumnKind::Integer),
    ("attempt", ColumnKind::Integer),
    ("measure", ColumnKind::Text),
    ("probe_group", ColumnKind::Text),
    ("parameters", ColumnKind::Text),
    ("outcome", ColumnKind::Text),
    ("value", ColumnKind::Real),
    ("stderr", ColumnKind::Real),
    ("interval_low", ColumnKind::Real),
    ("interval_high", ColumnKind::Real),
    ("interval_level", ColumnKind::Real),
    ("mean", ColumnKind::Real),
    ("min", ColumnKind::Real),
    ("max", ColumnKind::Real),
    ("reason", ColumnKind::Text),
    ("seconds", ColumnKind::Real),
    ("forwards", ColumnKind::Real),
    ("backwards", ColumnKind::Real),
    ("passes", ColumnKind::Real),
    ("operations", ColumnKind::Real),
    ("detail", ColumnKind::Text),
];

/// The database of a directory, or a copy of one that is named itself.
fn open(data: &Path) -> Result<Connection, Fault> {
    let path = if data.is_file() { data.to_owned() } else { data.join(DATABASE) };
    if !path.is_file() {
        let description = format!(
            "found no {DATABASE} in {}, expected a directory of --data or a database",
            data.display()
        );
        return Err(Fault::field(FaultKind::NotFound, "data", description));
    }
    let strict = |connection: Connection| {
        // A column that does not exist is an error, not the text of its name.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false).map(|_| connection)
    };
    let opened = reader(&path).and_then(strict);
    opened.map_err(|error| unreadable(&path, &error))
}

fn unreadable(path: &Path, error: &rusqlite::Error) -> Fault {
    let shown = path.display();
    let message = match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => format!(
            "{shown}: {error}; where its folder cannot be written, copy it and its -wal to one that can, or make the copy \
             with .backup or VACUUM INTO"
        ),
        Some(ErrorCode::NotADatabase) => {
            return Fault::invalid("data", format!("{shown} is not a history of clino"));
        }
        _ => format!("{shown}: {error}"),
    };
    Fault::new(FaultKind::Unavailable, message)
}

fn wrong(error: &rusqlite::Error) -> Fault {
    Fault::invalid("sql", error.to_string())
}

fn unwritten(error: &io::Error) -> Fault {
    Fault::internal(format!("the output failed: {error}"))
}

/// Answers one statement that does not write.
///
/// # Errors
/// [`FaultKind::Invalid`] for a statement that writes or that SQLite refuses; [`FaultKind::NotFound`] without a history.
pub fn query(directory: &Path, sql: &str, mut sink: Box<dyn RowSink + '_>) -> Result<(), Fault> {
    let connection = open(directory)?;
    let mut statement = connection.prepare(sql).map_err(|error| wrong(&error))?;
    if !statement.readonly() {
        let found = "found a statement that writes, expected one that only reads, such as SELECT";
        return Err(Fault::invalid("sql", found));
    }
    sink.head(&names(&statement)).map_err(|error| unwritten(&error))?;
    pour(&mut statement, &[], &mut *sink)?;
    sink.finish().map_err(|error| unwritten(&error))
}

fn names(statement: &Statement<'_>) -> Vec<String> {
    statement.column_names().map(str::to_owned).collect()
}

/// All rows of a statement, one after the other.
fn pour(statement: &mut Statement<'_>, values: &[&dyn ToSql], sink: &mut dyn RowSink) -> Result<(), Fault> {
    let columns = statement.column_count();
    let mut rows = statement.query(values).map_err(|error| wrong(&error))?;
    while let Some(row) = rows.next().map_err(|error| wrong(&error))? {
        let cells = (0..columns).map(|place| row.get_ref(place).map(Cell::from));
        let cells = cells.collect::<Result<_, _>>().map_err(|error| wrong(&error))?;
        sink.row(cells).map_err(|error| unwritten(&error))?;
    }
    Ok(())
}

/// The runs of a history as they stand in it, oldest first.
///
/// # Errors
/// [`FaultKind::NotFound`] without a history, [`FaultKind::Unavailable`] when it cannot be read.
pub fn runs(data: &Path) -> Result<Vec<RunSummary>, Fault> {
    let connection = open(data)?;
    let loaded = load::runs(&connection, usize::MAX >> 1).map_err(RowError::reading)?;
    Ok(loaded.into_iter().map(LoadedRun::summary).collect())
}

/// The readings of all runs, or of one, or of those of a project: run by run, in the order in which they were made.
///
/// # Errors
/// [`FaultKind::NotFound`] without a history, or for a run that it does not hold.
pub fn export(
    directory: &Path,
    run: Option<&str>,
    project: Option<&str>,
    mut sink: Box<dyn RowSink + '_>,
) -> Result<(), Fault> {
    let connection = open(directory)?;
    let failed = |error| Fault::internal(format!("the history cannot be read: {error}"));
    // One moment for all of it.
    let moment = connection.unchecked_transaction().map_err(failed)?;
    let sql =
        "SELECT id FROM runs WHERE coalesce(id = ?1, TRUE) AND coalesce(project = ?2, TRUE) ORDER BY number";
    let mut runs = moment.prepare(sql).map_err(failed)?;
    let runs = runs.query_map([run, project], |row| row.get(0)).map_err(failed)?;
    let runs: Vec<String> = runs.collect::<Result<_, _>>().map_err(failed)?;
    if let (Some(run), true) = (run, runs.is_empty()) {
        let description = format!("found {}, which is not in this history", clino_domain::text::quoted(run));
        return Err(Fault::field(FaultKind::NotFound, "run", description));
    }
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect();
    sink.head(&names).map_err(|error| unwritten(&error))?;
    let sql =
        format!("SELECT {} FROM readings_labelled WHERE run_id = ?1 ORDER BY sequence", names.join(", "));
    let mut statement = moment.prepare(&sql).map_err(failed)?;
    for run in runs {
        pour(&mut statement, &[&run], &mut *sink)?;
    }
    sink.finish().map_err(|error| unwritten(&error))
}
