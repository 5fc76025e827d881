//! What speaks to a driver: kernels, memory, launches.
//!
//! ```text
//! kernels (.cu → one text of PTX) ← gpu (memory, launches) ← arena (vectors), rows
//! ```
//!
//! Owns: kernels, and how they are called. May not touch: networks, measures.

pub mod arena;
pub mod check;
pub mod gpu;
pub mod libraries;
pub mod rows;
pub mod upload_permits;
