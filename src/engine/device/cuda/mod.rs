//! GPUs, where the build has them: the only file that knows whether it does.
//!
//! ```text
//! kernels (.cu → one text of PTX) ← gpu (memory, launches) ← arena (vectors) ┐
//!                               candle's networks ← network (tensors, batches) ┴ backend ← gpus (which are used)
//! ```
//!
//! Owns: kernels, and everything that speaks to a driver. May not touch: measures, which see a landscape as on the CPU.

#[cfg(not(feature = "cuda"))]
mod absent;
#[cfg(feature = "cuda")]
mod arena;
#[cfg(feature = "cuda")]
mod backend;
#[cfg(feature = "cuda")]
mod carry;
#[cfg(feature = "cuda")]
mod check;
#[cfg(feature = "cuda")]
mod gate;
#[cfg(feature = "cuda")]
mod gpu;
#[cfg(feature = "cuda")]
mod gpus;
#[cfg(feature = "cuda")]
mod libraries;
#[cfg(feature = "cuda")]
mod network;
#[cfg(feature = "cuda")]
mod rows;

#[cfg(not(feature = "cuda"))]
pub use absent::{Accelerated, Gpus, MISSING};
#[cfg(feature = "cuda")]
pub use gpu::Element as Accelerated;
#[cfg(feature = "cuda")]
pub use gpus::Gpus;
/// This build has GPUs.
#[cfg(feature = "cuda")]
pub const MISSING: Option<&str> = None;
