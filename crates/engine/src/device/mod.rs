//! Where parameters live and how they are moved: on the CPU, which is the specification, and on GPUs, which are held to it.
//!
//! Owns: arithmetic over all parameters. May not touch: networks, measures.

pub mod ascent;
pub mod check;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod filter;
pub mod functions;
pub mod metric;
pub mod moments;
pub mod noise;
pub mod norms;
pub mod pieces;
pub mod slot;
pub mod widest;

pub use clino_graph::{gemm, real};
