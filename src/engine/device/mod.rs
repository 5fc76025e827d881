//! Where parameters live and how they are moved: on the CPU, which is the specification, and on GPUs, which are held to it.
//!
//! Owns: arithmetic over all parameters. May not touch: networks, measures.

pub mod cpu;
pub mod cuda;
pub mod filter;
pub mod functions;
pub mod gemm;
pub mod moments;
pub mod pieces;
pub mod real;
pub mod widest;
