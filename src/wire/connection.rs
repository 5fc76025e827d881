//! A connection at work: what it has open, and when it is cut.
//!
//! Owns: the time that a connection may do nothing, or read nothing. May not touch: what goes over it.

use super::doors::{LogThrottle, Portion};
use crate::access::Peer;
use clino_domain::counters::{Counter, Counters};
use clino_domain::incident::Incident;
use clino_domain::metrics::Metric;
use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tonic::transport::server::Connected;

/// A connection without a call is closed after so long: clients open another when they need one.
const IDLE: Duration = Duration::from_secs(300);
/// One whose peer takes nothing of what is written to it is closed after so long.
const UNREAD: Duration = Duration::from_secs(30);

/// A connection, as its calls know it.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    /// The other end.
    pub peer: Peer,
    /// What it has open.
    pub usage: Arc<Usage>,
}

impl Default for Connection {
    fn default() -> Self {
        Self { peer: Peer::Unix { uid: None }, usage: Arc::default() }
    }
}

/// What a connection has open.
#[derive(Debug, Default)]
pub(super) struct Usage {
    calls: Mutex<Calls>,
    /// What it may send ahead.
    pub window: Mutex<WindowUse>,
}

#[derive(Debug, Default)]
struct Calls {
    open: usize,
    /// Of the last one.
    ended: Option<Instant>,
}

/// The window of a connection, which its uploads share.
#[derive(Debug, Default)]
pub(super) struct WindowUse {
    /// Uploads that are open.
    pub uploads: usize,
    /// What is taken for them.
    pub portion: Option<Portion>,
}

impl Usage {
    /// A call begins.
    pub fn begin(&self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).open += 1;
    }

    /// A call has ended.
    pub fn end(&self) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.open -= 1;
        calls.ended = Some(Instant::now());
    }

    /// Until when it may stay as it is; `None`: as long as it likes, for a call is open.
    fn idle_until(&self, began: Instant) -> Option<Instant> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        (calls.open == 0).then(|| calls.ended.unwrap_or(began) + IDLE)
    }
}

/// What tells that a connection was cut.
#[derive(Debug)]
pub(super) struct Cuts {
    counters: Arc<Counters>,
    lines: LogThrottle,
}

impl Cuts {
    /// Counted here.
    pub fn new(counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self { counters, lines: LogThrottle::default() })
    }

    fn tell(&self, what: &'static str, peer: &Peer) {
        self.counters.count(Counter::CallCut);
        self.counters.metrics.one(Metric::CallsCut, &[what]);
        let code = self.counters.note(Incident::CallTimedOut, &format!("a connection of {peer}: {what}"));
        if let Some(left_out) = self.lines.due() {
            tracing::info!(code, what, %peer, left_out, "a connection was closed");
        }
    }
}

/// A connection whose first bytes were looked at; they are read once more.
pub(super) struct Link<IO> {
    io: IO,
    connection: Connection,
    /// What was read of it, and is to be read again.
    ahead: &'static [u8],
    began: Instant,
    idle: Pin<Box<Sleep>>,
    /// Runs while the peer takes nothing.
    unread: Option<Pin<Box<Sleep>>>,
    cuts: Arc<Cuts>,
    _seat: Portion,
}

impl<IO> Link<IO> {
    /// A connection of `peer` that has sent `ahead`.
    pub fn new(io: IO, peer: Peer, ahead: &'static [u8], cuts: Arc<Cuts>, seat: Portion) -> Self {
        let began = Instant::now();
        let connection = Connection { peer, ..Connection::default() };
        let idle = Box::pin(sleep(IDLE));
        Self { io, connection, ahead, began, idle, unread: None, cuts, _seat: seat }
    }

    /// Ready when it was idle for too long.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.idle.as_mut().poll(context));
            match self.connection.usage.idle_until(self.began) {
                Some(until) if until <= Instant::now() => {
                    self.cuts.tell("idle", &self.connection.peer);
                    return Poll::Ready(());
                }
                until => self.idle = Box::pin(sleep_until(until.unwrap_or_else(|| Instant::now() + IDLE))),
            }
        }
    }

    /// What writing came to: an error when the peer has taken nothing for too long.
    fn watched<T>(&mut self, context: &mut Context<'_>, written: Poll<Result<T>>) -> Poll<Result<T>> {
        if written.is_ready() {
            self.unread = None;
            return written;
        }
        let unread = self.unread.get_or_insert_with(|| Box::pin(sleep(UNREAD)));
        ready!(unread.as_mut().poll(context));
        self.cuts.tell("unread", &self.connection.peer);
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<IO> Connected for Link<IO> {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Link<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if self.ahead.is_empty() {
            let read = Pin::new(&mut self.io).poll_read(context, buffer);
            if read.is_ready() {
                return read;
            }
            // As if the peer had ended it: HTTP/2 says goodbye.
            return self.poll_idle(context).map(Ok);
        }
        let count = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..count]);
        self.ahead = &self.ahead[count..];
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Link<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.watched(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.watched(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(context);
        self.watched(context, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, pieces);
        self.watched(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::doors::Pool;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    fn link(size: usize) -> (Link<DuplexStream>, DuplexStream) {
        let (io, other) = duplex(size);
        let peer = Peer::Unix { uid: None };
        let seat = Pool::new("connections", 1, 1).take(&peer.origin(), 1).unwrap();
        (Link::new(io, peer, b"ahead", Cuts::new(Arc::default()), seat), other)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_calls_ends_and_one_with_a_call_does_not() {
        let (mut link, mut other) = link(64);
        let connection = link.connect_info();
        other.write_all(b"+").await.unwrap();
        let mut read = [0; 6];
        link.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ahead+");
        connection.usage.begin();
        let mut end = [0];
        let long = tokio::time::timeout(IDLE * 10, link.read(&mut end)).await;
        assert!(long.is_err(), "a call is open");
        connection.usage.end();
        let left = Instant::now();
        assert_eq!(link.read(&mut end).await.unwrap(), 0);
        assert!(left.elapsed() >= IDLE && left.elapsed() < IDLE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_cut() {
        let (mut link, _other) = link(4);
        let error = link.write_all(b"more than there is room for").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
