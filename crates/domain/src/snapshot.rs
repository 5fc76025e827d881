//! Snapshots: the parameters of a model at one step. A [`Snapshot`] is only made whole.
//!
//! Owns: header, identity and bytes of a snapshot. May not touch: how the bytes came.

use super::{Fault, Manifest, ModelCheck, RunId, Tensor};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Uploads of up to so many bytes stay in memory, larger ones go to a file: a file for each would cost more than it saves.
pub const MOST_IN_MEMORY: u64 = 4 << 20;

/// Which of a trainer's copies of the weights this is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightKind {
    /// The weights that the forward pass uses.
    #[default]
    Live,
    /// The high-precision copy of a mixed-precision optimizer.
    Master,
    /// An exponential moving average.
    Ema,
    /// A stochastic weight average.
    Swa,
}

/// A step of a run and which try at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// Optimizer step of the snapshot.
    pub step: u64,
    /// From 1; a repeated or rewound step gets the next one.
    pub attempt: u32,
}

/// What is said of a snapshot beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SnapshotHeader {
    /// Step and attempt of the snapshot.
    pub at: SnapshotRef,
    /// Which copy of the weights.
    pub kind: WeightKind,
    /// Whether it is the reference of distances.
    pub initialization: bool,
}

impl SnapshotHeader {
    /// Of the weights that are trained, at a step.
    pub const fn live(step: u64) -> Self {
        Self { at: SnapshotRef { step, attempt: 1 }, kind: WeightKind::Live, initialization: false }
    }
}

/// What a client says before the bytes of a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// Run of the snapshot.
    pub run: RunId,
    /// A retry with the same key gets the first receipt.
    pub key: Option<String>,
    /// Optimizer step of the snapshot.
    pub step: u64,
    /// `None`: the next free attempt of this step.
    pub attempt: Option<u32>,
    /// Which copy of the weights.
    pub kind: WeightKind,
    /// Whether it is the reference of distances.
    pub initialization: bool,
    /// What will be sent.
    pub manifest: Manifest,
    /// SHA-256 of its bytes in lower-case hexadecimal, where that is known before they are sent.
    pub digest: Option<String>,
    /// What the trainer's own model computes with it.
    pub check: Option<ModelCheck>,
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotState {
    /// Received, next in line.
    Waiting,
    /// The engine measures it now.
    Measuring,
    /// All its readings are made.
    Measured,
    /// A newer one took its place, or the run was stopped.
    Skipped,
}

/// A complete snapshot: every tensor of its manifest with all its bytes. A clone shares them.
#[derive(Debug, Clone)]
pub struct Snapshot {
    header: SnapshotHeader,
    manifest: Manifest,
    data: Vec<Bytes>,
}

impl Snapshot {
    /// Joins a manifest with the bytes of its tensors, in its order.
    ///
    /// # Errors
    /// [`super::FaultKind::Invalid`] naming the first tensor whose bytes are not those of its spec.
    pub fn new(header: SnapshotHeader, manifest: Manifest, data: Vec<Bytes>) -> Result<Self, Fault> {
        if data.len() != manifest.tensors().len() {
            let found = data.len();
            let expected = manifest.tensors().len();
            return Err(Fault::invalid(
                "tensors",
                format!("found the bytes of {found} tensors, expected {expected}"),
            ));
        }
        for (i, (spec, bytes)) in manifest.tensors().iter().zip(&data).enumerate() {
            Tensor::new(spec.clone(), bytes.clone())
                .map_err(|fault| fault.within(&format!("tensors[{i}].")))?;
        }
        Ok(Self { header, manifest, data })
    }

    /// Of tensors with their bytes.
    ///
    /// # Errors
    /// [`super::FaultKind::Invalid`] for a name that comes twice.
    pub fn of(header: SnapshotHeader, tensors: Vec<Tensor>) -> Result<Self, Fault> {
        let (specs, data) = tensors.into_iter().map(|tensor| (tensor.spec, tensor.data)).unzip();
        Self::new(header, Manifest::new(specs, Vec::new())?, data)
    }

    /// Step, attempt and kind of the snapshot.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// Names, dtypes and shapes of the tensors.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of the tensors, in manifest order.
    pub fn data(&self) -> &[Bytes] {
        &self.data
    }

    /// Header, manifest and bytes apart, so that a reader can free each tensor once it is read.
    pub fn into_parts(self) -> (SnapshotHeader, Manifest, Vec<Bytes>) {
        (self.header, self.manifest, self.data)
    }
}
