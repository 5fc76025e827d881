//! Frames become a complete set of tensors or nothing.
//!
//! Owns: offsets, checksums, the bytes that have arrived and where they lie. May not touch: streams, protobuf, runs.
//!
//! Snapshots beyond a few megabytes go to an unlinked temporary file as they arrive: a snapshot that waits, and one
//! that later ones are compared with, then take no memory, and the engine alone decides the peak.

mod assembler;
mod spool;
mod spooled_snapshot;

pub use assembler::{Assembled, Assembler};
pub use spool::Spool;
pub use spooled_snapshot::SpooledSnapshot;

#[cfg(test)]
mod tests;
