//! Events of a run across lost connections.
//!
//! Owns: where a reader is, and how long it waits for a daemon to come back. May not touch: what the events say.

use super::Run;
use clino_domain::{Event, Fault, FaultKind, Sequenced};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, timeout};
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
    /// The newest event closed the run: the last one, unless its trainer went on with it.
    closed: bool,
    /// Whether every event was delivered: nothing more follows.
    over: bool,
    patience: Duration,
    /// Since when nobody answers. Kept here and not in [`Follow::next`], so that cancelling that one does not start the
    /// patience anew.
    away: Option<Instant>,
    /// Before the next attempt.
    pause: Duration,
}

impl Follow {
    pub(super) fn new(run: Run, from: Option<u64>) -> Self {
        Self {
            run,
            from,
            events: None,
            closed: false,
            over: false,
            patience: PATIENCE,
            away: None,
            pause: FIRST_PAUSE,
        }
    }

    /// How long nobody may answer before [`Follow::next`] gives up; 30 seconds unless told. A daemon that falls silent in
    /// the middle of a stream is first noticed by the keepalive of the connection, within 50 seconds.
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
        if self.over {
            return Ok(None);
        }
        loop {
            let fault = match self.attempt().await {
                Ok(Some(event)) => {
                    self.pause = FIRST_PAUSE;
                    return Ok(Some(event));
                }
                // Behind the last event there is nothing to be missed, whatever ended the stream.
                Ok(None) | Err(_) if self.closed => {
                    self.over = true;
                    return Ok(None);
                }
                Ok(None) => Fault::new(FaultKind::Unavailable, "the daemon ended the stream"),
                Err(fault) if is_refusal(fault.kind) => return Err(fault),
                Err(fault) => fault,
            };
            self.events = None;
            self.wait(fault).await?;
        }
    }

    async fn attempt(&mut self) -> Result<Option<Sequenced>, Fault> {
        if self.events.is_none() {
            // A daemon that is stopped takes connections and says nothing.
            let left = self.patience.saturating_sub(self.away.get_or_insert_with(Instant::now).elapsed());
            let silence = |_| Err(Fault::new(FaultKind::Unavailable, "the daemon does not answer"));
            self.events = Some(timeout(left, self.connect()).await.unwrap_or_else(silence)?);
            self.away = None;
        }
        let Some(events) = &mut self.events else { return Ok(None) };
        let Some(event) = events.next().await.transpose()? else { return Ok(None) };
        self.closed = event.event == Event::Closed;
        if event.event == Event::Draining {
            self.events = None;
        } else {
            self.from = Some(event.sequence + 1);
        }
        Ok(Some(event))
    }

    async fn connect(&mut self) -> Result<Events, Fault> {
        if self.from.is_none() {
            // Pins down "now", so that a connection lost before the first event loses none.
            self.from = Some(self.run.summary().await?.next_sequence);
        }
        Ok(Box::pin(self.run.watch(self.from).await?))
    }

    /// Pauses before the next attempt, each time twice as long up to a limit.
    async fn wait(&mut self, fault: Fault) -> Result<(), Fault> {
        if self.away.get_or_insert_with(Instant::now).elapsed() >= self.patience {
            let waited = self.patience.as_secs_f64();
            let message = format!("{fault} (waited {waited} s for it to come back)");
            return Err(Fault { message, kind: FaultKind::Unavailable, ..fault });
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
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
