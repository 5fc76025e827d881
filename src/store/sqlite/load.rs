//! Runs of earlier processes: all that a start needs, which is one row a run.
//!
//! Owns: what is read at the start, and later when a run is taken up again. May not touch: events and readings, but for
//! the latest.

use super::errors::RowError;
use super::event::decision_of;
use super::read::{named, snapshot};
use super::reading::RowContext;
use super::run_handle::RunHandle;
use crate::store::{Progress, Standing, StoredRun, Worked};
use clino_domain::persisted::MOST_RECEIPTS;
use clino_domain::{
    Fault, IdempotencyRecord, Latest, PersistedGroup, PersistedRun, Receipt, Refusals, RunId, RunLabel,
    RunRecord, RunSummary, SnapshotRef,
};
use rusqlite::{Connection, Row, params};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// So many attempts are read back.
const MOST_ATTEMPTS: usize = 65_536;

/// What the engine has done within a time, oldest first. A snapshot counts from when it was received: it may have waited,
/// and that is not written down.
pub(super) fn worked(connection: &Connection, now: f64, window: Duration) -> Result<Vec<Worked>, RowError> {
    let mut statement = connection.prepare(
        "SELECT project, seconds, accepted_at + seconds AS until FROM runs JOIN snapshots ON run = number \
         WHERE (ended_at IS NULL OR ended_at > ?1) AND seconds > 0 AND until > ?1 ORDER BY until",
    )?;
    let found = statement.query_map([now - window.as_secs_f64()], |row| {
        // A clock that was set back since.
        let ago = (now - row.get::<_, f64>("until")?).clamp(0.0, window.as_secs_f64());
        Ok((row.get("project")?, row.get("seconds")?, Duration::from_secs_f64(ago)))
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// A run as a process finds it, and what the writer needs to go on with it.
#[derive(Debug)]
pub(super) struct LoadedRun {
    pub stored: StoredRun,
    pub handle: Arc<RunHandle>,
}

impl LoadedRun {
    /// The run as lists show it.
    pub fn summary(self) -> RunSummary {
        let StoredRun { run: PersistedRun { record, closed, .. }, standing, .. } = self.stored;
        let Standing { progress, latest, decision, checked } = standing;
        let pending = progress.pending();
        let Progress { accepted, measured, skipped, next_sequence, last_accepted, last_measured } = progress;
        RunSummary {
            run: record.id,
            name: record.name,
            model_type: record.model_type,
            parameters: record.parameters,
            groups: record.groups.into_iter().map(|group| group.name).collect(),
            measures: record.measures,
            plan: record.plan,
            budget: record.budget,
            seed: record.seed,
            delivery: record.delivery,
            precision: record.precision,
            closed,
            accepted,
            measured,
            skipped,
            pending,
            next_sequence,
            label: record.label,
            policy: record.policy,
            decision,
            latest,
            last_accepted,
            last_measured,
            opened_at: record.opened_at,
            checked,
            refusals: Refusals::default(),
            waiting: String::new(),
            memory: Vec::new(),
        }
    }
}

fn parsed<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T, RowError> {
    let text: String = row.get(column)?;
    let wrong = |error| Fault::internal(format!("the history holds a damaged {column}: {error}"));
    Ok(serde_json::from_str(&text).map_err(wrong)?)
}

fn word<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T, RowError> {
    named(&row.get::<_, String>(column)?)
}

fn count(row: &Row<'_>, column: &str) -> Result<u64, RowError> {
    Ok(row.get::<_, i64>(column)? as u64)
}

fn at(row: &Row<'_>, which: &str) -> Result<Option<SnapshotRef>, RowError> {
    let step: Option<i64> = row.get(format!("last_{which}_step").as_str())?;
    let attempt: Option<u32> = row.get(format!("last_{which}_attempt").as_str())?;
    Ok(step.zip(attempt).map(|(step, attempt)| SnapshotRef { step: step as u64, attempt }))
}

#[derive(Deserialize)]
struct GroupRow {
    name: String,
    digest: String,
}

fn record(row: &Row<'_>) -> Result<RunRecord, RowError> {
    let seed: String = row.get("seed")?;
    let policy: Option<String> = row.get("policy")?;
    let group = |GroupRow { name, digest }: GroupRow| PersistedGroup { name, digest, tensors: None };
    Ok(RunRecord {
        id: RunId(row.get("id")?),
        key: row.get("key")?,
        fingerprint: row.get("fingerprint")?,
        name: row.get("name")?,
        label: RunLabel {
            project: row.get("project")?,
            experiment: row.get("experiment")?,
            tags: parsed(row, "tags")?,
        },
        model_type: row.get("model_type")?,
        parameters: count(row, "parameters")?,
        // Large, and read back only where a run is validated again.
        config_json: String::new(),
        model: None,
        groups: parsed::<Vec<GroupRow>>(row, "groups")?.into_iter().map(group).collect(),
        measures: parsed(row, "measures")?,
        plan: parsed(row, "plan")?,
        seed: seed.parse().map_err(|_| Fault::internal("the history holds a damaged seed"))?,
        delivery: word(row, "delivery")?,
        precision: word(row, "precision")?,
        budget: row.get("budget")?,
        gpu_only: row.get("gpu_only")?,
        policy: policy.map(|_| parsed(row, "policy")).transpose()?,
        opened_at: row.get("opened_at")?,
    })
}

fn progress(row: &Row<'_>) -> Result<Progress, RowError> {
    Ok(Progress {
        accepted: count(row, "accepted")?,
        measured: count(row, "measured")?,
        skipped: count(row, "skipped")?,
        next_sequence: count(row, "next_sequence")?,
        last_accepted: at(row, "accepted")?,
        last_measured: at(row, "measured")?,
    })
}

fn loaded(row: &Row<'_>) -> Result<LoadedRun, RowError> {
    let record = record(row)?;
    let progress = progress(row)?;
    let decision: Option<String> = row.get("decision")?;
    let decision = decision.as_deref().map(decision_of).transpose()?;
    let checked: Option<String> = row.get("checked")?;
    let checked = checked.map(|_| parsed(row, "checked")).transpose()?;
    let context = RowContext { measures: record.measures.clone(), precision: record.precision };
    let ended = row.get::<_, Option<f64>>("ended_at")?.is_some();
    let closed = row.get::<_, Option<f64>>("closed_at")?.is_some();
    let stored = StoredRun {
        run: PersistedRun { record, closed, resumable: row.get("resumable")?, begun: progress.accepted > 0 },
        standing: Standing { progress, latest: Vec::new(), decision, checked },
        pending: Vec::new(),
        ended,
    };
    Ok(LoadedRun { stored, handle: Arc::new(RunHandle::at(row.get("number")?, context, progress)) })
}

/// What reading of a run leans on, if it is there.
pub(super) fn handle(connection: &Connection, run: &RunId) -> Result<Option<Arc<RunHandle>>, RowError> {
    let mut statement =
        connection.prepare_cached("SELECT number, measures, precision FROM runs WHERE id = ?1")?;
    let mut rows = statement.query([&run.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let context = RowContext { measures: parsed(row, "measures")?, precision: word(row, "precision")? };
    Ok(Some(Arc::new(RunHandle::at(row.get("number")?, context, Progress::default()))))
}

/// All runs that have not ended, and as many of the newest others as fit beside them; oldest first.
pub(super) fn runs(connection: &Connection, most: usize) -> Result<Vec<LoadedRun>, RowError> {
    let columns = "number, id, key, fingerprint, name, project, experiment, tags, model_type, parameters, groups, \
                   measures, plan, seed, delivery, precision, budget, gpu_only, policy, opened_at, closed_at, \
                   resumable, ended_at, next_sequence, accepted, measured, skipped, last_accepted_step, last_accepted_attempt, \
                   last_measured_step, last_measured_attempt, decision, checked";
    let sql = format!(
        "SELECT {columns} FROM (SELECT *, row_number() OVER (ORDER BY ended_at IS NOT NULL, number DESC) AS rank \
         FROM runs) WHERE rank <= ?1 OR ended_at IS NULL ORDER BY number"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([most as i64])?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        let mut loaded = loaded(row)?;
        loaded.stored.standing.latest = latest(connection, &loaded)?;
        if !loaded.stored.ended {
            loaded.stored.pending = pending(connection, loaded.handle.row()?)?;
        }
        runs.push(loaded);
    }
    Ok(runs)
}

/// The principal numbers of the snapshot that was measured last.
fn latest(connection: &Connection, loaded: &LoadedRun) -> Result<Vec<Latest>, RowError> {
    let Some(at) = loaded.stored.standing.progress.last_measured else { return Ok(Vec::new()) };
    let sql = "SELECT readings.measure, readings.probe_group, readings.value, readings.stderr \
               FROM snapshots JOIN readings ON readings.run = snapshots.run \
               AND readings.sequence > snapshots.started AND readings.sequence < snapshots.finished \
               WHERE snapshots.run = ?1 AND snapshots.step = ?2 AND snapshots.attempt = ?3 ORDER BY readings.sequence";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(params![loaded.handle.row()?, at.step as i64, at.attempt], |row| {
        Ok(Latest { measure: row.get(0)?, group: row.get(1)?, value: row.get(2)?, stderr: row.get(3)? })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn pending(connection: &Connection, run: i64) -> Result<Vec<SnapshotRef>, RowError> {
    let sql = "SELECT step, attempt FROM snapshots WHERE run = ?1 AND state IN ('waiting', 'measuring') \
               ORDER BY accepted";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map([run], |row| snapshot(row, 0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Attempts and receipts of a run, the newest of them, oldest first.
pub(super) fn idempotency(
    connection: &Connection,
    handle: &RunHandle,
) -> Result<IdempotencyRecord, RowError> {
    let run = handle.row()?;
    let mut idempotency = IdempotencyRecord::default();
    let sql = "SELECT step, attempt, key, print, receipt FROM snapshots WHERE run = ?1 ORDER BY accepted DESC LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![run, MOST_ATTEMPTS as i64])?;
    while let Some(row) = rows.next()? {
        idempotency.attempts.push(SnapshotRef { step: count(row, "step")?, attempt: row.get("attempt")? });
        let key: Option<String> = row.get("key")?;
        let print: Option<String> = row.get("print")?;
        if let (Some(key), Some(print)) = (key, print)
            && idempotency.receipts.len() < MOST_RECEIPTS
        {
            idempotency.receipts.push((key, print, parsed::<Receipt>(row, "receipt")?));
        }
    }
    idempotency.attempts.reverse();
    idempotency.receipts.reverse();
    Ok(idempotency)
}

/// A run's record with its config.json, or its model.
pub(super) fn whole_record(connection: &Connection, run: &RunId) -> Result<RunRecord, RowError> {
    let mut statement = connection.prepare_cached("SELECT * FROM runs WHERE id = ?1")?;
    let mut rows = statement.query([&run.0])?;
    let row = rows.next()?.ok_or_else(|| Fault::internal("the history does not hold this run"))?;
    let model = row.get::<_, Option<Vec<u8>>>("model")?.map(Into::into);
    Ok(RunRecord { config_json: row.get("config_json")?, model, ..record(row)? })
}

/// File of the initialization, if it is kept.
pub(super) fn initialization(
    connection: &Connection,
    handle: &RunHandle,
) -> Result<Option<String>, RowError> {
    let sql = "SELECT file FROM snapshots WHERE run = ?1 AND file IS NOT NULL ORDER BY accepted DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([handle.row()?])?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
}
