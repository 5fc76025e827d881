//! The one writer: takes all that is queued, makes it durable in one transaction, then tells.
//!
//! Owns: the writing connection, what happens when the disk fails. May not touch: what is written.

use super::errors::RowError;
use super::insert::{DatedChange, write, write_apart};
use super::queue::{Queue, QueuedEntry};
use super::retention::{Retention, checkpoint};
use super::{SqliteStore, database, lock};
use crate::store::{Audience, Committed, Entry, RunChange, now};
use clino_domain::counters::Counters;
use clino_domain::incident::Incident;
use clino_domain::metrics::Metric;
use clino_domain::{Fault, RunId};
use rusqlite::Connection;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Entries of one transaction: more would make those behind them wait.
const BATCH: usize = 4_096;
/// Between two attempts at a disk that fails.
const AGAIN: Duration = Duration::from_secs(1);

/// Characters of a row that cannot be kept, in the line of the log.
const TOLD: usize = 1_000;

/// Starts the thread. It ends when the store is closed and everything is written, or cannot be.
pub(super) fn start(
    store: Arc<SqliteStore>,
    connection: Option<Connection>,
    audience: Weak<dyn Audience>,
    counters: Arc<Counters>,
) -> std::io::Result<JoinHandle<()>> {
    let retention = Retention::new(store.retain);
    let writer = StoreWriter { store, audience, counters, connection, pending: VecDeque::new(), retention };
    Builder::new().name("clino-history".into()).spawn(move || writer.work())
}

struct StoreWriter {
    store: Arc<SqliteStore>,
    audience: Weak<dyn Audience>,
    counters: Arc<Counters>,
    /// `None` after a failure, until it is opened again.
    connection: Option<Connection>,
    pending: VecDeque<QueuedEntry>,
    retention: Retention,
}

/// What one transaction keeps, and whom it is told to.
#[derive(Default)]
struct WriteBatch {
    lines: Vec<DatedChange>,
    told: Vec<Committed>,
}

impl StoreWriter {
    fn work(mut self) {
        loop {
            let ending = self.gather();
            if self.pending.is_empty() {
                if ending {
                    break;
                }
                self.keep_up();
                continue;
            }
            let batch = self.batch();
            if !self.commit(&batch.lines) {
                let lost = batch.lines.len() + self.pending.len() + lock(&self.store.queue).abandon();
                self.counters.metrics.add(Metric::HistoryDropped, &[], lost as f64);
                let code = self
                    .counters
                    .note(Incident::HistoryDropped, &format!("{lost} rows at the end of the daemon"));
                tracing::error!(code, lost, "the history could not be written before the end");
                return;
            }
            self.tell(batch);
        }
        if let Some(Err(trouble)) = self.connection.as_ref().map(checkpoint) {
            let fault = trouble.writing();
            let code = self.counters.note(Incident::HistoryUpkeep, &fault.message);
            tracing::warn!(code, %fault, "the history's log stays");
        }
        lock(&self.store.queue).abandon();
    }

    /// Moves what is queued to what is pending, waiting for it while there is nothing else to do. True once no more comes.
    fn gather(&mut self) -> bool {
        let mut queue = lock(&self.store.queue);
        let idle = self.retention.idle();
        if queue.waiting() == 0 && self.pending.is_empty() && !queue.is_closed() && !idle.is_zero() {
            let woken = self.store.bell.wait_timeout(queue, idle);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.pour(&mut self.pending);
        queue.is_closed()
    }

    fn keep_up(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let audience = self.audience.upgrade();
        let expire = |run: &RunId| audience.as_ref().is_some_and(|audience| audience.expire(run));
        if let Err(trouble) = self.retention.work(connection, &self.store.folder, &expire) {
            let fault = trouble.writing();
            let code = self.counters.note(Incident::HistoryUpkeep, &fault.message);
            tracing::warn!(code, %fault, "old runs are not removed");
            self.retention.postpone();
        }
    }

    /// The next pending entries, as one batch.
    fn batch(&mut self) -> WriteBatch {
        let mut batch = WriteBatch::default();
        let most = self.pending.len().min(BATCH);
        self.pending.drain(..most).for_each(|waiting| batch.take(waiting));
        batch
    }

    /// Makes it durable, however often that takes. False when there is no time left for it.
    fn commit(&mut self, lines: &[DatedChange]) -> bool {
        loop {
            let age = |first: &DatedChange| (now() - first.at).max(0.0);
            self.counters.metrics.set(Metric::HistoryLag, &[], lines.first().map_or(0.0, age));
            self.counters.metrics.set(Metric::HistoryQueue, &[], lines.len() as f64);
            let Err(trouble) = self.attempt(lines) else { break };
            self.counters.metrics.one(Metric::HistoryFailures, &[]);
            // Nobody knows what state it is in.
            self.connection = None;
            let fault = trouble.writing();
            let code = self.counters.note(Incident::HistoryFailed, &fault.message);
            self.store.suffer(fault, code);
            let queue = lock(&self.store.queue);
            if queue.is_closed() {
                return false;
            }
            let until = |queue: &mut Queue| !queue.is_closed();
            drop(self.store.bell.wait_timeout_while(queue, AGAIN, until));
        }
        self.store.recover();
        self.counters.metrics.add(Metric::HistoryWrites, &[], lines.len() as f64);
        self.counters.metrics.set(Metric::HistoryLag, &[], 0.0);
        self.counters.metrics.set(Metric::HistoryQueue, &[], self.pending.len() as f64);
        true
    }

    fn attempt(&mut self, lines: &[DatedChange]) -> Result<(), RowError> {
        let folder = &self.store.folder;
        if self.connection.is_none() {
            self.connection = Some(database::writer(folder)?);
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if lines.iter().all(|dated| matches!(dated.change, RunChange::Mark)) {
            return Ok(());
        }
        match write(connection, folder, lines) {
            Err(trouble) if trouble.is_lasting() => {
                let aside = write_apart(connection, folder, lines)?;
                aside.into_iter().for_each(|(place, trouble)| self.set_aside(&lines[place], &trouble));
                Ok(())
            }
            other => other,
        }
    }

    /// What cannot be kept, however often that is tried, holds up nothing else: it is told here and, where somebody waits
    /// to hear that it is kept, to them.
    fn set_aside(&self, dated: &DatedChange, trouble: &RowError) {
        self.counters.metrics.one(Metric::HistoryDropped, &[]);
        let DatedChange { run, handle, change, .. } = dated;
        let why = trouble.writing();
        let refuse = |id: &str, what: &str| {
            let message =
                format!("{what} cannot be stored in the history: {why}; it is lost when the daemon stops");
            handle.refuse(id.to_owned(), Fault::internal(message));
        };
        match change {
            RunChange::Open(_) => refuse(&run.0, "the run"),
            RunChange::Accept(acceptance, _) => refuse(&acceptance.receipt.id.0, "the snapshot"),
            // The run has been told of.
            _ if handle.refusal(&run.0).is_some() => return,
            _ => {}
        }
        let what: String = format!("{change:?}").chars().take(TOLD).collect();
        let code = self.counters.note(Incident::HistoryDropped, &format!("run {run}: {why}"));
        tracing::error!(code, %run, fault = %why, what, "a row of the history is set aside: it cannot be kept");
    }

    /// Tells the callers, in the order in which they pushed.
    fn tell(&self, batch: WriteBatch) {
        let count = batch.told.len() as u64;
        batch.told.into_iter().for_each(|committed| committed());
        if let Some(audience) = self.audience.upgrade() {
            audience.changed();
        }
        self.store.writer_progress.send_modify(|writer_progress| writer_progress.durable += count);
    }
}

impl WriteBatch {
    fn take(&mut self, waiting: QueuedEntry) {
        let QueuedEntry { entry: Entry { run, change, at, committed }, handle } = waiting;
        if let Some(event) = change.event() {
            handle.advance(event);
        }
        self.lines.push(DatedChange { run, handle, change, at });
        self.told.push(committed);
    }
}

impl SqliteStore {
    fn suffer(&self, fault: Fault, code: &'static str) {
        self.writer_progress.send_if_modified(|writer_progress| {
            let new = writer_progress.trouble.as_ref() != Some(&fault);
            if new {
                tracing::error!(code, %fault, "nothing new is taken on until it can be written");
                writer_progress.trouble = Some(fault);
            }
            new
        });
    }

    fn recover(&self) {
        self.writer_progress.send_if_modified(|writer_progress| {
            let recovered = writer_progress.trouble.take().is_some();
            if recovered {
                tracing::info!("the history can be written again; nothing was lost");
            }
            recovered
        });
    }
}
