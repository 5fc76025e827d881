//! Connections before they are served: accepted, secured, and known to speak HTTP/2.
//!
//! Owns: how many there may be, and how long one may take to begin. May not touch: requests.

use super::connection::{Cuts, Link};
use super::doors::{LogThrottle, Pool, Portion};
use super::tls::{Certificates, read_certificate};
use crate::access::{Origin, Peer};
use clino_domain::counters::{Counter, Counters};
use clino_domain::incident::Incident;
use clino_domain::metrics::Metric;
use std::future::Future;
use std::io::{Error, ErrorKind, Result, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Sender, channel};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// What every HTTP/2 client sends first, before it waits for anything.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Connections that have begun at once; more are closed.
const BEGINNING: usize = 1_024;
/// Connections on their way to the server, which takes them at once.
const READY: usize = 16;
/// Pause after the system refused a connection, as it does without file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// So many connections any peer may have.
const ANY_PEER: u64 = 16;

/// Limits that all listeners share.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    seats: Arc<Pool>,
    beginning: Arc<Semaphore>,
    patience: Duration,
    counters: Arc<Counters>,
    cuts: Arc<Cuts>,
    refused: Arc<LogThrottle>,
}

impl ConnectionLimits {
    /// Accepts up to a number of connections, each of which must begin to speak within `patience`.
    pub fn new(connections: usize, patience: Duration, counters: Arc<Counters>) -> Self {
        let beginning = Arc::new(Semaphore::new(BEGINNING));
        let seats = Pool::new("connections", connections as u64, ANY_PEER);
        let cuts = Cuts::new(counters.clone());
        Self { seats, beginning, patience, counters, cuts, refused: Arc::default() }
    }

    fn tell_refused(&self, why: &str) {
        self.counters.count(Counter::ConnectionRefused);
        self.counters.metrics.one(Metric::ConnectionsRefused, &[]);
        let code = self.counters.note(Incident::ConnectionRefused, why);
        if let Some(left_out) = self.refused.due() {
            tracing::info!(code, why, left_out, "a connection is closed");
        }
    }
}

/// What somebody is told for whom there is no room, in HTTP/2: settings, and GOAWAY with ENHANCE_YOUR_CALM. gRPC's clients
/// make UNAVAILABLE of it, and try again later.
const TURNED_AWAY: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x1c\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0btoo many connections";

/// A listener, and what its connections go through before HTTP/2.
pub(super) trait Acceptor: Send + Sync + 'static {
    type Raw: Send;
    type IO: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    fn accept(&self) -> impl Future<Output = Result<Self::Raw>> + Send;
    /// Whose limits count, as far as that is known before it is greeted.
    fn origin(raw: &Self::Raw) -> Origin;
    /// Tells that there is no room, where that takes no time.
    fn turn_away(raw: Self::Raw);
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

    fn origin(raw: &TcpStream) -> Origin {
        address_of(raw)
    }

    fn turn_away(raw: TcpStream) {
        let _ = raw.into_std().and_then(|mut stream| stream.write_all(TURNED_AWAY));
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

    fn origin(raw: &TcpStream) -> Origin {
        address_of(raw)
    }

    fn turn_away(raw: TcpStream) {
        // TLS would have to be agreed on first.
        drop(raw);
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

    fn origin(raw: &UnixStream) -> Origin {
        Peer::Unix { uid: uid_of(raw) }.origin()
    }

    fn turn_away(raw: UnixStream) {
        let _ = raw.into_std().and_then(|mut stream| stream.write_all(TURNED_AWAY));
    }

    async fn greet(&self, stream: UnixStream) -> Result<(UnixStream, Peer)> {
        let uid = uid_of(&stream);
        Ok((stream, Peer::Unix { uid }))
    }
}

fn uid_of(stream: &UnixStream) -> Option<u32> {
    stream.peer_cred().ok().map(|who| who.uid())
}

fn address_of(stream: &TcpStream) -> Origin {
    stream.peer_addr().map_or(Origin::Local, |address| Origin::Address(address.ip()))
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
    let seat = match limits.seats.take(&D::origin(&raw), 1) {
        Ok(seat) => seat,
        Err(fault) => {
            limits.tell_refused(&fault.message);
            return D::turn_away(raw);
        }
    };
    let Ok(turn) = limits.beginning.clone().try_acquire_owned() else {
        limits.tell_refused("too many connections begin at once");
        return D::turn_away(raw);
    };
    let acceptor = acceptor.clone();
    let ready = ready.clone();
    let limits = limits.clone();
    let greeting = door_greeting(acceptor, raw, seat, limits.cuts.clone());
    tokio::spawn(async move {
        let greeted = tokio::time::timeout(limits.patience, greeting).await;
        drop(turn);
        let why = match greeted {
            Ok(Ok(link)) => return drop(ready.send(Ok(link)).await),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it did not begin within {} s", limits.patience.as_secs_f64()),
        };
        limits.tell_refused(&why);
    });
}

async fn door_greeting<D: Acceptor>(
    acceptor: Arc<D>,
    raw: D::Raw,
    seat: Portion,
    cuts: Arc<Cuts>,
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
    Ok(Link::new(io, peer, PREFACE, cuts, seat))
}
