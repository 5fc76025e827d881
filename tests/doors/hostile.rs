//! Peers that do what no client of gRPC does.

use bytes::Bytes;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use std::io::{Read, Write};
use std::net::TcpStream as Blocking;
use std::time::Duration;
use tokio::net::TcpStream;
use tonic::Status;
use tonic::codegen::http::{HeaderMap, Request};

use crate::common::{Daemon, PATIENCE};

/// A connection on which streams are sent as the test likes.
pub struct Peer {
    send: SendRequest<Bytes>,
    _connection: tokio::task::JoinHandle<()>,
}

/// A call that was begun.
pub struct Call {
    answer: ResponseFuture,
    pub body: SendStream<Bytes>,
}

impl Peer {
    /// A peer that offers windows of `window` bytes for answers.
    pub async fn connect(daemon: &Daemon, window: u32) -> Self {
        let stream = TcpStream::connect(daemon.http.split("://").nth(1).unwrap()).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window);
        let (send, connection) = builder.handshake(stream).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        Self { send, _connection: connection }
    }

    /// Sends the headers of a call, and nothing else.
    pub async fn call(&mut self, path: &str, token: Option<&str>) -> Call {
        let mut request = Request::post(format!("http://localhost{path}"));
        request = request.header("content-type", "application/grpc").header("te", "trailers");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut ready = self.send.clone().ready().await.unwrap();
        let (answer, body) = ready.send_request(request.body(()).unwrap(), false).unwrap();
        Call { answer, body }
    }

    /// A whole call without a field.
    pub async fn ask(&mut self, path: &str) -> Call {
        let mut call = self.call(path, None).await;
        call.body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
        call
    }
}

impl Call {
    /// Sends what there is a window for of a message of `length` bytes, of which the last never comes.
    pub async fn begin(&mut self, length: u32) {
        let mut message = vec![0];
        message.extend(length.to_be_bytes());
        message.push(0x1a);
        message.resize(length as usize + 4, b'x');
        let mut rest = Bytes::from(message);
        while !rest.is_empty() {
            self.body.reserve_capacity(rest.len().min(1 << 16));
            let capacity = std::future::poll_fn(|context| self.body.poll_capacity(context));
            let Some(Ok(capacity)) = capacity.await else { return };
            if self.body.send_data(rest.split_to(capacity.min(rest.len())), false).is_err() {
                return;
            }
        }
    }

    /// The headers of the answer; an error when the stream was reset. The stream ends.
    pub async fn head(self) -> Result<HeaderMap, h2::Error> {
        self.answer().await.map(|(head, _)| head)
    }

    /// The headers of the answer and its body, which is open for as long as it is kept.
    pub async fn answer(self) -> Result<(HeaderMap, h2::RecvStream), h2::Error> {
        let answer = tokio::time::timeout(PATIENCE, self.answer).await.expect("an answer");
        answer.map(|answer| {
            let (parts, body) = answer.into_parts();
            (parts.headers, body)
        })
    }

    /// The status that the headers of the answer have: that of a call that failed.
    pub async fn status(self) -> Status {
        let head = self.head().await.unwrap();
        Status::from_header_map(&head).expect("a status among the headers")
    }
}

/// A frame of HTTP/2.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of a call.
pub fn headers(path: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
    ];
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0x10], text(name), text(value)].concat()).collect()
}

/// A socket on which HTTP/2 has begun.
pub fn raw(daemon: &Daemon) -> Blocking {
    let mut stream = Blocking::connect(daemon.http.split("://").nth(1).unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let start = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat();
    stream.write_all(&start).unwrap();
    stream
}

/// Sends frames until the daemon ends the connection, which it must before there were `most` rounds.
pub fn flood(daemon: &Daemon, most: usize, mut round: impl FnMut(usize) -> Vec<u8>) {
    let mut stream = raw(daemon);
    let mut read = vec![0; 1 << 16];
    for number in 0..most {
        let gone = stream.write_all(&round(number)).is_err();
        if gone || matches!(stream.read(&mut read), Ok(0)) {
            return;
        }
        // Reset by the daemon, or nothing to read at the moment.
        if stream.take_error().unwrap().is_some() {
            return;
        }
    }
    panic!("the connection is still open after {most} rounds");
}
