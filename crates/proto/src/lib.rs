//! The protocol of clino: messages, services, and their conversion to and from [`clino_domain`].
//!
//! ```text
//! proto/clino/v1/*.proto → pb (generated) ⇄ convert ⇄ clino_domain
//! ```
//!
//! Owns: generated code, which number means what, the names of metadata. May not touch: streams, connections.

pub mod convert;
pub mod version;

/// Code generated from `proto/clino/v1`.
#[allow(missing_docs, clippy::all)]
pub mod pb {
    tonic::include_proto!("clino.v1");

    /// All of `clino.v1` as a serialized `FileDescriptorSet`, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/clino.bin"));
}
