//! clino: parameter snapshots in, generalization measures with error bars out.
//!
//! ```text
//! trainer =gRPC=> wire → registry → assembly → pipeline → engine → publish => watch streams
//! ```

pub mod access;
pub mod assembly;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod decide;
pub mod http;
pub mod pipeline;
pub mod publish;
pub mod registry;
mod shutdown;
pub mod store;
mod systemd;
mod telemetry;
pub mod wire;
