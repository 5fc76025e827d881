//! The body of a call on its way in: how much of it is held, and for how long.
//!
//! Owns: what is counted while a message is collected. May not touch: what is in it.
//!
//! A call of one message holds its bytes until it is answered, and is refused where there is no room for them. An upload
//! holds those of the message that is being collected: a whole one is taken over by whoever reads it. Where there is no room
//! it is not read for a while, so that HTTP/2 holds back its client.

use super::super::pace::Received;
use super::Pass;
use bytes::Bytes;
use clino_domain::{Fault, FaultKind};
use http_body::Frame;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

/// Flag and length of a message.
const HEADER: usize = 5;

/// Where in the messages of a stream it is.
#[derive(Debug, Default)]
struct Framing {
    header: [u8; HEADER],
    filled: usize,
    /// Bytes of the message that are to come, and that came.
    left: u64,
    collected: u64,
}

impl Framing {
    /// Goes on by these bytes; tells how many bytes of an unfinished message there are then.
    fn advance(&mut self, mut data: &[u8]) -> u64 {
        while !data.is_empty() {
            if self.filled < HEADER {
                let count = data.len().min(HEADER - self.filled);
                self.header[self.filled..self.filled + count].copy_from_slice(&data[..count]);
                self.filled += count;
                data = &data[count..];
                if self.filled == HEADER {
                    let [_, length @ ..] = self.header;
                    self.left = u32::from_be_bytes(length).into();
                    self.collected = 0;
                }
            } else {
                let count = data.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= count as u64;
                self.collected += count as u64;
                data = &data[count..];
            }
            if self.filled == HEADER && self.left == 0 {
                *self = Self::default();
            }
        }
        self.collected
    }
}

/// A body whose bytes are counted.
pub(super) struct MessageBody {
    inner: Body,
    pass: Arc<Pass>,
    framing: Framing,
    /// Bytes that came, and those that are to be held for them.
    received: u64,
    due: u64,
    told: Received,
    /// Of a call of one message, which must have come by then.
    limit: Option<(Duration, Pin<Box<Sleep>>)>,
    waiting: Option<Waiting>,
}

/// A piece of an upload for which there is no room yet.
struct Waiting {
    frame: Frame<Bytes>,
    limit: Pin<Box<Sleep>>,
}

type Polled = Poll<Option<Result<Frame<Bytes>, Status>>>;

impl MessageBody {
    /// A body that tells `told` what has come, and must be whole within `limit`; without one it is an upload.
    pub fn new(inner: Body, pass: Arc<Pass>, told: Received, limit: Option<Duration>) -> Self {
        let limit = limit.map(|limit| (limit, Box::pin(tokio::time::sleep(limit))));
        Self { inner, pass, framing: Framing::default(), received: 0, due: 0, told, limit, waiting: None }
    }

    fn count(&mut self, data: &[u8]) {
        self.received += data.len() as u64;
        self.told.add(data.len() as u64);
        let unfinished = self.framing.advance(data);
        self.due = if self.limit.is_some() { self.received } else { unfinished };
    }

    /// Hands on a piece of a call of one message, if there is room for it.
    fn hand_on(&self, frame: Frame<Bytes>) -> Polled {
        match self.pass.hold(self.due) {
            Ok(()) => Poll::Ready(Some(Ok(frame))),
            Err(fault) => {
                self.pass.shed(&fault);
                Poll::Ready(Some(Err(fault.into())))
            }
        }
    }

    /// The same of an upload, as soon as there is room.
    fn hand_on_upload(&mut self, mut waiting: Waiting, context: &mut Context<'_>) -> Polled {
        let fault = match self.pass.hold_upload(self.due, context) {
            Ok(()) => {
                self.told.go_on();
                return Poll::Ready(Some(Ok(waiting.frame)));
            }
            Err(fault) => fault,
        };
        self.told.hold_up();
        if waiting.limit.as_mut().poll(context).is_ready() {
            self.pass.shed(&fault);
            return Poll::Ready(Some(Err(fault.into())));
        }
        self.waiting = Some(waiting);
        Poll::Pending
    }

    fn late(&mut self, context: &mut Context<'_>) -> Option<Fault> {
        let (limit, sleep) = self.limit.as_mut()?;
        sleep.as_mut().poll(context).is_ready().then(|| {
            let received = self.received;
            let expected = format!("expected the whole message within {} s", limit.as_secs_f64());
            Fault::new(FaultKind::Deadline, format!("found {received} bytes, {expected}"))
        })
    }
}

impl http_body::Body for MessageBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        if let Some(waiting) = self.waiting.take() {
            return self.hand_on_upload(waiting, context);
        }
        let frame = match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Pending => {
                let Some(fault) = self.late(context) else { return Poll::Pending };
                self.pass.cut("message", &fault);
                return Poll::Ready(Some(Err(fault.into())));
            }
            ended => return ended,
        };
        match frame.data_ref() {
            None => return Poll::Ready(Some(Ok(frame))),
            Some(data) => self.count(data),
        }
        if self.limit.is_some() {
            return self.hand_on(frame);
        }
        let limit = Box::pin(tokio::time::sleep(self.pass.room()));
        self.hand_on_upload(Waiting { frame, limit }, context)
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unfinished_message_counts() {
        let message = |length: u32, data: &[u8]| [&[0][..], &length.to_be_bytes(), data].concat();
        let all = [message(3, b"abc"), message(0, b""), message(4, b"defg"), message(9, b"hi")].concat();
        for step in 1..all.len() {
            let mut framing = Framing::default();
            let held: Vec<u64> = all.chunks(step).map(|piece| framing.advance(piece)).collect();
            assert_eq!(held.last(), Some(&2), "{step}");
            assert!(held.iter().all(|held| *held < 4), "{held:?}");
        }
        assert_eq!(Framing::default().advance(&message(3, b"ab")), 2);
    }
}
