//! What happened in each run, for those who watch and those who ask.
//!
//! Owns: logs, boards, watchers. May not touch: the registry, the wire.
//!
//! A watcher is a cursor over its run's log and has no queue of its own: a slow one loses nothing but what the log
//! itself has dropped, and is told so by a gap; with a history that is read back instead.

mod board;
mod count;
mod decisions;
mod docket;
mod feed;
pub mod history;
mod log;
mod overview;
#[cfg(test)]
pub(crate) mod tests;
mod watcher;

pub use board::{Progress, Standing};
pub use feed::Hub;
pub use log::Bounds;
pub use watcher::Watcher;
