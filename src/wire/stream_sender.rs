//! The way of a run's events into one stream, for as long as its reader may see them and reads.
//!
//! Owns: how many wait, when a reader is cut. May not touch: what the events say.
//!
//! Few items wait; when they do, the cursor rests, and what a slow reader misses in the log is told by a gap. One that
//! reads nothing for too long is cut, and told where to go on.

use super::access::AccessGuard;
use crate::publish::Watcher;
use clino_domain::status::with_resume;
use clino_domain::{Fault, FaultKind, Sequenced};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{OwnedPermit, Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Items on their way into one stream.
const IN_FLIGHT: usize = 16;

/// What a client reads.
pub(super) type OutgoingStream<T> = ReceiverStream<Result<T, Status>>;

/// The daemon's end of a stream.
pub(super) struct StreamSender<T> {
    sender: Sender<Result<T, Status>>,
    /// A place that is kept for the last word to a reader that has filled all others.
    last: Option<OwnedPermit<Result<T, Status>>>,
    guard: AccessGuard,
    patience: Duration,
}

impl<T: Send + 'static> StreamSender<T> {
    /// A stream whose reader may leave it unread for `patience`.
    pub fn new(guard: AccessGuard, patience: Duration) -> (Self, OutgoingStream<T>) {
        let (sender, receiver) = channel(IN_FLIGHT + 1);
        let last = sender.clone().try_reserve_owned().ok();
        (Self { sender, last, guard, patience }, ReceiverStream::new(receiver))
    }

    /// The next event; `None` at the end of the run and of the daemon, when the reader has gone, and when it may not see
    /// the run any more, which it is told.
    pub async fn next(&mut self, watcher: &mut Watcher) -> Option<Arc<Sequenced>> {
        tokio::select! {
            event = watcher.next() => event,
            () = self.sender.closed() => None,
            fault = self.guard.over() => {
                self.end(fault.into());
                None
            }
        }
    }

    /// Sends an item, after which a reader would go on at `resume`; false when there is nobody to send to any more.
    pub async fn send(&mut self, item: T, resume: u64) -> bool {
        match tokio::time::timeout(self.patience, self.sender.send(Ok(item))).await {
            Ok(sent) => sent.is_ok(),
            Err(_) => {
                let message = format!("the client read nothing for {} s", self.patience.as_secs_f64());
                // What was not sent is not lost: it is where to go on.
                let resume = resume.saturating_sub(1);
                tracing::info!(resume, "a reader that does not read is cut");
                self.end(with_resume(&Fault::new(FaultKind::Exhausted, message), resume));
                false
            }
        }
    }

    /// Ends the stream with this status.
    fn end(&mut self, status: Status) {
        if let Some(last) = self.last.take() {
            last.send(Err(status));
        }
    }
}
