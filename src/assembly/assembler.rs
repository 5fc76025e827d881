//! One upload: chunks in order until all bytes are there.
//!
//! Owns: the order and integrity of chunks. May not touch: where the chunks come from.

use super::SpooledSnapshot;
use super::spool::{ArrivingBytes, Spool, SpooledBytes};
use clino_domain::budget::Claim;
use clino_domain::crc32c;
use clino_domain::id::hex;
use clino_domain::{Fault, FaultKind, Manifest, SnapshotHeader, Statistics, StatisticsBuilder, Tensor};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Most bytes of a chunk.
pub(super) const MAX_CHUNK: usize = 1 << 20;

/// Bytes of a manifest's tensors as they arrive. Dropping it leaves no trace.
#[derive(Debug)]
pub struct Assembler {
    manifest: Manifest,
    claim: Claim,
    bytes: ArrivingBytes,
    pub(super) received: u64,
    digest: Sha256,
    statistics_builder: Option<Box<dyn StatisticsBuilder>>,
}

impl Assembler {
    /// Begins an upload for which there is room now; `claim` grows with the bytes that come. Large ones go to `spool`, where
    /// they take no memory.
    ///
    /// # Errors
    /// Those of [`clino_domain::budget::Budget::claim`]; [`FaultKind::Exhausted`] when the spool is full,
    /// [`FaultKind::Unavailable`] when it fails.
    pub fn begin(manifest: Manifest, claim: Claim, spool: &Spool) -> Result<Self, Fault> {
        let bytes = spool.place(manifest.total_bytes(), &claim)?;
        Ok(Self::new(manifest, claim, bytes))
    }

    /// Begins an upload that stays in memory however large it is.
    ///
    /// # Errors
    /// Those of [`clino_domain::budget::Budget::claim`].
    pub fn in_memory(manifest: Manifest, claim: Claim) -> Result<Self, Fault> {
        claim.room(manifest.total_bytes())?;
        Ok(Self::new(manifest, claim, ArrivingBytes::Memory(Vec::new())))
    }

    /// Starts an upload whose bytes are only compared with earlier ones, and not kept.
    pub fn passing(manifest: Manifest, claim: Claim) -> Self {
        Self::new(manifest, claim, ArrivingBytes::Nowhere)
    }

    fn new(manifest: Manifest, claim: Claim, bytes: ArrivingBytes) -> Self {
        Self { manifest, claim, bytes, received: 0, digest: Sha256::new(), statistics_builder: None }
    }

    /// Lets `statistics_builder` see the bytes as they arrive.
    pub fn gauged(self, statistics_builder: Option<Box<dyn StatisticsBuilder>>) -> Self {
        Self { statistics_builder, ..self }
    }

    /// Takes the next chunk; a refused one changes nothing.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] for a chunk that is empty or too large, [`FaultKind::OutOfRange`] for another offset
    /// than the one that is due or bytes beyond the end, [`FaultKind::DataLoss`] for a wrong checksum; these tell
    /// the bytes received so far, as does [`FaultKind::Exhausted`] when memory or the spool is full.
    pub fn chunk(&mut self, offset: u64, data: &[u8], checksum: u32) -> Result<(), Fault> {
        self.check(offset, data, checksum).map_err(|fault| fault.committed(self.received))?;
        let appended = self.bytes.append(data, self.manifest.total_bytes(), &mut self.claim);
        appended.map_err(|fault| fault.committed(self.received))?;
        self.digest.update(data);
        // What it cannot do now is done when the snapshot is measured.
        if self
            .statistics_builder
            .as_mut()
            .is_some_and(|statistics_builder| statistics_builder.take(data).is_err())
        {
            self.statistics_builder = None;
        }
        self.received += data.len() as u64;
        Ok(())
    }

    fn check(&self, offset: u64, data: &[u8], checksum: u32) -> Result<(), Fault> {
        let length = data.len();
        let due = self.received;
        let total = self.manifest.total_bytes();
        if offset != due {
            let description = format!("found {offset}, expected {due}");
            return Err(Fault::field(FaultKind::OutOfRange, "chunk.offset", description));
        }
        if length == 0 || length > MAX_CHUNK {
            let description = format!("found {length} bytes, expected 1 to {MAX_CHUNK}");
            return Err(Fault::invalid("chunk.data", description));
        }
        if length as u64 > total - due {
            let description = format!("found {length} bytes at {due}, expected at most {}", total - due);
            return Err(Fault::field(FaultKind::OutOfRange, "chunk.data", description));
        }
        let found = crc32c(data);
        if found != checksum {
            let description =
                format!("found {checksum:#010x}, expected {found:#010x} for the bytes at {due}");
            return Err(Fault::field(FaultKind::DataLoss, "chunk.crc32c", description));
        }
        Ok(())
    }

    /// All bytes, if all are there.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] when some are missing, telling how many came.
    pub fn commit(self) -> Result<Assembled, Fault> {
        let found = self.received;
        let expected = self.manifest.total_bytes();
        if found != expected {
            let description = format!("found {found} bytes, expected {expected}");
            return Err(Fault::invalid("commit", description).committed(found));
        }
        let digest = hex(self.digest.finalize());
        let statistics =
            self.statistics_builder.map(|statistics_builder| Arc::new(statistics_builder.finish()));
        let bytes = self.bytes.finish();
        Ok(Assembled { manifest: self.manifest, claim: self.claim, bytes, digest, statistics })
    }
}

/// All bytes of a manifest's tensors.
#[derive(Debug)]
pub struct Assembled {
    pub(super) manifest: Manifest,
    pub(super) claim: Claim,
    pub(super) bytes: SpooledBytes,
    pub(super) statistics: Option<Arc<Statistics>>,
    digest: String,
}

impl Assembled {
    /// SHA-256 of all bytes in manifest order, lower-case hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Itself, if its bytes are those that the client says that it has sent; `field` is where it says so.
    ///
    /// # Errors
    /// [`FaultKind::DataLoss`] naming both digests.
    pub fn expect(self, field: &str, digest: Option<&str>) -> Result<Self, Fault> {
        match digest {
            Some(digest) if digest != self.digest => {
                let description = format!(
                    "found {digest}, expected {} for the bytes received: they changed in transit or while they were \
                    read; send them again",
                    self.digest
                );
                Err(Fault::field(FaultKind::DataLoss, field, description))
            }
            _ => Ok(self),
        }
    }

    /// A snapshot; `places` says which tensor holds which parameter of the run's layout.
    pub fn hold(self, header: SnapshotHeader, places: Vec<usize>) -> SpooledSnapshot {
        SpooledSnapshot::new(self, header, places)
    }

    /// Tensors in manifest order, and the claim on their bytes.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when the bytes cannot be read back.
    pub fn into_tensors(self) -> Result<(Vec<Tensor>, Claim), Fault> {
        let mut offset = 0;
        let mut tensors = Vec::with_capacity(self.manifest.tensors().len());
        for spec in self.manifest.tensors() {
            let length = spec.byte_length().unwrap_or(0);
            tensors.push(Tensor::new(spec.clone(), self.bytes.slice(offset, length)?)?);
            offset += length;
        }
        Ok((tensors, self.claim))
    }
}
