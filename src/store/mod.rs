//! Whatever happens in runs, kept before anybody is told: the trait of a store, and the words that it speaks in.
//!
//! Owns: what a store promises, and what it is given. May not touch: feeds, watchers and policies; how a store keeps things.
//!
//! `sqlite` is the one implementation. `contract` is what every implementation passes, and `memory` a small one that shows
//! that neither the trait nor the contract leans on SQLite.

#[cfg(test)]
pub(crate) mod contract;
mod disk;
#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod memory;
pub mod sqlite;
mod standing;

pub use disk::Watermark;
pub use standing::{Progress, Standing};

use clino_domain::counters::Counters;
use clino_domain::{
    Acceptance, Archive, Fault, PersistedRun, Report, RunId, RunRecord, Sequenced, SnapshotRef, Vault,
};
use std::fmt::{self, Debug};
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Maximum number of entries that wait for the writer; beyond it a store accepts nothing new. What was taken on before may still add its own,
/// which is bounded by the registry: nothing is dropped.
pub const CROWD: usize = 65_536;

/// Keeps what happens in runs, and reads it back.
///
/// What it is given are [entries](Entry). It keeps them in the order in which they are pushed, and promises of each:
///
/// - **Durable before told.** [`Entry::committed`] is called when the entry is durable and not before: from then on whatever
///   opens the store again has it, also after a kill -9. What was told can be read at once.
/// - **In order.** The calls come one after the other in the order of the pushes; [`WriterProgress::durable`] counts an entry after
///   its call. A call must not block, and may push.
/// - **Once.** An event is known by its run and its number. A transaction of which nobody knows whether it reached the disk
///   may be repeated, by the store or by a caller that pushes the same entries again in their order: rows are replaced, and counts
///   are as if they had come once. Of a run of an earlier process this holds once [`EventStore::runs`] has found it.
/// - **Nothing is dropped.** While it cannot be written, entries wait, [`WriterProgress::trouble`] says why, and
///   [`EventStore::room`] refuses what is new. What can never be kept, however often that is tried, is set aside: it is told
///   in its turn, it holds up nothing else, and [`EventStore::refusal`] tells it of a run or a snapshot.
/// - **Retention.** A run is removed with all that belongs to it once its last event is older than what the store was
///   opened with, and the [audience](Audience) has agreed. A run that has not ended is never removed.
///
/// How a store is opened, and what it is opened with, is its own affair. All of it but [`EventStore::push`],
/// [`EventStore::writer_progress`], [`EventStore::queued`], [`EventStore::room`], [`EventStore::refusal`], [`EventStore::release`] and
/// [`EventStore::close`] may read from disk: not for asynchronous threads. Faults of reading are
/// [`Unavailable`](clino_domain::FaultKind::Unavailable) when the store cannot be read now,
/// [`Internal`](clino_domain::FaultKind::Internal) when what it holds is damaged, and
/// [`NotFound`](clino_domain::FaultKind::NotFound) for a run or snapshot that it does not hold.
pub trait EventStore: Archive + Vault {
    /// Runs of earlier processes, oldest first: all that have not ended, and as many of the newest others as fit beside
    /// them into `most`. Called before anything of such a run is pushed.
    ///
    /// # Errors
    /// If it cannot be read.
    fn runs(&self, most: usize) -> Result<Vec<StoredRun>, Fault>;

    /// What the engine has done for each project within a time, oldest first.
    ///
    /// # Errors
    /// If it cannot be read.
    fn worked(&self, window: Duration) -> Result<Vec<Worked>, Fault>;

    /// Begins to write, on a thread of its own: what was pushed before waits for it. Numbers about the writing go to `counters`.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    fn start(self: Arc<Self>, audience: Weak<dyn Audience>, counters: Arc<Counters>) -> io::Result<()>;

    /// Takes an entry; never blocks. The opening of a run comes before all else of it.
    fn push(&self, entry: Entry);

    /// How far the writer is; changes after each transaction.
    fn writer_progress(&self) -> watch::Receiver<WriterProgress>;

    /// Entries that were ever pushed: what [`WriterProgress::durable`] comes to.
    fn queued(&self) -> u64;

    /// Whether more can be taken on.
    ///
    /// # Errors
    /// [`WriterProgress::trouble`]; [`Exhausted`](clino_domain::FaultKind::Exhausted) when more than [`CROWD`] entries wait.
    fn room(&self) -> Result<(), Fault>;

    /// Why a run, or a snapshot of it, was set aside: whichever has that id. The newest of each run are remembered.
    fn refusal(&self, run: &RunId, id: &str) -> Option<Fault>;

    /// Nothing more of a run will be pushed. What is kept of it stays, and can be read.
    fn release(&self, run: &RunId);

    /// No more comes; what is there is still written.
    fn close(&self);

    /// Closes it and waits until everything is written, or cannot be. False when that takes longer than `patience`.
    fn end(&self, patience: Duration) -> bool;

    /// Events of a run from a sequence number on, in order, up to a limit. A number that is missing was set aside.
    ///
    /// # Errors
    /// If it cannot be read.
    fn page(&self, run: &RunId, from: u64, most: usize) -> Result<Vec<Arc<Sequenced>>, Fault>;

    /// All that is kept of one snapshot.
    ///
    /// # Errors
    /// If it cannot be read.
    fn report(&self, run: &RunId, at: SnapshotRef) -> Result<Report, Fault>;
}

impl dyn EventStore {
    /// Waits until everything that was pushed so far is durable and told.
    ///
    /// # Errors
    /// [`WriterProgress::trouble`].
    pub async fn settled(&self) -> Result<(), Fault> {
        let due = self.queued();
        self.until(|writer_progress| writer_progress.durable >= due).await
    }

    /// Waits for something that the writer brings about. It is looked at after each transaction.
    ///
    /// # Errors
    /// [`WriterProgress::trouble`].
    pub async fn until(&self, done: impl Fn(&WriterProgress) -> bool) -> Result<(), Fault> {
        let mut writer_progress = self.writer_progress();
        let reached = writer_progress
            .wait_for(|writer_progress| done(writer_progress) || writer_progress.trouble.is_some())
            .await;
        let writer_progress = reached.map_err(|_| Fault::internal("the history's writer has stopped"))?;
        match &writer_progress.trouble {
            Some(fault) if !done(&writer_progress) => Err(fault.clone()),
            _ => Ok(()),
        }
    }
}

/// Whom a store asks and tells, beside the entries themselves.
pub trait Audience: Send + Sync {
    /// Whether everyone has forgotten a run that is too old, so that it may be removed.
    fn expire(&self, run: &RunId) -> bool;

    /// All entries of a transaction have been told.
    fn changed(&self);
}

/// How far a writer is.
#[derive(Debug, Clone, Default)]
pub struct WriterProgress {
    /// Of all entries that were ever pushed.
    pub durable: u64,
    /// Why it does not get on.
    pub trouble: Option<Fault>,
}

/// Called on the writer's thread once an entry is durable.
pub type Committed = Box<dyn FnOnce() + Send>;

/// Something that happened in a run, on its way to be kept.
pub struct Entry {
    /// The id of the run.
    pub run: RunId,
    /// What changed in the run.
    pub change: RunChange,
    /// When, in Unix seconds.
    pub at: f64,
    /// Called when the entry is durable.
    pub committed: Committed,
}

impl Entry {
    /// Something that happens now.
    pub fn new(run: RunId, change: RunChange, committed: Committed) -> Self {
        Self { run, change, at: now(), committed }
    }
}

impl Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, change, at, .. } = self;
        f.debug_struct("Entry")
            .field("run", run)
            .field("change", change)
            .field("at", at)
            .finish_non_exhaustive()
    }
}

/// What happened. Events of a run are numbered from 0 without holes by the caller.
#[derive(Debug)]
pub enum RunChange {
    /// A run that begins.
    Open(Box<RunRecord>),
    /// A snapshot was received, with its event.
    Accept(Box<Acceptance>, Arc<Sequenced>),
    /// Any other event of the run.
    Event(Arc<Sequenced>),
    /// A run takes no more snapshots.
    Close {
        /// Whether it may be opened again.
        resumable: bool,
    },
    /// It takes snapshots again.
    Reopen,
    /// Nothing that is kept: told in its turn.
    Mark,
}

impl RunChange {
    /// The numbered event in it.
    pub fn event(&self) -> Option<&Arc<Sequenced>> {
        match self {
            Self::Accept(_, event) | Self::Event(event) => Some(event),
            Self::Open(_) | Self::Close { .. } | Self::Reopen | Self::Mark => None,
        }
    }
}

/// A run as a process finds it.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// What the registry takes up.
    pub run: PersistedRun,
    /// Counts and latest results of the run.
    pub standing: Standing,
    /// Snapshots that were received and not measured.
    pub pending: Vec<SnapshotRef>,
    /// Whether its last event is there.
    pub ended: bool,
}

/// Seconds that the engine worked for a project, and how long ago that ended.
pub type Worked = (String, f64, Duration);

/// Unix time in seconds.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
