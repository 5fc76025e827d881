//! The body of a call on its way in: how much of it is held, and for how long.
//!
//! Owns: what is counted while a message is collected. May not touch: what is in it.
//!
//! A call of one message holds its bytes until it is answered. An upload holds those of the message that is being collected: a
//! whole one is taken over by whoever reads it.

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
    received: u64,
    told: Received,
    /// Of a call of one message, which must have come by then.
    limit: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl MessageBody {
    /// A body that tells `told` what has come, and must be whole within `limit`.
    pub fn new(inner: Body, pass: Arc<Pass>, told: Received, limit: Option<Duration>) -> Self {
        let limit = limit.map(|limit| (limit, Box::pin(tokio::time::sleep(limit))));
        Self { inner, pass, framing: Framing::default(), received: 0, told, limit }
    }

    fn collect(&mut self, data: &[u8]) -> Result<(), Fault> {
        self.received += data.len() as u64;
        self.told.add(data.len() as u64);
        let unfinished = self.framing.advance(data);
        self.pass.hold(if self.limit.is_some() { self.received } else { unfinished })
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

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref()
                    && let Err(fault) = self.collect(data)
                {
                    self.pass.shed(&fault);
                    return Poll::Ready(Some(Err(fault.into())));
                }
                polled
            }
            Poll::Ready(_) => polled,
            Poll::Pending => match self.late(context) {
                Some(fault) => {
                    self.pass.cut("message", &fault);
                    Poll::Ready(Some(Err(fault.into())))
                }
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
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
