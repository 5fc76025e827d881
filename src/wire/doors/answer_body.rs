//! Answers on their way out: counted while they wait, given up when nobody reads them.
//!
//! Owns: the bytes of an answer until the connection takes them. May not touch: what it says.
//!
//! HTTP/2 takes the whole of what a body gives it, however small the peer's window is. So an answer is given in small pieces,
//! each when there is a window for it, and what is not yet given is counted here.

use super::{Pass, Portion};
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

/// An answer on its way, or what the connection still has of one that was given up: a piece, which is counted until the
/// stream ends.
enum Way {
    Goes(Held),
    GivenUp { _piece: Option<Portion> },
}

/// The body of an answer that is whole.
pub(super) struct AnswerBody {
    way: Arc<Mutex<Way>>,
    patience: AbortHandle,
}

impl AnswerBody {
    /// An answer that may be left unread for `patience`.
    pub fn new(data: Bytes, trailers: Option<HeaderMap>, pass: Arc<Pass>, patience: Duration) -> Self {
        // The connection takes a first piece at once, whether or not there is a window for it.
        let before = data.len().checked_sub(PIECE).filter(|left| *left > 0).unwrap_or(data.len());
        let way = Arc::new(Mutex::new(Way::Goes(Held { data, trailers, pass })));
        let patience = tokio::spawn(give_up(way.clone(), before, patience)).abort_handle();
        Self { way, patience }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.patience.abort();
    }
}

/// Lets go of what nobody has read any of for so long. The stream itself learns of it when it wants the next piece.
async fn give_up(way: Arc<Mutex<Way>>, mut before: usize, patience: Duration) {
    loop {
        tokio::time::sleep(patience).await;
        let mut way = way.lock().unwrap_or_else(PoisonError::into_inner);
        let Way::Goes(held) = &*way else { return };
        let left = held.data.len();
        if left == before {
            let pass = held.pass.clone();
            *way = Way::GivenUp { _piece: pass.leave(PIECE as u64) };
            pass.cut("answer", &unread(patience));
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
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        let Way::Goes(held) = &mut *way else {
            let fault = Fault::new(FaultKind::Deadline, "the answer was not read in time");
            return Poll::Ready(Some(Err(fault.into())));
        };
        if !held.data.is_empty() {
            let count = held.data.len().min(PIECE);
            // A copy: a part would keep all of the answer as long as the connection has it.
            let piece = Bytes::copy_from_slice(&held.data.split_to(count));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        Poll::Ready(held.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}
