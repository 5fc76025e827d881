//! clino: parameter snapshots in, generalization measures with error bars out.
//!
//! ```text
//! trainer =gRPC=> wire → registry → assembly → pipeline → engine → publish => watch streams
//! ```

pub mod access;
mod allocator;
mod assembly;
pub mod cli;
mod config;
mod daemon;
mod decide;
mod doctor;
mod http;
mod pipeline;
pub mod publish;
mod registry;
mod shutdown;
pub mod store;
mod systemd;
mod telemetry;
mod wire;
