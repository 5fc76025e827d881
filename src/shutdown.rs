//! The end of the daemon, in order and in time.
//!
//! Owns: the order, and the one deadline. May not touch: what each part does to end.

use crate::pipeline::Pipeline;
use crate::publish::EventBus;
use crate::registry::Registry;
use crate::wire::{Drain, Health, Servers};
use clino_domain::Fault;
use clino_domain::counters::Counters;
use clino_domain::incident::Incident;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout_at};

/// Left for the streams after the engine, of the whole grace.
const FOR_STREAMS: f64 = 0.1;
/// Open uploads get at most this share of the grace, the engine most of the rest.
const FOR_UPLOADS: f64 = 0.5;
/// Extra time for an aborted upload to tell its client.
const FOR_ABORTING: f64 = 0.05;
/// The engine looks at its stop between draws and batches: so long before its time is up it is raised.
const FOR_STOPPING: f64 = 0.3;
/// A health watch never ends by itself: connections wait at most so long for such streams.
const LINGER: Duration = Duration::from_secs(1);
/// The history gets at least so long for its last transaction.
const FOR_HISTORY: Duration = Duration::from_millis(500);
/// How often the engine's thread is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Everything that must end.
pub(crate) struct Ending {
    pub health: Health,
    pub drain: Drain,
    pub registry: Arc<Registry>,
    pub pipeline: Pipeline,
    pub bus: Arc<EventBus>,
    pub counters: Arc<Counters>,
    pub servers: Servers,
    pub grace: Duration,
}

impl Ending {
    /// Not ready; no new uploads; open ones commit or are aborted; the current measure finishes or is stopped;
    /// watchers get their last event; connections close. False when the engine had to be left behind.
    pub async fn run(mut self) -> bool {
        let until = |share: f64, from: Instant| from + self.grace.mul_f64(share);
        let began = Instant::now();
        self.health.set(false).await;
        self.drain.refusing.cancel();
        self.drain.open.close();
        if timeout_at(until(FOR_UPLOADS, began), self.drain.open.wait()).await.is_err() {
            // Each of them counts when it ends.
            let code = Incident::UploadFailed.code();
            tracing::warn!(code, open = self.drain.open.len(), "open uploads are aborted");
            self.drain.aborting.cancel();
            // An examination cannot be aborted; its answer will find the registry stopped.
            let _ = timeout_at(until(FOR_UPLOADS + FOR_ABORTING, began), self.drain.open.wait()).await;
        }
        self.registry.stop();
        let ended = match self.ended(until(1.0 - FOR_STREAMS - FOR_STOPPING, began)).await {
            true => true,
            false => {
                tracing::warn!(code = Incident::SnapshotAbandoned.code(), "the current measure is stopped");
                self.pipeline.stop();
                self.ended(until(1.0 - FOR_STREAMS, began)).await
            }
        };
        self.bus.drain();
        let last = until(1.0, began).min(Instant::now() + LINGER);
        if timeout_at(last, self.servers.end()).await.is_err() {
            tracing::debug!("connections that stay open are cut");
        }
        let left = until(1.0, began).saturating_duration_since(Instant::now()).max(FOR_HISTORY);
        let written = tokio::task::block_in_place(|| self.bus.end(left));
        if !written {
            let code = self.counters.note(Incident::HistoryDropped, "at the end of the daemon");
            tracing::error!(code, "the history was not written to its end in time");
        }
        match ended {
            true => self.pipeline.join().map_err(|fault| engine_failed(&self.counters, &fault)).is_ok(),
            false => {
                let code = self.counters.note(Incident::EngineFailed, "it did not stop in time");
                tracing::error!(code, "the engine did not stop in time and is left behind");
                false
            }
        }
    }

    async fn ended(&self, deadline: Instant) -> bool {
        while !self.pipeline.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(LOOK).await;
        }
        true
    }
}

fn engine_failed(counters: &Counters, fault: &Fault) {
    let code = counters.note(Incident::EngineFailed, &fault.message);
    tracing::error!(code, %fault, "at the end");
}

/// The signals that end a daemon, heard from the moment when this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Hears SIGTERM and SIGINT from now on; within a runtime.
    ///
    /// # Errors
    /// If the system cannot install signal handlers.
    pub fn hear() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one and tells which.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
