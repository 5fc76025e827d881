//! What happened in each run, for those who watch and those who ask.
//!
//! Owns: logs, boards, watchers. May not touch: the registry, the wire.
//!
//! A watcher is a cursor over its run's log and has no queue of its own: a slow one loses nothing but what the log
//! itself has dropped, and is told so by a gap.

mod board;
mod count;
mod docket;
mod feed;
mod log;
mod overview;
#[cfg(test)]
mod tests;

pub use board::{Progress, Standing};
pub use feed::{Hub, Watcher};
pub use log::Bounds;
pub use overview::Seen;
