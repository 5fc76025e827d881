//! The gRPC edge: services, limits, and the one place where protobuf and domain meet.
//!
//! Owns: generated code, conversion, status codes. May not touch: the engine, the pipeline.

pub mod convert;
pub mod status;

/// Generated from `proto/clino/v1`.
#[allow(missing_docs, clippy::all)]
pub mod pb {
    tonic::include_proto!("clino.v1");
}
