//! What happened, as rows: one transaction at a time, which may be repeated without harm.
//!
//! Owns: every statement that writes rows of runs. May not touch: when it is called.
//!
//! A commit whose last bytes did not reach the disk may be there after all when the database is opened again. So rows are
//! replaced and counts are set, never added to.

use super::errors::RowError;
use super::event;
use super::folder::Folder;
use super::reading::ReadingRow;
use super::run_handle::RunHandle;
use super::tensors::{reference_digest, write_probe, write_reference};
use crate::store::RunChange;
use clino_domain::incident::Incident;
use clino_domain::{Acceptance, Event, Fault, RunId, RunRecord, Sequenced, SnapshotRef};
use rusqlite::{Connection, named_params, params};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Of which run, what, and when in Unix seconds.
#[derive(Debug)]
pub(super) struct DatedChange {
    pub run: RunId,
    pub handle: Arc<RunHandle>,
    pub change: RunChange,
    pub at: f64,
}

/// A name as serde spells it.
fn word(value: &impl Serialize) -> Result<String, RowError> {
    let json = serde_json::to_value(value).map_err(|error| Fault::internal(error.to_string()))?;
    Ok(json.as_str().unwrap_or_default().to_owned())
}

fn text(value: &impl Serialize) -> Result<String, RowError> {
    Ok(serde_json::to_string(value).map_err(|error| Fault::internal(error.to_string()))?)
}

/// Keeps all lines or, as far as rows go, none; files of tensors come before the rows that name them.
///
/// # Errors
/// When the disk or the database fails, and when one of the lines cannot be kept.
pub(super) fn write(
    connection: &mut Connection,
    folder: &Folder,
    lines: &[DatedChange],
) -> Result<(), RowError> {
    let mut files = HashMap::new();
    for dated in lines {
        keep_tensors(connection, folder, dated, &mut files)?;
    }
    let transaction = connection.transaction()?;
    for dated in lines {
        line(&transaction, dated, &files)?;
    }
    count_all(&transaction, lines)?;
    Ok(transaction.commit()?)
}

/// Keeps all lines that can be kept, and tells the places of those that cannot, with the reasons. Slower: for when one of
/// them has failed.
///
/// # Errors
/// When the disk or the database fails.
pub(super) fn write_apart(
    connection: &mut Connection,
    folder: &Folder,
    lines: &[DatedChange],
) -> Result<Vec<(usize, RowError)>, RowError> {
    let mut aside = Vec::new();
    let mut transaction = connection.transaction()?;
    for (place, dated) in lines.iter().enumerate() {
        let savepoint = transaction.savepoint()?;
        let mut files = HashMap::new();
        let handle = keep_tensors(&savepoint, folder, dated, &mut files);
        match handle.and_then(|()| line(&savepoint, dated, &files)) {
            Ok(()) => savepoint.commit()?,
            // Dropping it takes back what it has done.
            Err(trouble) if trouble.is_lasting() => aside.push((place, trouble)),
            Err(trouble) => return Err(trouble),
        }
    }
    count_all(&transaction, lines)?;
    transaction.commit()?;
    Ok(aside)
}

fn line(
    connection: &Connection,
    dated: &DatedChange,
    files: &HashMap<String, String>,
) -> Result<(), RowError> {
    match &dated.change {
        RunChange::Open(record) => dated.handle.is_row(open(connection, record)?),
        RunChange::Accept(acceptance, sequenced) => {
            let file = files.get(&acceptance.receipt.id.0);
            accept(connection, dated, acceptance, sequenced.sequence, file)?;
            other(connection, dated, sequenced)?;
        }
        RunChange::Event(sequenced) => match &sequenced.event {
            Event::Reading(_) => reading(connection, dated, sequenced)?,
            _ => other(connection, dated, sequenced)?,
        },
        RunChange::Close { resumable } => {
            let sql = "UPDATE runs SET closed_at = coalesce(closed_at, ?2), resumable = ?3 WHERE number = ?1";
            connection.prepare_cached(sql)?.execute(params![dated.handle.row()?, dated.at, resumable])?;
        }
        RunChange::Reopen => {
            let sql = "UPDATE runs SET closed_at = NULL, ended_at = NULL, resumable = 0 WHERE number = ?1";
            connection.prepare_cached(sql)?.execute(params![dated.handle.row()?])?;
        }
        RunChange::Mark => {}
    }
    Ok(())
}

/// Sets the counts of every run that a line is of and that has a row.
fn count_all(connection: &Connection, lines: &[DatedChange]) -> Result<(), RowError> {
    let touched: HashMap<&RunId, &RunHandle> =
        lines.iter().map(|dated| (&dated.run, &*dated.handle)).collect();
    touched
        .values()
        .filter(|handle| handle.found().is_some())
        .try_for_each(|handle| counts(connection, handle))
}

/// Writes what a line needs beside its row; names of references by the id of their snapshot go to `files`.
fn keep_tensors(
    connection: &Connection,
    folder: &Folder,
    dated: &DatedChange,
    files: &mut HashMap<String, String>,
) -> Result<(), RowError> {
    match &dated.change {
        RunChange::Open(record) => {
            for group in &record.groups {
                if let Some(tensors) = &group.tensors {
                    let path = folder.probe(&group.digest);
                    note(connection, &path, "probes", &group.digest)?;
                    write_probe(&path, tensors)?;
                }
            }
        }
        RunChange::Accept(acceptance, _) => {
            if let Some(reference) = &acceptance.reference {
                let digest = reference_digest(reference, &acceptance.receipt.digest);
                let path = folder.snapshot(&digest);
                note(connection, &path, "snapshots", &digest)?;
                match write_reference(&path, reference) {
                    Ok(()) => drop(files.insert(acceptance.receipt.id.0.clone(), digest)),
                    // Its bytes cannot be read any more: that does not get better by waiting.
                    Err(error) if error.kind() == std::io::ErrorKind::Other => {
                        let detail = format!("run {}: {error}", dated.run);
                        let code = folder.notes.note(Incident::ReferenceLost, &detail);
                        tracing::warn!(code, run = %dated.run, %error, "an initialization is not kept");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Notes a file before it is written, so that it can be removed when nobody names it any more. One that lies there already
/// was written by an earlier database, which may want it back: it is not this one's to remove.
fn note(connection: &Connection, path: &Path, room: &str, digest: &str) -> Result<(), RowError> {
    if !path.exists() {
        let sql = "INSERT OR IGNORE INTO files (folder, digest) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute([room, digest])?;
    }
    Ok(())
}

fn open(connection: &Connection, record: &RunRecord) -> Result<i64, RowError> {
    let groups: Vec<_> =
        record.groups.iter().map(|group| json!({"name": group.name, "digest": group.digest})).collect();
    let sql = "INSERT INTO runs (id, key, fingerprint, name, project, experiment, tags, model_type, parameters, \
               config_json, model, groups, measures, plan, seed, delivery, precision, budget, gpu_only, policy, opened_at) \
               VALUES (:id, :key, :fingerprint, :name, :project, :experiment, :tags, :model_type, :parameters, \
               :config_json, :model, :groups, :measures, :plan, :seed, :delivery, :precision, :budget, :gpu_only, :policy, \
               :opened_at) ON CONFLICT (id) DO NOTHING";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":id": record.id.0, ":key": record.key, ":fingerprint": record.fingerprint, ":name": record.name,
        ":project": record.label.project, ":experiment": record.label.experiment,
        ":tags": text(&record.label.tags)?, ":model_type": record.model_type,
        ":parameters": record.parameters as i64, ":config_json": record.config_json,
        ":model": record.model.as_deref(), ":groups": text(&groups)?,
        ":measures": text(&record.measures)?, ":plan": text(&record.plan)?, ":seed": record.seed.to_string(),
        ":delivery": word(&record.delivery)?, ":precision": word(&record.precision)?, ":budget": record.budget,
        ":gpu_only": record.gpu_only, ":policy": record.policy.as_ref().map(text).transpose()?,
        ":opened_at": record.opened_at,
    })?;
    let mut number = connection.prepare_cached("SELECT number FROM runs WHERE id = ?1")?;
    Ok(number.query_row([&record.id.0], |row| row.get(0))?)
}

fn accept(
    connection: &Connection,
    dated: &DatedChange,
    acceptance: &Acceptance,
    sequence: u64,
    file: Option<&String>,
) -> Result<(), RowError> {
    let Acceptance { header, receipt, key, .. } = acceptance;
    let run = dated.handle.row()?;
    if file.is_some() {
        // A run has one: another comes only where the one before could not be read back.
        let sql = "UPDATE snapshots SET file = NULL WHERE run = ?1 AND file IS NOT NULL";
        connection.prepare_cached(sql)?.execute([run])?;
    }
    let sql = "INSERT OR REPLACE INTO snapshots (run, step, attempt, id, kind, initialization, digest, key, print, \
               receipt, state, accepted_at, accepted, file) VALUES (:run, :step, :attempt, :id, :kind, \
               :initialization, :digest, :key, :print, :receipt, 'waiting', :accepted_at, :accepted, :file)";
    connection.prepare_cached(sql)?.execute(named_params! {
        ":run": run, ":step": header.at.step as i64, ":attempt": header.at.attempt, ":id": receipt.id.0,
        ":kind": word(&header.kind)?, ":initialization": header.initialization, ":digest": receipt.digest,
        ":key": key.as_ref().map(|(key, _)| key), ":print": key.as_ref().map(|(_, print)| print),
        ":receipt": text(receipt)?, ":accepted_at": dated.at, ":accepted": sequence as i64, ":file": file,
    })?;
    Ok(())
}

fn reading(connection: &Connection, dated: &DatedChange, sequenced: &Sequenced) -> Result<(), RowError> {
    let Event::Reading(reading) = &sequenced.event else { return Ok(()) };
    let row = ReadingRow::of(sequenced.sequence, reading, &dated.handle.context)?;
    let sql = "INSERT OR REPLACE INTO readings (run, sequence, step, attempt, measure, place, probe_group, outcome, \
               value, stderr, seconds, forwards, backwards, passes, operations, interval_low, interval_high, \
               interval_level, detail) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
    let [value, stderr, seconds, forwards, backwards, passes, operations, low, high, level] = row.numbers;
    connection.prepare_cached(sql)?.execute(params![
        dated.handle.row()?,
        row.sequence as i64,
        row.at.step as i64,
        row.at.attempt,
        row.measure,
        row.place,
        row.group,
        row.outcome.name(),
        value,
        stderr,
        seconds,
        forwards,
        backwards,
        passes,
        operations,
        low,
        high,
        level,
        row.detail
    ])?;
    Ok(())
}

/// An event that is no reading, and what it changes.
fn other(connection: &Connection, dated: &DatedChange, sequenced: &Sequenced) -> Result<(), RowError> {
    let Some((kind, body)) = event::columns(&sequenced.event)? else { return Ok(()) };
    let run = dated.handle.row()?;
    let sequence = sequenced.sequence as i64;
    let sql = "INSERT OR REPLACE INTO events (run, sequence, kind, body) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![run, sequence, kind, body])?;
    let change = |sql: &str, at: &SnapshotRef, value: &dyn rusqlite::ToSql| {
        let sql = format!("UPDATE snapshots SET {sql} WHERE run = ?1 AND step = ?2 AND attempt = ?3");
        let values = params![run, at.step as i64, at.attempt, value, sequence];
        connection.prepare_cached(&sql)?.execute(values)
    };
    match &sequenced.event {
        Event::Skipped { snapshot, reason } => {
            change("state = 'skipped', reason = ?4, finished = ?5", snapshot, reason)?;
        }
        Event::Started { snapshot, .. } => {
            change("state = ?4, started = ?5", snapshot, &"measuring")?;
        }
        Event::Finished { snapshot, seconds } => {
            change("state = 'measured', seconds = ?4, finished = ?5", snapshot, seconds)?;
        }
        Event::Checked(checked) => {
            // One that failed is not taken back.
            let sql =
                "UPDATE runs SET checked = ?2 WHERE number = ?1 AND coalesce(checked ->> '$.agrees', 1)";
            connection.prepare_cached(sql)?.execute(params![run, text(&**checked)?])?;
        }
        Event::Decided(decision) => {
            let sql = "UPDATE runs SET decision = ?2 WHERE number = ?1";
            connection.prepare_cached(sql)?.execute(params![run, event::decision_text(decision)?])?;
        }
        Event::Closed => {
            let sql = "UPDATE runs SET ended_at = ?2, closed_at = coalesce(closed_at, ?2) WHERE number = ?1";
            connection.prepare_cached(sql)?.execute(params![run, dated.at])?;
        }
        _ => {}
    }
    Ok(())
}

fn counts(connection: &Connection, handle: &RunHandle) -> Result<(), RowError> {
    let progress = handle.ahead();
    let step = |at: Option<SnapshotRef>| at.map(|at| at.step as i64);
    let attempt = |at: Option<SnapshotRef>| at.map(|at| at.attempt);
    let sql = "UPDATE runs SET next_sequence = ?2, accepted = ?3, measured = ?4, skipped = ?5, \
               last_accepted_step = ?6, last_accepted_attempt = ?7, last_measured_step = ?8, \
               last_measured_attempt = ?9 WHERE number = ?1";
    connection.prepare_cached(sql)?.execute(params![
        handle.row()?,
        progress.next_sequence as i64,
        progress.accepted as i64,
        progress.measured as i64,
        progress.skipped as i64,
        step(progress.last_accepted),
        attempt(progress.last_accepted),
        step(progress.last_measured),
        attempt(progress.last_measured)
    ])?;
    Ok(())
}
