//! Answers on their way out: counted while they wait, given up when nobody reads them.
//!
//! Owns: the bytes of an answer until the connection takes them. May not touch: what it says.
//!
//! HTTP/2 takes the whole of what a body gives it, however small the peer's window is. So an answer is given in small pieces,
//! each when there is a window for it, and what is not yet given is counted here.

use super::Pass;
use bytes::Bytes;
use clino_domain::{Fault, FaultKind};
use http_body::Frame;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::AbortHandle;
use tonic::Status;
use tonic::codegen::http::HeaderMap;

/// Most bytes that are given at once: what every peer takes as one frame.
const PIECE: usize = 16 << 10;

/// What is left of an answer.
struct Held {
    data: Bytes,
    trailers: Option<HeaderMap>,
    /// Gives back what the call has taken.
    pass: Arc<Pass>,
}

/// The body of an answer that is whole.
pub(super) struct AnswerBody {
    held: Arc<Mutex<Option<Held>>>,
    patience: AbortHandle,
}

impl AnswerBody {
    /// An answer that may be left unread for `patience`.
    pub fn new(data: Bytes, trailers: Option<HeaderMap>, pass: Arc<Pass>, patience: Duration) -> Self {
        let bytes = data.len();
        let held = Arc::new(Mutex::new(Some(Held { data, trailers, pass })));
        let patience = tokio::spawn(give_up(held.clone(), bytes, patience)).abort_handle();
        Self { held, patience }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.patience.abort();
    }
}

/// Lets go of what nobody has read any of for so long. The stream itself learns of it when it wants the next piece.
async fn give_up(held: Arc<Mutex<Option<Held>>>, mut before: usize, patience: Duration) {
    loop {
        tokio::time::sleep(patience).await;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = held.as_ref().map(|held| held.data.len()) else { return };
        if left == before {
            if let Some(held) = held.take() {
                held.pass.cut("answer", &unread(patience));
            }
            return;
        }
        before = left;
    }
}

fn unread(patience: Duration) -> Fault {
    let message = format!("the client read nothing of the answer for {} s", patience.as_secs_f64());
    Fault::new(FaultKind::Deadline, message)
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut slot = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = slot.as_mut() else {
            let fault = Fault::new(FaultKind::Deadline, "the answer was not read in time");
            return Poll::Ready(Some(Err(fault.into())));
        };
        if !held.data.is_empty() {
            let count = held.data.len().min(PIECE);
            let piece = held.data.split_to(count);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        Poll::Ready(held.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}
