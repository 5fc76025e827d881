//! Durable history: what happens in runs, in one SQLite file, before anybody is told.
//!
//! Owns: the directory of `--data`, the queue before its one writer, and everything that is read back. May not touch: what
//! events mean; tensors never go into the database.
//!
//! Whoever makes something happen puts it into the queue and goes on. The writer's thread takes all that is there, makes
//! it durable in one transaction, and then tells watchers. So a sequence number that anybody has seen is never used again,
//! whatever becomes of the process.

mod database;
mod event;
mod exact;
mod folder;
mod insert;
mod kept;
mod load;
mod mark;
mod names;
mod private;
mod query;
mod read;
mod reader;
mod reading;
mod resume;
mod sheet;
mod space;
mod tensors;
mod trouble;
mod upkeep;
mod writer;

pub use database::schema;
pub use names::DATABASE;
pub use query::{COLUMNS, export, query, runs};
pub use sheet::{Cell, Csv, JsonLines, Kind, Parquet, Sheet};
pub use space::Watermark;

pub(super) use kept::Kept;
pub(super) use load::Loaded;
pub use load::Worked;
pub(super) use writer::start;

use super::feed::Feed;
use clino_domain::{
    Acceptance, Event, Fault, KeptRun, Reading, Report, RunRecord, Sequenced, SnapshotRef, Stretch,
};
use folder::Folder;
use reader::Readers;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use trouble::Trouble;

/// Beyond so many entries before the writer nothing new is taken on. What was taken on before may still add its own, which
/// is bounded by the registry: nothing is dropped.
const CROWD: usize = 65_536;
/// Events that a watcher reads back at once.
const PAGE: usize = 128;

/// A history that is open and locked, with the runs that it holds.
#[derive(Debug)]
pub struct History {
    pub(super) store: Arc<Store>,
    pub(super) connection: Connection,
    pub(super) loaded: Vec<Loaded>,
}

impl History {
    /// Opens the history in a directory, or begins one. Runs that ended are kept for `retain` (`None`: for ever); at most
    /// `most_runs` of them are taken up.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Exists`] when another daemon works there,
    /// [`clino_domain::FaultKind::Precondition`] when a newer clino has made it,
    /// [`clino_domain::FaultKind::Invalid`] when the directory cannot be used.
    pub fn open(directory: &Path, retain: Option<Duration>, most_runs: usize) -> Result<Self, Fault> {
        let folder = Folder::open(directory)?;
        if !folder.local {
            let data = directory.display();
            tracing::warn!(%data, "the history lies on a network: slower, and copies that are made while it runs are not sound");
        }
        let connection = database::open(&folder)?;
        let loaded = load::runs(&connection, most_runs).map_err(Trouble::reading)?;
        let readers = Readers::new(folder.database());
        let store = Store {
            folder,
            readers,
            retain,
            queue: Mutex::default(),
            bell: Condvar::new(),
            level: watch::Sender::default(),
        };
        Ok(Self { store: Arc::new(store), connection, loaded })
    }

    /// What the engine has done for each project within a time, oldest first.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Unavailable`] when it cannot be read.
    pub fn worked(&self, window: Duration) -> Result<Vec<Worked>, Fault> {
        load::worked(&self.connection, now(), window).map_err(Trouble::reading)
    }

    /// The runs of earlier processes, oldest first.
    pub fn runs(&self) -> Vec<KeptRun> {
        self.loaded.iter().map(|loaded| loaded.run.clone()).collect()
    }
}

/// What the hub, its watchers and the writer share.
#[derive(Debug)]
pub(super) struct Store {
    folder: Folder,
    readers: Readers,
    retain: Option<Duration>,
    queue: Mutex<Queue>,
    /// Rung when something is queued, or when no more comes.
    bell: Condvar,
    level: watch::Sender<Level>,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// Of all that ever were.
    queued: u64,
    closed: bool,
}

/// How far the writer is.
#[derive(Debug, Clone, Default)]
pub(super) struct Level {
    /// Of all entries that were ever queued.
    durable: u64,
    /// Why it does not get on.
    trouble: Option<Fault>,
}

/// Something that happened, on its way to the writer.
#[derive(Debug)]
pub(super) struct Entry {
    feed: Arc<Feed>,
    what: What,
    /// Unix time in seconds.
    at: f64,
    /// False for what the writer adds by itself.
    counted: bool,
}

/// What happened.
#[derive(Debug)]
pub(super) enum What {
    Open(Box<RunRecord>),
    Accept(Box<Acceptance>),
    Event(Event),
    Close {
        /// Whether it may be opened again.
        resumable: bool,
    },
    /// A run that was closed takes snapshots again.
    Reopen,
    /// The last event of a stream. It is not kept.
    Draining,
}

impl What {
    /// Whether nothing comes behind it.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Event(Event::Closed) | Self::Draining)
    }
}

/// Unix time in seconds.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

impl Entry {
    fn new(feed: Arc<Feed>, what: What, counted: bool) -> Self {
        Self { feed, what, at: now(), counted }
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts something into the queue; never blocks.
    pub fn push(&self, feed: Arc<Feed>, what: What) {
        let mut queue = self.lock();
        queue.queued += 1;
        queue.entries.push_back(Entry::new(feed, what, true));
        self.bell.notify_one();
    }

    /// No more comes; what is there is still written.
    pub fn close(&self) {
        self.lock().closed = true;
        self.bell.notify_one();
    }

    /// Whether more can be taken on.
    pub fn room(&self) -> Result<(), Fault> {
        if let Some(fault) = &self.level.borrow().trouble {
            return Err(fault.clone());
        }
        let waiting = self.lock().entries.len();
        if waiting > CROWD {
            let message = format!("{waiting} events wait to be written: the disk of the history is too slow");
            return Err(Fault::new(clino_domain::FaultKind::Exhausted, message));
        }
        Ok(())
    }

    /// Waits until everything that was pushed so far is durable.
    pub async fn settled(&self) -> Result<(), Fault> {
        let due = self.lock().queued;
        self.until(|level| level.durable >= due).await
    }

    /// Waits for something that the writer brings about. It is looked at after each transaction.
    pub async fn until(&self, done: impl Fn(&Level) -> bool) -> Result<(), Fault> {
        let mut level = self.level.subscribe();
        let reached = level.wait_for(|level| done(level) || level.trouble.is_some()).await;
        let level = reached.map_err(|_| Fault::internal("the history's writer has gone"))?;
        match &level.trouble {
            Some(fault) if !done(&level) => Err(fault.clone()),
            _ => Ok(()),
        }
    }

    /// Events of a run from a place on, at most a page of them.
    pub fn page(&self, kept: &Kept, from: u64) -> Result<Vec<Arc<Sequenced>>, Fault> {
        self.readers.with(|connection| read::page(connection, kept, from, PAGE))
    }

    /// All that is kept of one snapshot.
    pub fn report(&self, kept: &Kept, at: SnapshotRef) -> Result<Report, Fault> {
        self.readers.with(|connection| read::report(connection, kept, at))
    }

    /// Readings of some measures, snapshot by snapshot.
    pub fn recall(
        &self,
        kept: &Kept,
        measures: &[String],
        with: &mut dyn FnMut(SnapshotRef, &[&Reading]),
    ) -> Result<(), Fault> {
        self.readers.with(|connection| read::recall(connection, kept, measures, with))
    }

    /// The same of some steps.
    pub fn stretch(
        &self,
        kept: &Kept,
        measures: &[String],
        stretch: Stretch,
        with: &mut dyn FnMut(SnapshotRef, &[&Reading]),
    ) -> Result<(), Fault> {
        self.readers.with(|connection| read::stretch(connection, kept, measures, stretch, with))
    }
}

#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod stop_tests;
#[cfg(test)]
mod tests;
