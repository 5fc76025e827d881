//! The one writer: takes all that is queued, makes it durable in one transaction, then tells.
//!
//! Owns: the writing connection, sequence numbers, what happens when the disk fails. May not touch: what is written.

use super::database;
use super::insert::{Dated, Line, write, write_apart};
use super::trouble::Trouble;
use super::upkeep::{Upkeep, checkpoint};
use super::{Entry, Store, What};
use crate::publish::feed::{Feed, Hub};
use clino_domain::meters::{Meters, Metric};
use clino_domain::{Event, Fault, RunId, Sequenced, SnapshotRef};
use rusqlite::Connection;
use std::collections::{HashSet, VecDeque};
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
pub(in crate::publish) fn start(
    store: Arc<Store>,
    connection: Connection,
    hub: Weak<Hub>,
) -> std::io::Result<JoinHandle<()>> {
    let upkeep = Upkeep::new(store.retain);
    let writer = Writer { store, hub, connection: Some(connection), pending: VecDeque::new(), upkeep };
    Builder::new().name("clino-history".into()).spawn(move || writer.work())
}

struct Writer {
    store: Arc<Store>,
    hub: Weak<Hub>,
    /// `None` after a failure, until it is opened again.
    connection: Option<Connection>,
    pending: VecDeque<Entry>,
    upkeep: Upkeep,
}

/// What one transaction keeps, and whom it is told to.
#[derive(Default)]
struct Batch {
    lines: Vec<Dated>,
    feeds: Vec<Arc<Feed>>,
    /// Entries that somebody may wait for.
    counted: u64,
    /// Runs with a snapshot whose measurement ends here.
    finished: HashSet<RunId>,
}

impl Writer {
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
                let lost = batch.lines.len() + self.pending.len() + self.store.lock().entries.len();
                self.count(|meters| meters.add(Metric::HistoryDropped, &[], lost as f64));
                tracing::error!(lost, "the history could not be written before the end");
                return;
            }
            self.tell(batch);
        }
        if let Some(Err(trouble)) = self.connection.as_ref().map(checkpoint) {
            tracing::warn!(fault = %trouble.writing(), "the history's log stays");
        }
    }

    /// Moves what is queued to what is pending, waiting for it while there is nothing else to do. True once no more comes.
    fn gather(&mut self) -> bool {
        let mut queue = self.store.lock();
        let idle = self.upkeep.idle();
        if queue.entries.is_empty() && self.pending.is_empty() && !queue.closed && !idle.is_zero() {
            let woken = self.store.bell.wait_timeout(queue, idle);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.pending.append(&mut queue.entries);
        queue.closed
    }

    fn keep_up(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let hub = self.hub.upgrade();
        let expire = |run: &RunId| hub.as_ref().is_some_and(|hub| hub.expire(run));
        if let Err(trouble) = self.upkeep.work(connection, &self.store.folder, &expire) {
            tracing::warn!(fault = %trouble.writing(), "old runs are not removed");
            self.upkeep.postpone();
        }
    }

    /// The next entries, with their sequence numbers.
    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        while batch.lines.len() < BATCH {
            let Some(entry) = self.pending.front() else { break };
            // What the policy says of a run's last snapshot comes before the end of the run, and is found only when that
            // snapshot is told.
            let last = matches!(entry.what, What::Event(Event::Closed) | What::Draining);
            if last && batch.finished.contains(entry.feed.run()) {
                break;
            }
            let Some(entry) = self.pending.pop_front() else { break };
            batch.take(entry);
        }
        batch
    }

    /// Makes it durable, however often that takes. False when there is no time left for it.
    fn commit(&mut self, lines: &[Dated]) -> bool {
        loop {
            self.count(|meters| {
                let age = |first: &Dated| (super::now() - first.at).max(0.0);
                meters.set(Metric::HistoryLag, &[], lines.first().map_or(0.0, age));
                meters.set(Metric::HistoryQueue, &[], lines.len() as f64);
            });
            let Err(trouble) = self.attempt(lines) else { break };
            self.count(|meters| meters.one(Metric::HistoryFailures, &[]));
            // Nobody knows what state it is in.
            self.connection = None;
            self.store.suffer(trouble.writing());
            let queue = self.store.lock();
            if queue.closed {
                return false;
            }
            let until = |queue: &mut super::Queue| !queue.closed;
            drop(self.store.bell.wait_timeout_while(queue, AGAIN, until));
        }
        self.store.recover();
        self.count(|meters| {
            meters.add(Metric::HistoryWrites, &[], lines.len() as f64);
            meters.set(Metric::HistoryLag, &[], 0.0);
            meters.set(Metric::HistoryQueue, &[], self.pending.len() as f64);
        });
        true
    }

    fn count(&self, count: impl FnOnce(&Meters)) {
        if let Some(hub) = self.hub.upgrade() {
            count(&hub.tally().meters);
        }
    }

    fn attempt(&mut self, lines: &[Dated]) -> Result<(), Trouble> {
        let folder = &self.store.folder;
        if self.connection.is_none() {
            self.connection = Some(database::writer(folder)?);
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if lines.iter().all(|dated| matches!(dated.line, Line::Draining)) {
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
    fn set_aside(&self, dated: &Dated, trouble: &Trouble) {
        self.count(|meters| meters.one(Metric::HistoryDropped, &[]));
        let Dated { run, kept, line, .. } = dated;
        let why = trouble.writing();
        let refuse = |id: &str, what: &str| {
            let message =
                format!("{what} cannot be kept in the history: {why}; it is forgotten when the daemon ends");
            kept.refuse(id.to_owned(), Fault::internal(message));
        };
        match line {
            Line::Open(_) => refuse(&run.0, "the run"),
            Line::Accept(acceptance, _) => refuse(&acceptance.receipt.id.0, "the snapshot"),
            // The run has been told of.
            _ if kept.refusal(&run.0).is_some() => return,
            _ => {}
        }
        let what: String = format!("{line:?}").chars().take(TOLD).collect();
        tracing::error!(%run, fault = %why, what, "a row of the history is set aside: it cannot be kept");
    }

    /// Tells those who watch, and lets policies look at what is new.
    fn tell(&mut self, batch: Batch) {
        let hub = self.hub.upgrade();
        let mut news = Vec::new();
        for (dated, feed) in batch.lines.into_iter().zip(batch.feeds) {
            let sequenced = match dated.line {
                Line::Accept(_, sequenced) | Line::Event(sequenced) => sequenced,
                Line::Draining => {
                    let sequence = dated.kept.ahead().next_sequence;
                    Arc::new(Sequenced { sequence, event: Event::Draining })
                }
                Line::Reopen => {
                    if let Some(hub) = &hub {
                        hub.reopened(&feed);
                    }
                    continue;
                }
                Line::Open(_) | Line::Close(_) => continue,
            };
            feed.tell(&sequenced);
            if let Some(hub) = &hub {
                let decision = hub.told(&feed, &sequenced.event);
                news.extend(decision.map(|event| Entry::new(feed, What::Event(event), false)));
            }
        }
        if let Some(hub) = &hub {
            hub.changed();
        }
        news.into_iter().rev().for_each(|entry| self.pending.push_front(entry));
        self.store.level.send_modify(|level| level.durable += batch.counted);
    }
}

impl Batch {
    fn take(&mut self, entry: Entry) {
        let Entry { feed, what, at, counted } = entry;
        let Some(kept) = feed.kept().cloned() else { return };
        let numbered = |event: Event| {
            let sequence = kept.take(&event);
            Arc::new(Sequenced { sequence, event })
        };
        let line = match what {
            What::Open(record) => Line::Open(record),
            What::Accept(acceptance) => {
                let clino_domain::SnapshotHeader { at, kind, initialization } = acceptance.header;
                Line::Accept(acceptance, numbered(Event::Accepted { snapshot: at, kind, initialization }))
            }
            What::Event(event) => {
                if let Event::Finished { snapshot: SnapshotRef { .. }, .. } = &event {
                    self.finished.insert(feed.run().clone());
                }
                Line::Event(numbered(event))
            }
            What::Close { resumable } => Line::Close(resumable),
            What::Reopen => Line::Reopen,
            What::Draining => Line::Draining,
        };
        self.counted += u64::from(counted);
        self.lines.push(Dated { run: feed.run().clone(), kept, line, at });
        self.feeds.push(feed);
    }
}

impl Store {
    fn suffer(&self, fault: Fault) {
        self.level.send_if_modified(|level| {
            let new = level.trouble.as_ref() != Some(&fault);
            if new {
                tracing::error!(%fault, "nothing new is taken on until it can be written");
                level.trouble = Some(fault);
            }
            new
        });
    }

    fn recover(&self) {
        self.level.send_if_modified(|level| {
            let recovered = level.trouble.take().is_some();
            if recovered {
                tracing::info!("the history can be written again; nothing was lost");
            }
            recovered
        });
    }
}
