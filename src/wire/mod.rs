//! The gRPC edge: services, limits, and the one place where protobuf and domain meet.
//!
//! Owns: generated code, conversion, status codes. May not touch: the engine, the pipeline.

mod access;
mod compare;
pub mod convert;
mod decisions;
mod desk;
mod frames;
mod listen;
mod listing;
mod observe;
mod outlet;
mod reports;
mod roster;
mod runs;
mod server;
mod snapshots;
pub mod status;
mod tls;
pub mod version;

pub use access::{Pass, Scope, Watchman};
pub use desk::{Desk, Drain};
pub use listen::Reception;
pub use server::{Health, Servers, routes};
pub use tls::{Certificates, TlsFiles};

/// Generated from `proto/clino/v1`.
#[allow(missing_docs, clippy::all)]
pub mod pb {
    tonic::include_proto!("clino.v1");

    /// All of `clino.v1` as a serialized `FileDescriptorSet`, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clino.bin"));
}
