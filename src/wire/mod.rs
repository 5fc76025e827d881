//! The gRPC edge: services and limits. Protobuf and domain meet in [`clino_proto`].
//!
//! Owns: streams, calls, who may make them. May not touch: the engine, the pipeline.

mod access;
mod compare;
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
mod tls;
mod version;

pub use desk::{Desk, Drain};
pub use listen::Reception;
pub use server::{Health, Servers, routes};
pub use tls::{Certificates, TlsFiles};
