//! Connections of the HTTP port: few, short, and none of them able to keep out a probe.
//!
//! Owns: these bounds. May not touch: what is asked.
//!
//! A connection is there for one request. Where there are too many, the oldest that has not asked anything yet is cut: whoever asks
//! at once is answered, however many others are half open.

use super::host::Hosts;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use clino_domain::counters::Counters;
use clino_domain::incident::Incident;
use clino_domain::metrics::Metric;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tower::ServiceExt;

/// Most connections: so many that others cannot come between a probe and its request.
const MOST: usize = 256;
/// How long a request may take to come …
const HEADERS: Duration = Duration::from_secs(5);
/// … and it and its answer together.
const WHOLE: Duration = Duration::from_secs(30);
/// Most bytes of a request's headers.
const HEADER_BYTES: usize = 16 << 10;
/// Pause after the system refused a connection, as it does without file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
#[derive(Clone)]
pub(super) struct Port {
    pub router: Router,
    pub hosts: Arc<Hosts>,
    pub counters: Arc<Counters>,
}

/// A connection that is served.
struct Open {
    asked: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Port {
    /// Serves all that comes, for ever. Dropping it leaves the connections to their runtime.
    pub async fn serve(self, listener: TcpListener) {
        let mut open: VecDeque<Open> = VecDeque::with_capacity(MOST + 1);
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    let code = self.counters.note(Incident::ConnectionRefused, &format!("--http: {error}"));
                    tracing::warn!(code, %error, "a connection to the HTTP port could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            open.retain(|one| !one.task.is_finished());
            if open.len() >= MOST {
                self.make_room(&mut open);
            }
            let asked = Arc::new(AtomicBool::new(false));
            let task = tokio::spawn(self.clone().answer(stream, asked.clone())).abort_handle();
            open.push_back(Open { asked, task });
        }
    }

    fn make_room(&self, open: &mut VecDeque<Open>) {
        let silent = open.iter().position(|one| !one.asked.load(Ordering::Relaxed));
        if let Some(oldest) = open.remove(silent.unwrap_or(0)) {
            oldest.task.abort();
            self.cut("crowd");
        }
    }

    fn cut(&self, why: &'static str) {
        self.counters.metrics.one(Metric::HttpCut, &[why]);
        let code = self.counters.note(Incident::ConnectionRefused, &format!("--http: {why}"));
        tracing::debug!(code, why, "a connection to the HTTP port was cut");
    }

    async fn answer(self, stream: TcpStream, asked: Arc<AtomicBool>) {
        let service = service_fn(|request| {
            asked.store(true, Ordering::Relaxed);
            self.respond(request)
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADER_BYTES);
        let connection = builder.keep_alive(false).serve_connection(TokioIo::new(stream), service);
        match tokio::time::timeout(WHOLE, connection).await {
            Err(_) => self.cut("time"),
            Ok(Err(error)) if error.is_timeout() => self.cut("time"),
            Ok(Err(error)) => tracing::debug!(%error, "a connection to the HTTP port failed"),
            Ok(Ok(())) => {}
        }
    }

    async fn respond(&self, request: hyper::Request<Incoming>) -> Result<Response, Infallible> {
        match self.hosts.check(&request) {
            Ok(()) => self.router.clone().oneshot(request).await,
            Err(why) => {
                self.cut("host");
                Ok((StatusCode::MISDIRECTED_REQUEST, format!("{why}\n")).into_response())
            }
        }
    }
}
