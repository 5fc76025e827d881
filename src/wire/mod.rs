//! The gRPC edge: services and limits. Protobuf and domain meet in [`clino_proto`].
//!
//! Owns: streams, calls, who may make them. May not touch: the engine, the pipeline.

mod access;
mod compare;
mod connection;
mod decisions;
mod doctor;
mod doors;
mod frames;
mod listen;
mod listing;
mod metrics_layer;
mod pace;
mod refused;
mod reports;
mod runs;
mod server;
mod services;
mod snapshots;
mod stream_sender;
mod tls;
mod upload_workers;
mod version;
mod watch_runs;

pub use clino_proto::convert::model_from_bytes;
pub use listen::ConnectionLimits;
pub use server::{Health, Servers, routes};
pub use services::{Drain, Services};
pub use tls::{Certificates, TlsFiles};
pub use upload_workers::UploadWorkers;
