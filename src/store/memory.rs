//! A store in memory, for the contract alone: it shows that neither the trait nor the contract leans on SQLite.
//!
//! Owns: a map that outlives the store. May not touch: files.
#![allow(clippy::unwrap_used)]

use super::contract::{StoreLocation, contract};
use super::{
    Audience, CROWD, Entry, EventStore, RunChange, Standing, StoredRun, Worked, WriterProgress, now,
};
use clino_domain::counters::Counters;
use clino_domain::graph::ModelReader;
use clino_domain::*;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What is durable, run by run in the order in which they were opened.
#[derive(Debug, Clone, Default)]
struct Disk(Vec<StoredEntry>);

#[derive(Debug, Clone)]
struct StoredEntry {
    record: RunRecord,
    events: BTreeMap<u64, Event>,
    accepted: Vec<AcceptedSnapshot>,
    initialization: Option<Arc<dyn ParameterSource>>,
    closed: bool,
    resumable: bool,
    ended_at: Option<f64>,
}

#[derive(Debug, Clone)]
struct AcceptedSnapshot {
    at: SnapshotRef,
    key: Option<(String, String)>,
    receipt: Receipt,
}

impl Disk {
    fn row(&self, run: &RunId) -> Result<&StoredEntry, Fault> {
        self.0.iter().find(|row| row.record.id == *run).ok_or_else(Fault::unknown_run)
    }

    fn keep(&mut self, run: &RunId, change: &RunChange, at: f64) {
        if let (RunChange::Open(record), Err(_)) = (change, self.row(run)) {
            self.0.push(StoredEntry::new(record));
        }
        if let Some(row) = self.0.iter_mut().find(|row| row.record.id == *run) {
            row.keep(change, at);
        }
    }
}

impl StoredEntry {
    fn new(record: &RunRecord) -> Self {
        Self {
            record: record.clone(),
            events: BTreeMap::new(),
            accepted: Vec::new(),
            initialization: None,
            closed: false,
            resumable: false,
            ended_at: None,
        }
    }

    fn keep(&mut self, change: &RunChange, at: f64) {
        if let Some(event) = change.event() {
            self.events.insert(event.sequence, event.event.clone());
        }
        match change {
            RunChange::Accept(acceptance, _) => {
                let Acceptance { header, key, receipt, reference } = &**acceptance;
                let accepted = AcceptedSnapshot { at: header.at, key: key.clone(), receipt: receipt.clone() };
                self.accepted.retain(|accepted| accepted.at != header.at);
                self.accepted.push(accepted);
                let source = reference.as_ref().map(|reference| reference.source.clone());
                self.initialization = source.or(self.initialization.take());
            }
            RunChange::Event(event) if event.event == Event::Closed => {
                self.closed = true;
                self.ended_at = Some(at);
            }
            RunChange::Close { resumable } => {
                self.closed = true;
                self.resumable = *resumable;
            }
            RunChange::Reopen => {
                self.closed = false;
                self.ended_at = None;
            }
            RunChange::Open(_) | RunChange::Event(_) | RunChange::Mark => {}
        }
    }

    fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        for (sequence, event) in &self.events {
            standing.progress.take(*sequence, event);
            match event {
                Event::Checked(checked) => standing.check(checked),
                Event::Decided(decision) => standing.decision = Some((**decision).clone()),
                _ => {}
            }
        }
        let last = standing.progress.last_measured.and_then(|at| self.report(at).ok());
        let latest = |reading: &Reading| Latest {
            measure: reading.measure.clone(),
            group: reading.group.clone(),
            value: reading.value,
            stderr: reading.estimate.and_then(|estimate| estimate.stderr),
        };
        standing.latest = last.iter().flat_map(|report| &report.readings).map(latest).collect();
        standing
    }

    fn report(&self, at: SnapshotRef) -> Result<Report, Fault> {
        let mut report = None;
        for event in self.events.values() {
            match (event, &mut report) {
                (Event::Accepted { snapshot, kind, .. }, _) if *snapshot == at => {
                    let state = SnapshotState::Waiting;
                    report =
                        Some(Report { snapshot: at, kind: *kind, state, readings: vec![], reason: None });
                }
                (Event::Started { snapshot, .. }, Some(report)) if *snapshot == at => {
                    report.state = SnapshotState::Measuring;
                }
                (Event::Finished { snapshot, .. }, Some(report)) if *snapshot == at => {
                    report.state = SnapshotState::Measured;
                }
                (Event::Skipped { snapshot, reason }, Some(report)) if *snapshot == at => {
                    report.state = SnapshotState::Skipped;
                    report.reason = Some(reason.clone());
                }
                (Event::Reading(reading), Some(report)) if reading.snapshot == at => {
                    report.readings.push((**reading).clone());
                }
                _ => {}
            }
        }
        let missing = || Fault::field(FaultKind::NotFound, "snapshot", "found one that is not stored");
        report.ok_or_else(missing)
    }

    fn measured(&self) -> Vec<SnapshotRef> {
        let finished = |event: &Event| match event {
            Event::Finished { snapshot, .. } => Some(*snapshot),
            _ => None,
        };
        self.events.values().filter_map(finished).collect()
    }

    fn stored(&self) -> StoredRun {
        let attempts = self.accepted.iter().map(|accepted| accepted.at);
        let waits = |at: &SnapshotRef| {
            self.report(*at)
                .is_ok_and(|report| matches!(report.state, SnapshotState::Waiting | SnapshotState::Measuring))
        };
        let standing = self.standing();
        let begun = standing.progress.accepted > 0;
        let record = self.record.clone();
        StoredRun {
            run: PersistedRun { record, closed: self.closed, resumable: self.resumable, begun },
            standing,
            pending: attempts.filter(waits).collect(),
            ended: self.ended_at.is_some(),
        }
    }
}

#[derive(Debug, Default)]
struct MemoryQueue {
    entries: VecDeque<Entry>,
    queued: u64,
    closed: bool,
}

#[derive(Debug)]
struct MemoryStore {
    disk: Arc<Mutex<Disk>>,
    retain: Option<Duration>,
    queue: Mutex<MemoryQueue>,
    bell: Condvar,
    writer_progress: watch::Sender<WriterProgress>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl MemoryStore {
    fn work(&self, audience: &Weak<dyn Audience>) {
        loop {
            let entries = {
                let patience = Duration::from_millis(2);
                let idle = |queue: &mut MemoryQueue| queue.entries.is_empty() && !queue.closed;
                let queue = self.queue.lock().unwrap();
                let mut queue = self.bell.wait_timeout_while(queue, patience, idle).unwrap().0;
                if queue.closed && queue.entries.is_empty() {
                    return;
                }
                std::mem::take(&mut queue.entries)
            };
            let mut disk = self.disk.lock().unwrap();
            entries.iter().for_each(|entry| disk.keep(&entry.run, &entry.change, entry.at));
            drop(disk);
            let count = entries.len() as u64;
            entries.into_iter().for_each(|entry| (entry.committed)());
            if let Some(audience) = audience.upgrade() {
                self.expire(&*audience);
                audience.changed();
            }
            self.writer_progress.send_modify(|writer_progress| writer_progress.durable += count);
        }
    }

    fn expire(&self, audience: &dyn Audience) {
        let Some(retain) = self.retain else { return };
        let before = now() - retain.as_secs_f64();
        let is_old = |row: &&StoredEntry| row.ended_at.is_some_and(|ended| ended < before);
        let old: Vec<RunId> =
            self.disk.lock().unwrap().0.iter().filter(is_old).map(|row| row.record.id.clone()).collect();
        for run in old.into_iter().filter(|run| audience.expire(run)) {
            self.disk.lock().unwrap().0.retain(|row| row.record.id != run);
        }
    }

    fn row(&self, run: &RunId) -> Result<StoredEntry, Fault> {
        self.disk.lock().unwrap().row(run).cloned()
    }
}

impl EventStore for MemoryStore {
    fn runs(&self, _: usize) -> Result<Vec<StoredRun>, Fault> {
        Ok(self.disk.lock().unwrap().0.iter().map(StoredEntry::stored).collect())
    }

    fn worked(&self, _: Duration) -> Result<Vec<Worked>, Fault> {
        Ok(Vec::new())
    }

    fn start(self: Arc<Self>, audience: Weak<dyn Audience>, _: Arc<Counters>) -> io::Result<()> {
        let store = self.clone();
        *self.writer.lock().unwrap() = Some(std::thread::spawn(move || store.work(&audience)));
        Ok(())
    }

    fn push(&self, entry: Entry) {
        let mut queue = self.queue.lock().unwrap();
        queue.queued += 1;
        queue.entries.push_back(entry);
        self.bell.notify_one();
    }

    fn writer_progress(&self) -> watch::Receiver<WriterProgress> {
        self.writer_progress.subscribe()
    }

    fn queued(&self) -> u64 {
        self.queue.lock().unwrap().queued
    }

    fn room(&self) -> Result<(), Fault> {
        let crowded = self.queue.lock().unwrap().entries.len() > CROWD;
        if crowded { Err(Fault::new(FaultKind::Exhausted, "too much waits")) } else { Ok(()) }
    }

    fn refusal(&self, _: &RunId, _: &str) -> Option<Fault> {
        None
    }

    fn release(&self, _: &RunId) {}

    fn close(&self) {
        self.queue.lock().unwrap().closed = true;
        self.bell.notify_one();
    }

    fn end(&self, patience: Duration) -> bool {
        self.close();
        let Some(writer) = self.writer.lock().unwrap().take() else { return true };
        let deadline = Instant::now() + patience;
        while !writer.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        writer.is_finished()
    }

    fn page(&self, run: &RunId, from: u64, most: usize) -> Result<Vec<Arc<Sequenced>>, Fault> {
        let row = self.row(run)?;
        let sequenced = |(sequence, event)| Arc::new(Sequenced { sequence, event });
        Ok(row.events.into_iter().skip_while(|(n, _)| *n < from).take(most).map(sequenced).collect())
    }

    fn report(&self, run: &RunId, at: SnapshotRef) -> Result<Report, Fault> {
        self.row(run)?.report(at)
    }
}

impl Archive for MemoryStore {
    fn recall(
        &self,
        run: &RunId,
        measures: &[String],
        stretch: Option<Stretch>,
        with: &mut dyn FnMut(SnapshotRef, &[&Reading]),
    ) -> Result<(), Fault> {
        let row = self.row(run)?;
        let mut measured = row.measured();
        if let Some(Stretch { from, most }) = stretch {
            measured.retain(|at| at.step >= from);
            measured.sort();
            measured.reverse();
            measured.dedup_by_key(|at| at.step);
            measured.reverse();
            measured.truncate(most);
        }
        for at in measured {
            let report = row.report(at)?;
            let wanted = report.readings.iter().filter(|reading| measures.contains(&reading.measure));
            with(at, &wanted.collect::<Vec<_>>());
        }
        Ok(())
    }
}

impl Vault for MemoryStore {
    fn specification(&self, run: &RunId, read: ModelReader) -> Result<RunSpec, Fault> {
        let mut record = self.row(run)?.record;
        let group = |group: PersistedGroup| ProbeGroup {
            name: group.name,
            tensors: group.tensors.unwrap_or_default(),
        };
        let groups = std::mem::take(&mut record.groups).into_iter().map(group).collect();
        record.specification(groups, read)
    }

    fn idempotency(&self, run: &RunId) -> Result<IdempotencyRecord, Fault> {
        let mut idempotency = IdempotencyRecord::default();
        for AcceptedSnapshot { at, key, receipt } in self.row(run)?.accepted {
            idempotency.attempts.push(at);
            idempotency.receipts.extend(key.map(|(key, print)| (key, print, receipt)));
        }
        Ok(idempotency)
    }

    fn initialization(&self, run: &RunId, _: &dyn Layout) -> Result<Option<Arc<dyn ParameterSource>>, Fault> {
        Ok(self.row(run)?.initialization)
    }
}

#[derive(Default)]
struct MemoryPlace(Arc<Mutex<Disk>>);

impl StoreLocation for MemoryPlace {
    fn open(&self, retain: Option<Duration>) -> Arc<dyn EventStore> {
        Arc::new(MemoryStore {
            disk: self.0.clone(),
            retain,
            queue: Mutex::default(),
            bell: Condvar::new(),
            writer_progress: watch::Sender::default(),
            writer: Mutex::default(),
        })
    }

    fn killed(&self) -> Box<dyn StoreLocation> {
        Box::new(Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone()))))
    }
}

contract!(MemoryPlace::default());
