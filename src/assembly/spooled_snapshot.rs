//! A complete snapshot that waits: read back whole for the engine, or piece by piece when compared with.
//!
//! Owns: where each tensor lies among the bytes. May not touch: when it is read.

use super::Assembled;
use clino_domain::{Dtype, Fault, ParameterSource, ReceivedSnapshot, Snapshot, SnapshotHeader, Statistics};
use std::sync::Arc;

/// A received snapshot with the claim on its bytes.
#[derive(Debug)]
pub struct SpooledSnapshot {
    assembled: Assembled,
    header: SnapshotHeader,
    /// Place of each parameter of the layout among the tensors.
    places: Vec<usize>,
    /// Where each tensor begins, in bytes.
    offsets: Vec<u64>,
}

impl SpooledSnapshot {
    pub(super) fn new(assembled: Assembled, header: SnapshotHeader, places: Vec<usize>) -> Self {
        let lengths = assembled.manifest.tensors().iter().map(|spec| spec.byte_length().unwrap_or(0));
        let offsets = lengths.scan(0, |sum, length| Some(std::mem::replace(sum, *sum + length))).collect();
        Self { assembled, header, places, offsets }
    }
}

impl ParameterSource for SpooledSnapshot {
    fn read(
        &self,
        index: usize,
        start: usize,
        len: usize,
        with: &mut dyn FnMut(Dtype, &[u8]),
    ) -> Result<(), Fault> {
        let place = self.places[index];
        let dtype = self.assembled.manifest.tensors()[place].dtype;
        let offset = self.offsets[place] + start as u64 * dtype.size();
        with(dtype, &self.assembled.bytes.slice(offset, len as u64 * dtype.size())?);
        Ok(())
    }
}

impl ReceivedSnapshot for SpooledSnapshot {
    fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    fn statistics(&self) -> Option<Arc<Statistics>> {
        self.assembled.statistics.clone()
    }

    fn load(&self) -> Result<Snapshot, Fault> {
        let tensors = self.assembled.manifest.tensors().iter().zip(&self.offsets);
        let data = tensors
            .map(|(spec, offset)| self.assembled.bytes.slice(*offset, spec.byte_length().unwrap_or(0)))
            .collect::<Result<_, _>>()?;
        Snapshot::new(self.header, self.assembled.manifest.clone(), data)
    }
}
