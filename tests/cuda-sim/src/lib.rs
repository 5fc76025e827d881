//! A stand-in for NVIDIA's driver: PTX is interpreted on the CPU, behind the C names of libcuda, cuBLAS and cuRAND.
//!
//! Owns: the parts of the stand-in and who may see whom: `text` reads, `decode` and `ops` make instructions,
//! `warp` and `grid` run them, `driver`, `blas` and `random` are what a program calls.
//! May not touch: clino; nothing here knows what the kernels mean.
//!
//! Safety, for the whole crate. An interpreter of device code reads and writes the addresses that the code computes:
//! that is its work. What it promises is written at each module: register offsets are made by `decode` and lie in
//! the register file; addresses are checked where checks are on, and are the kernel's own affair where they are
//! off, as on a GPU. The `extern "C"` functions trust the pointers they are given, as NVIDIA's do.

#![allow(
    clippy::needless_range_loop,
    reason = "loops over lanes by number are what the compiler makes vectors of; several arrays go in step"
)]

pub mod blas;
pub mod counters;
pub mod decode;
pub mod driver;
pub mod fault;
pub mod grid;
pub mod memory;
pub mod numbers;
pub mod ops;
pub mod options;
pub mod order;
pub mod program;
pub mod random;
pub mod text;
pub mod warp;
