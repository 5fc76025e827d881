//! The store in one SQLite file of a directory, with files of tensors beside it.
//!
//! Owns: the directory of `--data`, the queue before its one writer, and everything that is read back. May not touch: what
//! events mean; tensors never go into the database.
//!
//! Whoever makes something happen puts it into the queue and goes on. The writer's thread takes all that is there, makes
//! it durable in one transaction, and then tells the caller that pushed it. So a sequence number that anybody has seen is never used
//! again, whatever becomes of the process.

mod database;
mod errors;
mod event;
mod folder;
mod insert;
mod json;
mod load;
mod mark;
mod names;
mod notes;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "parquet_absent.rs"]
mod parquet;
mod private;
mod query;
mod queue;
mod read;
mod reader;
mod reading;
mod retention;
mod row_sink;
mod run_handle;
mod tensors;
mod writer;

pub use self::parquet::parquet;
pub use database::schema;
pub use names::DATABASE;
pub use query::{COLUMNS, export, query, runs};
pub use row_sink::{Cell, ColumnKind, Csv, JsonLines, RowSink};

use super::{Audience, CROWD, Entry, EventStore, StoredRun, Worked, WriterProgress, now};
use clino_domain::counters::Counters;
use clino_domain::graph::ModelReader;
use clino_domain::incident::Incident;
use clino_domain::{
    Archive, Fault, FaultKind, IdempotencyRecord, Layout, ParameterSource, PersistedGroup, ProbeGroup,
    Reading, Report, RunId, RunRecord, RunSpec, Sequenced, SnapshotRef, Stretch, Vault,
};
use errors::RowError;
use folder::Folder;
use queue::Queue;
use reader::Readers;
use run_handle::RunHandle;
use rusqlite::Connection;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tensors::TensorFile;
use tokio::sync::watch;

/// How often a writer that ends is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// A store that is open and locked.
#[derive(Debug)]
pub struct SqliteStore {
    folder: Folder,
    readers: Readers,
    retain: Option<Duration>,
    /// What is known of each run that is open here.
    handles: Mutex<HashMap<RunId, Arc<RunHandle>>>,
    queue: Mutex<Queue>,
    /// Rung when something is queued, or when no more comes.
    bell: Condvar,
    writer_progress: watch::Sender<WriterProgress>,
    /// Until the writer takes it.
    connection: Mutex<Option<Connection>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SqliteStore {
    /// Opens the store in a directory, or begins one. Runs that ended are kept for `retain` (`None`: forever).
    ///
    /// # Errors
    /// [`FaultKind::Exists`] when another daemon works there, [`FaultKind::Precondition`] when a newer clino has made it,
    /// [`FaultKind::Invalid`] when the directory cannot be used.
    pub fn open(directory: &Path, retain: Option<Duration>) -> Result<Arc<Self>, Fault> {
        let folder = Folder::open(directory)?;
        if !folder.local {
            let data = directory.display();
            let code = folder.notes.note(Incident::NetworkDisk, &data.to_string());
            tracing::warn!(code, %data, "the history is on a network file system: it is slower, and copies made \
                                        while the daemon runs are unreliable");
        }
        let connection = database::open(&folder)?;
        Ok(Arc::new(Self {
            readers: Readers::new(folder.database()),
            folder,
            retain,
            handles: Mutex::default(),
            queue: Mutex::default(),
            bell: Condvar::new(),
            writer_progress: watch::Sender::default(),
            connection: Mutex::new(Some(connection)),
            writer: Mutex::default(),
        }))
    }

    /// What is known of a run: here, or else in the database.
    fn handle(&self, run: &RunId) -> Result<Arc<RunHandle>, Fault> {
        let here = lock(&self.handles).get(run).cloned();
        let there = || {
            let found = self.readers.with(|connection| load::handle(connection, run))?;
            found.ok_or_else(Fault::unknown_run)
        };
        here.map_or_else(there, Ok)
    }

    /// Reads something of a run.
    fn read<T>(
        &self,
        run: &RunId,
        read: impl FnOnce(&Connection, &RunHandle) -> Result<T, RowError>,
    ) -> Result<T, Fault> {
        let handle = self.handle(run)?;
        self.readers.with(|connection| read(connection, &handle))
    }
}

impl EventStore for SqliteStore {
    fn runs(&self, most: usize) -> Result<Vec<StoredRun>, Fault> {
        let loaded = self.readers.with(|connection| load::runs(connection, most))?;
        let mut handles = lock(&self.handles);
        let take_up = |load::LoadedRun { stored, handle }| {
            handles.entry(stored.run.record.id.clone()).or_insert(handle);
            stored
        };
        Ok(loaded.into_iter().map(take_up).collect())
    }

    fn worked(&self, window: Duration) -> Result<Vec<Worked>, Fault> {
        self.readers.with(|connection| load::worked(connection, now(), window))
    }

    fn start(self: Arc<Self>, audience: Weak<dyn Audience>, counters: Arc<Counters>) -> io::Result<()> {
        self.folder.notes.begin(&counters);
        let connection = lock(&self.connection).take();
        let writer = writer::start(self.clone(), connection, audience, counters)?;
        *lock(&self.writer) = Some(writer);
        Ok(())
    }

    fn push(&self, entry: Entry) {
        let handle = RunHandle::of(&entry, &mut lock(&self.handles));
        lock(&self.queue).push(entry, handle);
        self.bell.notify_one();
    }

    fn writer_progress(&self) -> watch::Receiver<WriterProgress> {
        self.writer_progress.subscribe()
    }

    fn queued(&self) -> u64 {
        lock(&self.queue).queued()
    }

    fn room(&self) -> Result<(), Fault> {
        if let Some(fault) = &self.writer_progress.borrow().trouble {
            return Err(fault.clone());
        }
        let waiting = lock(&self.queue).waiting();
        if waiting > CROWD {
            let message =
                format!("{waiting} events are waiting to be written: the history's disk is too slow");
            return Err(Fault::new(FaultKind::Exhausted, message));
        }
        Ok(())
    }

    fn refusal(&self, run: &RunId, id: &str) -> Option<Fault> {
        lock(&self.handles).get(run)?.refusal(id)
    }

    fn release(&self, run: &RunId) {
        lock(&self.handles).remove(run);
    }

    fn close(&self) {
        lock(&self.queue).close();
        self.bell.notify_one();
    }

    fn end(&self, patience: Duration) -> bool {
        self.close();
        let Some(writer) = lock(&self.writer).take() else { return true };
        let deadline = Instant::now() + patience;
        while !writer.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        writer.join().is_ok()
    }

    fn page(&self, run: &RunId, from: u64, most: usize) -> Result<Vec<Arc<Sequenced>>, Fault> {
        self.read(run, |connection, handle| read::page(connection, handle, from, most))
    }

    fn report(&self, run: &RunId, at: SnapshotRef) -> Result<Report, Fault> {
        self.read(run, |connection, handle| read::report(connection, handle, at))
    }
}

impl Archive for SqliteStore {
    fn recall(
        &self,
        run: &RunId,
        measures: &[String],
        stretch: Option<Stretch>,
        with: &mut dyn FnMut(SnapshotRef, &[&Reading]),
    ) -> Result<(), Fault> {
        self.read(run, |connection, handle| match stretch {
            None => read::recall(connection, handle, measures, with),
            Some(stretch) => read::stretch(connection, handle, measures, stretch, with),
        })
    }
}

impl Vault for SqliteStore {
    fn specification(&self, run: &RunId, read: ModelReader) -> Result<RunSpec, Fault> {
        let mut record: RunRecord = self.readers.with(|connection| load::whole_record(connection, run))?;
        let group = |PersistedGroup { name, digest, .. }: PersistedGroup| {
            let tensors = Arc::new(TensorFile::open(&self.folder.probe(&digest))?.tensors()?);
            Ok(ProbeGroup { name, tensors })
        };
        let groups = std::mem::take(&mut record.groups).into_iter().map(group);
        let groups = groups.collect::<Result<_, Fault>>()?;
        record.specification(groups, read)
    }

    fn idempotency(&self, run: &RunId) -> Result<IdempotencyRecord, Fault> {
        self.read(run, load::idempotency)
    }

    fn initialization(
        &self,
        run: &RunId,
        layout: &dyn Layout,
    ) -> Result<Option<Arc<dyn ParameterSource>>, Fault> {
        let file = self.read(run, load::initialization)?;
        let open = |digest: String| TensorFile::open(&self.folder.snapshot(&digest))?.parameters(layout);
        file.map(open).transpose()
    }
}

#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod tests;
