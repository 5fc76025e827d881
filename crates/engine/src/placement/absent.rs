//! A build without GPUs: there are none, and it says why.
//!
//! Owns: the sentence. May not touch: anything else.

use super::{Placement, PlacementRefused};
use crate::device::check::{Check, Speed};
use crate::device::slot::Slot;
pub use crate::network::Passes as Accelerated;
use crate::plan::PreparedRun;
use crate::streaming::DeviceUpload;
use crate::weights::PreparedSnapshot;
use clino_domain::{Fault, FaultKind, Precision};
use std::path::PathBuf;

/// Why this build has no GPUs.
pub const MISSING: Option<&str> = Some(
    "this clino was built without GPU support: build it with `cargo build --release --features cuda` (see \
    docs/gpu.md), or leave out --device to compute on the CPU",
);

/// The GPUs of a build without GPU support: none.
#[derive(Default)]
pub struct Gpus;

impl Gpus {
    /// Never any.
    ///
    /// # Errors
    /// Always [`FaultKind::Unavailable`].
    pub fn open(_: &[usize], _: &[PathBuf]) -> Result<Self, Fault> {
        Err(Fault::new(FaultKind::Unavailable, MISSING.unwrap_or_default()))
    }

    /// Their names; `None` without any.
    pub fn description(&self) -> Option<String> {
        None
    }

    /// Descriptions of the GPUs: always empty.
    pub fn details(&self) -> Vec<String> {
        Vec::new()
    }

    /// Those that failed for good.
    pub fn lost(&self) -> Vec<String> {
        Vec::new()
    }

    /// Bytes that a run may take on each; `None` without any.
    pub fn room(&self) -> Option<u64> {
        None
    }

    /// Nothing to check.
    ///
    /// # Errors
    /// Never.
    pub fn check(&self) -> Result<Vec<Check>, Fault> {
        Ok(Vec::new())
    }

    /// Nothing to time.
    ///
    /// # Errors
    /// Never.
    pub fn speeds(&self, _: usize, _: &dyn Fn() -> f64) -> Result<Vec<Speed>, Fault> {
        Ok(Vec::new())
    }

    /// Nobody to bring a snapshot there as it arrives.
    pub fn carry(&self, _: Precision, _: &[Slot]) -> Option<Box<dyn DeviceUpload>> {
        None
    }

    /// Brings a snapshot there.
    ///
    /// # Errors
    /// Always, with the snapshot.
    pub fn hold<T: Accelerated>(
        &self,
        _: &PreparedRun,
        prepared: PreparedSnapshot<T>,
        _: Option<u64>,
    ) -> Result<Placement, Box<PlacementRefused<T>>> {
        Err(Box::new(PlacementRefused { fault: Fault::internal("there are no GPUs"), prepared }))
    }
}
