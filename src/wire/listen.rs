//! Connections before they are served: accepted, secured, and known to speak HTTP/2.
//!
//! Owns: how many there may be, and how long one may take to begin. May not touch: requests.

use super::tls::{Certificates, read_certificate};
use crate::access::Peer;
use clino_domain::counters::{Counter, Counters};
use clino_domain::incident::Incident;
use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// What every HTTP/2 client sends first, before it waits for anything.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Connections that have begun at once; more are closed.
const BEGINNING: usize = 1_024;
/// Connections on their way to the server, which takes them at once.
const READY: usize = 16;
/// Pause after the system refused a connection, as it does without file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Limits that all listeners share.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    seats: Arc<Semaphore>,
    beginning: Arc<Semaphore>,
    patience: Duration,
    counters: Arc<Counters>,
}

impl ConnectionLimits {
    /// Accepts up to a number of connections, each of which must begin to speak within `patience`.
    pub fn new(connections: usize, patience: Duration, counters: Arc<Counters>) -> Self {
        let seats = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self { seats: seats(connections), beginning: seats(BEGINNING), patience, counters }
    }
}

/// A listener, and what its connections go through before HTTP/2.
pub(super) trait Acceptor: Send + Sync + 'static {
    type Raw: Send;
    type IO: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    fn accept(&self) -> impl Future<Output = Result<Self::Raw>> + Send;
    fn greet(&self, raw: Self::Raw) -> impl Future<Output = Result<(Self::IO, Peer)>> + Send;
}

/// A TCP listener without TLS.
pub(super) struct Plain(pub TcpListener);

impl Acceptor for Plain {
    type Raw = TcpStream;
    type IO = TcpStream;

    async fn accept(&self) -> Result<TcpStream> {
        Ok(self.0.accept().await?.0)
    }

    async fn greet(&self, stream: TcpStream) -> Result<(TcpStream, Peer)> {
        stream.set_nodelay(true)?;
        let peer = Peer::Tcp(stream.peer_addr()?);
        Ok((stream, peer))
    }
}

/// A TCP listener with TLS, and its certificates.
pub(super) struct Secured(pub TcpListener, pub Arc<Certificates>);

impl Acceptor for Secured {
    type Raw = TcpStream;
    type IO = TlsStream<TcpStream>;

    async fn accept(&self) -> Result<TcpStream> {
        Ok(self.0.accept().await?.0)
    }

    async fn greet(&self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, Peer)> {
        stream.set_nodelay(true)?;
        let address = stream.peer_addr()?;
        let stream = self.1.acceptor().accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = read_certificate(chain).map(Arc::new);
        Ok((stream, Peer::Tls { address, certificate }))
    }
}

/// A listener on a unix socket.
pub(super) struct Local(pub UnixListener);

impl Acceptor for Local {
    type Raw = UnixStream;
    type IO = UnixStream;

    async fn accept(&self) -> Result<UnixStream> {
        Ok(self.0.accept().await?.0)
    }

    async fn greet(&self, stream: UnixStream) -> Result<(UnixStream, Peer)> {
        let uid = stream.peer_cred().ok().map(|who| who.uid());
        Ok((stream, Peer::Unix { uid }))
    }
}

/// Connections that begin to speak HTTP/2, until `ending`.
pub(super) fn receive<D: Acceptor>(
    acceptor: D,
    limits: ConnectionLimits,
    ending: CancellationToken,
) -> ReceiverStream<Result<Link<D::IO>>> {
    let (sender, receiver) = channel(READY);
    let acceptor = Arc::new(acceptor);
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = acceptor.accept() => accepted,
                () = ending.cancelled() => return,
            };
            match accepted {
                Ok(raw) => admit(&acceptor, &limits, raw, &sender),
                Err(error) => {
                    let code = limits.counters.note(Incident::ListenerFailed, &error.to_string());
                    tracing::warn!(code, %error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Greets a connection on the side: one that is slow holds up no other.
fn admit<D: Acceptor>(
    acceptor: &Arc<D>,
    limits: &ConnectionLimits,
    raw: D::Raw,
    ready: &Sender<Result<Link<D::IO>>>,
) {
    let seats = limits.seats.clone().try_acquire_owned().ok();
    let Some((seat, turn)) = seats.zip(limits.beginning.clone().try_acquire_owned().ok()) else {
        limits.counters.count(Counter::ConnectionRefused);
        let code = limits.counters.note(Incident::ConnectionRefused, "there are too many");
        tracing::debug!(code, "a connection is closed: there are too many");
        return;
    };
    let acceptor = acceptor.clone();
    let ready = ready.clone();
    let patience = limits.patience;
    let counters = limits.counters.clone();
    let greeting = door_greeting(acceptor, raw, seat);
    tokio::spawn(async move {
        let greeted = tokio::time::timeout(patience, greeting).await;
        drop(turn);
        let why = match greeted {
            Ok(Ok(link)) => return drop(ready.send(Ok(link)).await),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it did not begin within {} s", patience.as_secs_f64()),
        };
        counters.count(Counter::ConnectionRefused);
        let code = counters.note(Incident::ConnectionRefused, &why);
        tracing::debug!(code, why, "a connection is closed");
    });
}

async fn door_greeting<D: Acceptor>(
    acceptor: Arc<D>,
    raw: D::Raw,
    seat: OwnedSemaphorePermit,
) -> Result<Link<D::IO>> {
    let (mut io, peer) = acceptor.greet(raw).await?;
    let mut ahead = [0; PREFACE.len()];
    let mut found = 0;
    while found < ahead.len() {
        match io.read(&mut ahead[found..]).await? {
            0 => return Err(Error::new(ErrorKind::UnexpectedEof, "it ended before it began")),
            more => found += more,
        }
        if ahead[..found] != PREFACE[..found] {
            return Err(Error::new(ErrorKind::InvalidData, "it does not speak HTTP/2"));
        }
    }
    Ok(Link { io, peer, given: 0, _seat: seat })
}

/// A connection whose first bytes were looked at; they are read once more.
pub(super) struct Link<IO> {
    io: IO,
    peer: Peer,
    /// Bytes of the preface that were read again.
    given: usize,
    _seat: OwnedSemaphorePermit,
}

impl<IO> Connected for Link<IO> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Link<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let ahead = &PREFACE[self.given..];
        if ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let count = ahead.len().min(buffer.remaining());
        buffer.put_slice(&ahead[..count]);
        self.given += count;
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Link<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
