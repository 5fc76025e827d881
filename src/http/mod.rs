//! Metrics and probes over HTTP, on a thread and a runtime of their own: they answer while the gRPC side is busy.
//!
//! Owns: the routes and their thread. May not touch: runs, beyond reading how they stand.

mod host;
mod listener;
mod process;
mod runs;
mod sources;
mod text;

pub use runs::RunMetrics;
pub use sources::Sources;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clino_domain::incident::Incident;
use clino_domain::metrics::{Exposed, MetricFamily};
use clino_domain::text::harmless;
use clino_domain::{Fault, FaultKind};
use host::Hosts;
use listener::Port;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Threads for what may wait for a disk or a lock. They are not those that answer `/livez`.
const BLOCKING: usize = 4;
/// How long such threads may hold the end of the daemon.
const LEFTOVERS: Duration = Duration::from_millis(200);

/// A bound address that serves nobody yet.
#[derive(Debug)]
pub struct Http {
    listener: TcpListener,
    /// Names under which it answers besides those of this machine.
    names: Vec<String>,
}

/// The thread at work; it ends when this drops.
#[derive(Debug)]
pub struct Serving {
    ending: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Http {
    /// Binds the address, to answer under its own name, those of this machine, and `names`.
    ///
    /// # Errors
    /// [`FaultKind::Exists`] when another process listens there, [`FaultKind::Invalid`] when it cannot be used.
    pub fn bind(address: SocketAddr, names: Vec<String>) -> Result<Self, Fault> {
        let bound = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        bound.map(|listener| Self { listener, names }).map_err(|error| {
            let kind =
                if error.kind() == ErrorKind::AddrInUse { FaultKind::Exists } else { FaultKind::Invalid };
            Fault::field(kind, "http", format!("{address}: {error}"))
        })
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the answer drops.
    ///
    /// # Errors
    /// Those of starting a thread and a runtime.
    pub fn serve(self, sources: Arc<Sources>) -> std::io::Result<Serving> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().max_blocking_threads(BLOCKING).build()?;
        let hosts = Arc::new(Hosts::new(self.listener.local_addr()?.ip(), self.names));
        let counters = sources.counters.clone();
        let port = Port { router: router(sources), hosts, counters: counters.clone() };
        let ending = CancellationToken::new();
        let ended = ending.clone();
        let work = move || {
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(self.listener) {
                    Ok(listener) => tokio::select! {
                        () = port.serve(listener) => {}
                        () = ended.cancelled() => {}
                    },
                    Err(error) => {
                        let code = counters.note(Incident::ListenerFailed, &format!("--http: {error}"));
                        tracing::error!(code, %error, "the metrics listener failed");
                    }
                }
            });
            runtime.shutdown_timeout(LEFTOVERS);
        };
        let thread = std::thread::Builder::new().name("clino-http".into()).spawn(work)?;
        Ok(Serving { ending, thread: Some(thread) })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.ending.cancel();
        if let Some(thread) = self.thread.take() {
            // Nothing in it waits for anything else.
            let _ = thread.join();
        }
    }
}

fn router(sources: Arc<Sources>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/metrics/runs", get(run_metrics))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readyz))
        .with_state(sources)
}

type Shared = State<Arc<Sources>>;

async fn metrics(State(sources): Shared) -> Response {
    aside(move || exposition(&sources.families())).await
}

async fn run_metrics(State(sources): Shared) -> Response {
    aside(move || match sources.run_families() {
        Some(families) => exposition(&families),
        None => (StatusCode::NOT_FOUND, "off: start the daemon with --run-metrics N\n").into_response(),
    })
    .await
}

async fn readyz(State(sources): Shared) -> Response {
    aside(move || readiness(&sources)).await
}

fn readiness(sources: &Sources) -> Response {
    let reasons = sources.reasons();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    let lines: String =
        reasons.iter().map(|(name, reason)| format!("{name}: {}\n", harmless(reason))).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

/// Work that may wait for a disk or a lock: `/livez` does not wait for it.
async fn aside(work: impl FnOnce() -> Response + Send + 'static) -> Response {
    let failed = |_| (StatusCode::INTERNAL_SERVER_ERROR, "it cannot be told\n").into_response();
    tokio::task::spawn_blocking(work).await.unwrap_or_else(failed)
}

fn exposition(families: &[MetricFamily]) -> Response {
    match text::encode(families) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n").into_response(),
    }
}
