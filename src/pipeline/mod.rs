//! Take, evaluate, emit: a scheduler gives turns on the engine, and lanes measure a snapshot each.
//!
//! Owns: the engine's threads, their clock, what a panic there means. May not touch: bytes on the wire, tokio.

mod evaluate;
mod forecast;
mod lane;
mod scheduler;
mod shares;
#[cfg(test)]
mod tests;
mod turn;

pub use evaluate::{ReadingListener, RunMemory, evaluate};

use crate::registry::Registry;
use clino_domain::counters::Counters;
use clino_domain::incident::Incident;
use clino_domain::quota::Quota;
use clino_domain::{EnginePlace, Fault, Journal, Stop};
use clino_engine::{Engine, GpuDevices};
use evaluate::guarded;
use lane::STACK;
use scheduler::Scheduler;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Whom the pipeline meets.
#[derive(Clone)]
pub struct Neighbours {
    /// Gives the work.
    pub registry: Arc<Registry>,
    /// Gets the events.
    pub journal: Arc<dyn Journal>,
    /// Gets the counts.
    pub counters: Arc<Counters>,
    /// Hears what projects use up.
    pub quota: Arc<dyn Quota>,
    /// Hears about the devices.
    pub devices: Arc<dyn DeviceObserver>,
    /// Seconds of the engine that a snapshot may take whose run says nothing; `None`: as many as it needs.
    pub budget: Option<f64>,
}

/// Whoever wants to know what becomes of the engine's devices.
pub trait DeviceObserver: Send + Sync {
    /// The engine is there, on these GPUs if it is on any.
    fn opened(&self, device: Option<GpuDevices>);

    /// These GPUs have failed for good.
    fn lost(&self, gpus: &[String]);
}

/// The engine's thread.
#[derive(Debug)]
pub struct Pipeline {
    thread: JoinHandle<()>,
    stop: Stop,
}

impl Pipeline {
    /// Starts the thread with an engine at `place`; `ready` hears how its self check went.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(
        place: EnginePlace,
        neighbours: Neighbours,
        ready: impl FnOnce(Result<(), Fault>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Stop::default();
        let raised = stop.clone();
        let work = move || match sound_engine(&place, &neighbours.counters) {
            Ok(engine) => {
                tracing::info!(engine = engine.description(), "the engine is ready");
                neighbours.devices.opened(engine.device());
                match Scheduler::new(engine, neighbours, raised) {
                    Ok(scheduler) => {
                        ready(Ok(()));
                        scheduler.work();
                    }
                    Err(fault) => ready(Err(fault)),
                }
            }
            Err(fault) => ready(Err(fault)),
        };
        let thread = Builder::new().name("clino-engine".into()).stack_size(STACK).spawn(work)?;
        Ok(Self { thread, stop })
    }

    /// Whether the thread has ended, as it does after [`Registry::stop`] once all is measured that was taken up.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Asks the engine to leave what it measures.
    pub fn stop(&self) {
        self.stop.raise("the daemon shut down before it was measured");
    }

    /// Waits for the end of the thread.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when it panicked outside a measure.
    pub fn join(self) -> Result<(), Fault> {
        self.thread.join().map_err(|_| Fault::internal("the engine's thread panicked"))
    }
}

/// An engine that has computed something known on the thread that will own it.
fn sound_engine(place: &EnginePlace, counters: &Counters) -> Result<Engine, Fault> {
    let checked = || {
        let (engine, instead) = Engine::open(place)?;
        if let Some(reason) = instead {
            let code = counters.note(Incident::NoGpu, &reason);
            tracing::warn!(code, reason, "no GPU, computing on the CPU");
        }
        engine.self_check().map(|()| engine)
    };
    guarded(checked).unwrap_or_else(|panic| Err(Fault::internal(panic)))
}
