//! What happened in each run, for those who watch and those who ask.
//!
//! Owns: logs, projections, watchers, decisions. May not touch: the registry, the wire; how a store keeps what happens.
//!
//! A watcher is a cursor over its run's log and has no queue of its own: a slow one loses nothing but what the log
//! itself has dropped, and is told so by a gap; with a store that is read back instead.

mod count;
mod decision_store;
mod decisions;
mod event_bus;
mod lock;
mod log;
mod overview;
mod policy_thread;
mod run_projection;
mod run_stream;
mod watcher;

pub use crate::store::{Progress, Standing};
pub use event_bus::EventBus;
pub use log::Bounds;
pub use overview::CutShort;
pub use watcher::Watcher;

#[cfg(test)]
mod durable_tests;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod stop_tests;
#[cfg(test)]
mod tests;
