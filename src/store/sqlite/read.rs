//! What happened, read back: pages of events, reports, readings of some measures.
//!
//! Owns: every statement that reads rows of one run. May not touch: what is written.

use super::errors::RowError;
use super::event;
use super::reading::{ReadingRow, RowContext};
use super::run_handle::RunHandle;
use clino_domain::{Event, Fault, FaultKind, Reading, Report, Sequenced, SnapshotRef, Stretch};
use rusqlite::{Connection, OptionalExtension, params};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::sync::Arc;

const READING: &str = "sequence, step, attempt, measure, place, probe_group, outcome, value, stderr, seconds, \
                       forwards, backwards, passes, operations, interval_low, interval_high, interval_level, detail";

/// The value that a word of serde's spells.
pub(super) fn named<T: DeserializeOwned>(word: &str) -> Result<T, RowError> {
    let wrong = |_| Fault::internal(format!("the history holds an unknown word: {word}"));
    Ok(serde_json::from_value(serde_json::Value::from(word)).map_err(wrong)?)
}

/// The snapshot whose step and attempt stand in two columns from `first` on.
pub(super) fn snapshot(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<SnapshotRef> {
    Ok(SnapshotRef { step: row.get::<_, i64>(first)? as u64, attempt: row.get(first + 1)? })
}

fn row(row: &rusqlite::Row<'_>) -> Result<ReadingRow, RowError> {
    let mut numbers = [None; 10];
    for (i, number) in numbers.iter_mut().enumerate() {
        *number = row.get(7 + i)?;
    }
    Ok(ReadingRow {
        sequence: row.get::<_, i64>(0)? as u64,
        at: snapshot(row, 1)?,
        measure: row.get(3)?,
        place: row.get(4)?,
        group: row.get(5)?,
        outcome: named(&row.get::<_, String>(6)?)?,
        numbers,
        detail: row.get(17)?,
    })
}

/// Hands over readings of a run, in the order in which they were made.
fn readings(
    connection: &Connection,
    condition: &str,
    values: &[&dyn rusqlite::ToSql],
    context: &RowContext,
    with: &mut dyn FnMut(u64, Reading),
) -> Result<(), RowError> {
    let sql = format!("SELECT {READING} FROM readings WHERE run = ?1 AND {condition}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(values)?;
    while let Some(found) = rows.next()? {
        let row = row(found)?;
        with(row.sequence, row.reading(context)?);
    }
    Ok(())
}

/// At most `most` events from a place on.
pub(super) fn page(
    connection: &Connection,
    handle: &RunHandle,
    from: u64,
    most: usize,
) -> Result<Vec<Arc<Sequenced>>, RowError> {
    let run = handle.row()?;
    // Both tables as they are at one moment.
    let moment = connection.unchecked_transaction()?;
    let mut found = Vec::new();
    let values = params![run, from as i64, most as i64];
    let mut keep = |sequence, event| found.push(Arc::new(Sequenced { sequence, event }));
    let condition = "sequence >= ?2 ORDER BY sequence LIMIT ?3";
    readings(&moment, condition, values, &handle.context, &mut |sequence, reading| {
        keep(sequence, Event::Reading(Box::new(reading)));
    })?;
    let sql = "SELECT sequence, kind, body FROM events WHERE run = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT ?3";
    let mut statement = moment.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    while let Some(row) = rows.next()? {
        let kind: String = row.get(1)?;
        let body: String = row.get(2)?;
        keep(row.get::<_, i64>(0)? as u64, event::event(&kind, &body)?);
    }
    found.sort_by_key(|sequenced| sequenced.sequence);
    found.truncate(most);
    Ok(found)
}

/// All that is kept of one snapshot.
pub(super) fn report(
    connection: &Connection,
    handle: &RunHandle,
    at: SnapshotRef,
) -> Result<Report, RowError> {
    let run = handle.row()?;
    let sql = "SELECT kind, state, reason, started, finished FROM snapshots \
               WHERE run = ?1 AND step = ?2 AND attempt = ?3";
    type Columns = (String, String, Option<String>, Option<i64>, Option<i64>);
    let found: Option<Columns> = connection
        .prepare_cached(sql)?
        .query_row(params![run, at.step as i64, at.attempt], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })
        .optional()?;
    let Some((kind, state, reason, started, finished)) = found else {
        let description = format!("found step {} attempt {}, which is not stored", at.step, at.attempt);
        return Err(Fault::field(FaultKind::NotFound, "snapshot", description).into());
    };
    let mut made = Vec::new();
    if let Some(started) = started {
        // One that is being measured has no end yet.
        let condition = "sequence > ?2 AND sequence < ?3 AND step = ?4 AND attempt = ?5 ORDER BY sequence";
        let values = params![run, started, finished.unwrap_or(i64::MAX), at.step as i64, at.attempt];
        readings(connection, condition, values, &handle.context, &mut |_, reading| made.push(reading))?;
    }
    Ok(Report { snapshot: at, kind: named(&kind)?, state: named(&state)?, readings: made, reason })
}

/// Hands over readings of some measures, snapshot by snapshot, of all that are measured.
pub(super) fn recall(
    connection: &Connection,
    handle: &RunHandle,
    measures: &[String],
    with: &mut dyn FnMut(SnapshotRef, &[&Reading]),
) -> Result<(), RowError> {
    let Some(run) = handle.found() else { return Ok(()) };
    let moment = connection.unchecked_transaction()?;
    let sql =
        "SELECT step, attempt, started FROM snapshots WHERE run = ?1 AND state = 'measured' ORDER BY started";
    let mut statement = moment.prepare_cached(sql)?;
    let order: Vec<SnapshotRef> =
        statement.query_map([run], |row| snapshot(row, 0))?.collect::<Result<_, _>>()?;
    let measured: HashSet<SnapshotRef> = order.iter().copied().collect();
    let mut due = order.into_iter();
    let mut current: Option<(SnapshotRef, Vec<Reading>)> = None;
    let wanted = serde_json::to_string(measures).map_err(|error| Fault::internal(error.to_string()))?;
    let condition = "measure IN (SELECT value FROM json_each(?2)) ORDER BY sequence";
    // Snapshots without any of these readings are handed over, too, in their place.
    let mut hand_over = |(at, readings): (SnapshotRef, Vec<Reading>)| {
        for earlier in due.by_ref().take_while(|due| *due != at) {
            with(earlier, &[]);
        }
        with(at, &readings.iter().collect::<Vec<_>>());
    };
    readings(&moment, condition, params![run, wanted], &handle.context, &mut |_, reading| {
        let at = reading.snapshot;
        if !measured.contains(&at) {
            return;
        }
        match &mut current {
            Some((same, readings)) if *same == at => readings.push(reading),
            _ => {
                if let Some(done) = current.replace((at, vec![reading])) {
                    hand_over(done);
                }
            }
        }
    })?;
    if let Some(done) = current {
        hand_over(done);
    }
    due.for_each(|late| with(late, &[]));
    Ok(())
}

/// Hands over readings of some measures of the next snapshots from a step on, of each step the last attempt that was
/// measured.
pub(super) fn stretch(
    connection: &Connection,
    handle: &RunHandle,
    measures: &[String],
    stretch: Stretch,
    with: &mut dyn FnMut(SnapshotRef, &[&Reading]),
) -> Result<(), RowError> {
    let Some(run) = handle.found() else { return Ok(()) };
    let moment = connection.unchecked_transaction()?;
    // The other columns are those of the row with the greatest attempt: SQLite promises that of max().
    let sql = "SELECT step, max(attempt), started, finished FROM snapshots \
               WHERE run = ?1 AND state = 'measured' AND step >= ?2 GROUP BY step ORDER BY step LIMIT ?3";
    let mut statement = moment.prepare_cached(sql)?;
    let columns = |row: &rusqlite::Row<'_>| Ok((snapshot(row, 0)?, row.get(2)?, row.get(3)?));
    let found = statement.query_map(params![run, stretch.from as i64, stretch.most as i64], columns)?;
    let found: Vec<(SnapshotRef, i64, i64)> = found.collect::<Result<_, _>>()?;
    for (at, started, finished) in found {
        let mut made = Vec::new();
        let condition = "sequence > ?2 AND sequence < ?3 AND step = ?4 AND attempt = ?5 ORDER BY sequence";
        let values = params![run, started, finished, at.step as i64, at.attempt];
        readings(&moment, condition, values, &handle.context, &mut |_, reading| {
            if measures.contains(&reading.measure) {
                made.push(reading);
            }
        })?;
        with(at, &made.iter().collect::<Vec<_>>());
    }
    Ok(())
}
