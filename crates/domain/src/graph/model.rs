//! What a run trains, where its trainer describes it by itself instead of by a config.json.
//!
//! Owns: what a model is, and how it was sent. May not touch: what is read of the message, arithmetic.

use super::{Graph, GraphTensor, LossSpec};
use crate::Fault;
use bytes::Bytes;

/// What a run trains.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelKind {
    /// A graph and what is lost on its outputs.
    Graph(Box<Graph>, LossSpec),
    /// Names and shapes alone.
    Tensors(Vec<GraphTensor>),
}

/// Reads a model from the message that it came as.
pub type ModelReader = fn(Bytes) -> Result<ModelSource, Fault>;

/// A model, and the message that it came as.
#[derive(Debug, Clone)]
pub struct ModelSource {
    /// The message `clino.v1.Model`: two models are the same if these bytes are.
    pub bytes: Bytes,
    /// What it says.
    pub kind: ModelKind,
}

impl PartialEq for ModelSource {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}
