//! What happened in each run, for those who watch and those who ask.
//!
//! Owns: logs, boards, watchers, decisions. May not touch: the registry, the wire; how a store keeps what happens.
//!
//! A watcher is a cursor over its run's log and has no queue of its own: a slow one loses nothing but what the log
//! itself has dropped, and is told so by a gap; with a store that is read back instead.

mod board;
mod clerk;
mod count;
mod decisions;
mod docket;
mod feed;
mod hub;
mod log;
mod overview;
mod watcher;

pub use crate::store::{Progress, Standing};
pub use hub::Hub;
pub use log::Bounds;
pub use watcher::Watcher;

#[cfg(test)]
mod durable_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod stop_tests;
#[cfg(test)]
mod tests;
