//! A complete snapshot that waits: read back whole for the engine, or piece by piece when compared with.
//!
//! Owns: where each tensor lies among the bytes. May not touch: when it is read.

use super::Assembled;
use clino_domain::{
    Dtype, Fault, Manifest, ParameterSource, ReceivedSnapshot, Snapshot, SnapshotHeader, Statistics,
    TensorSpec,
};
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

    /// What no parameter is read from keeps its name and comes without elements: it takes no memory.
    fn load(&self) -> Result<Snapshot, Fault> {
        let manifest = &self.assembled.manifest;
        let mut read = vec![false; manifest.tensors().len()];
        self.places.iter().for_each(|place| read[*place] = true);
        let specs = manifest.tensors().iter().zip(&read).map(|(spec, read)| match read {
            true => spec.clone(),
            false => TensorSpec { shape: vec![0], ..spec.clone() },
        });
        let specs: Vec<TensorSpec> = specs.collect();
        let bytes = |(spec, offset): (&TensorSpec, &u64)| {
            self.assembled.bytes.slice(*offset, spec.byte_length().unwrap_or(0))
        };
        let data = specs.iter().zip(&self.offsets).map(bytes).collect::<Result<_, _>>()?;
        Snapshot::new(self.header, Manifest::new(specs, manifest.aliases().to_vec())?, data)
    }
}
