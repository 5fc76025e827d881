//! Events of a run across lost connections.
//!
//! Owns: where a reader is, and how long it waits for a daemon to come back. May not touch: what the events say.

use super::Run;
use crate::domain::{Event, Fault, FaultKind, Sequenced};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a daemon may be away.
const PATIENCE: Duration = Duration::from_secs(30);

type Events = Pin<Box<dyn Stream<Item = Result<Sequenced, Fault>> + Send>>;

/// A reader of a run's events that takes up where it was after a connection is lost.
pub struct Follow {
    run: Run,
    from: Option<u64>,
    events: Option<Events>,
    closed: bool,
    patience: Duration,
    /// Kept here and not in [`Follow::next`], so that cancelling that one does not start the patience anew.
    absence: Option<Absence>,
}

impl Follow {
    pub(super) fn new(run: Run, from: Option<u64>) -> Self {
        Self { run, from, events: None, closed: false, patience: PATIENCE, absence: None }
    }

    /// How long the daemon may be away before [`Follow::next`] gives up; 30 seconds unless told.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The next event, waiting for it; `None` once the run is closed and all is told. Safe to cancel.
    ///
    /// # Errors
    /// What the daemon answers when it is there, such as [`FaultKind::NotFound`] from one that was restarted;
    /// [`FaultKind::Unavailable`] when it was away for too long.
    pub async fn next(&mut self) -> Result<Option<Sequenced>, Fault> {
        if self.closed {
            return Ok(None);
        }
        loop {
            let fault = match self.attempt().await {
                Ok(Some(event)) => {
                    self.absence = None;
                    return Ok(Some(event));
                }
                Ok(None) => Fault::new(FaultKind::Unavailable, "the daemon ended the stream"),
                Err(fault) if is_refusal(fault.kind) => return Err(fault),
                Err(fault) => fault,
            };
            self.events = None;
            let patience = self.patience;
            self.absence.get_or_insert_with(|| Absence::new(patience)).wait(fault).await?;
        }
    }

    async fn attempt(&mut self) -> Result<Option<Sequenced>, Fault> {
        if self.events.is_none() {
            if self.from.is_none() {
                // Pins down "now", so that a connection lost before the first event loses none.
                self.from = Some(self.run.summary().await?.next_sequence);
            }
            self.events = Some(Box::pin(self.run.watch(self.from).await?));
        }
        let Some(events) = &mut self.events else { return Ok(None) };
        let Some(event) = events.next().await.transpose()? else { return Ok(None) };
        match event.event {
            Event::Closed => self.closed = true,
            Event::Draining => self.events = None,
            _ => self.from = Some(event.sequence + 1),
        }
        Ok(Some(event))
    }
}

/// Whether the daemon is there and says no, so that asking again is of no use.
pub(super) fn is_refusal(kind: FaultKind) -> bool {
    use FaultKind::{DataLoss, Denied, Exists, Invalid, NotFound, OutOfRange, Precondition, Unauthenticated};
    matches!(
        kind,
        Invalid | NotFound | Exists | Precondition | OutOfRange | DataLoss | Unauthenticated | Denied
    )
}

/// Pauses between attempts, each twice the one before, up to a limit in all.
struct Absence {
    since: Instant,
    pause: Duration,
    patience: Duration,
}

impl Absence {
    fn new(patience: Duration) -> Self {
        Self { since: Instant::now(), pause: FIRST_PAUSE, patience }
    }

    async fn wait(&mut self, fault: Fault) -> Result<(), Fault> {
        if self.since.elapsed() >= self.patience {
            let waited = self.patience.as_secs_f64();
            let message = format!("{fault} (waited {waited} s for it to come back)");
            return Err(Fault { message, kind: FaultKind::Unavailable, ..fault });
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}
