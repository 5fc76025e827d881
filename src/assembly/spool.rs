//! Where bytes lie: small uploads in memory, large ones in an unlinked temporary file.
//!
//! Owns: the files. May not touch: what the bytes mean.

use bytes::Bytes;
use clino_domain::{Fault, FaultKind};
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::PathBuf;

/// Uploads up to this size in bytes stay in memory: a file for each would cost more than it saves.
const SMALL: u64 = 4 << 20;

/// A directory for the bytes of snapshots.
#[derive(Debug, Clone)]
pub struct Spool {
    directory: PathBuf,
}

impl Spool {
    /// Files are made in `directory` and have no name there.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// A place for `total` bytes.
    ///
    /// # Errors
    /// [`FaultKind::Exhausted`] without space or files, [`FaultKind::Unavailable`] for whatever else fails: a directory
    /// that has gone is made again for those who come back.
    pub(super) fn place(&self, total: u64) -> Result<ArrivingBytes, Fault> {
        if total <= SMALL {
            return Ok(ArrivingBytes::Memory(Vec::new()));
        }
        tempfile::tempfile_in(&self.directory).map(ArrivingBytes::File).map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.again(),
            _ => failed(&error),
        })
    }

    fn again(&self) -> Fault {
        let shown = self.directory.display();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        let message = match made {
            Ok(()) => {
                tracing::warn!(spool = %shown, "the spool was removed while the daemon was running: it is created \
                                               again");
                format!("the spool {shown} was removed and has been created again: send the snapshot again")
            }
            Err(error) => format!("the spool {shown} was removed and cannot be created again: {error}"),
        };
        Fault::new(FaultKind::Unavailable, message)
    }
}

/// Bytes that still arrive.
#[derive(Debug)]
pub(super) enum ArrivingBytes {
    Memory(Vec<u8>),
    File(File),
    /// They are not kept.
    Nowhere,
}

impl ArrivingBytes {
    /// Takes `data` behind what came before; at most `total` bytes will ever come.
    pub fn append(&mut self, data: &[u8], total: u64) -> Result<(), Fault> {
        match self {
            Self::Memory(buffer) => {
                let left = total.saturating_sub(buffer.len() as u64);
                if buffer.capacity() - buffer.len() < data.len() {
                    // Doubles like a vector does, but never beyond what was declared.
                    let more = (buffer.capacity() as u64).max(data.len() as u64).min(left);
                    buffer.reserve_exact(more as usize);
                }
                buffer.extend_from_slice(data);
                Ok(())
            }
            Self::File(file) => file.write_all(data).map_err(|e| failed(&e)),
            Self::Nowhere => Ok(()),
        }
    }

    /// No more will come.
    pub fn finish(self) -> SpooledBytes {
        match self {
            Self::Memory(buffer) => SpooledBytes::Memory(buffer.into()),
            Self::File(file) => SpooledBytes::File(file),
            Self::Nowhere => SpooledBytes::Memory(Bytes::new()),
        }
    }
}

/// Bytes that are complete.
#[derive(Debug)]
pub(super) enum SpooledBytes {
    Memory(Bytes),
    File(File),
}

impl SpooledBytes {
    /// `length` bytes at `offset`, in memory of their own where they come from a file.
    pub fn slice(&self, offset: u64, length: u64) -> Result<Bytes, Fault> {
        match self {
            Self::Memory(bytes) => Ok(bytes.slice(offset as usize..(offset + length) as usize)),
            Self::File(file) => {
                let mut buffer = vec![0; length as usize];
                file.read_exact_at(&mut buffer, offset).map_err(|e| failed(&e))?;
                Ok(buffer.into())
            }
        }
    }
}

/// Whatever a disk does passes, or somebody has to see to it: never a fault of the snapshot.
fn failed(error: &std::io::Error) -> Fault {
    const TOO_MANY_FILES: [i32; 2] = [23, 24];
    let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        || error.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code));
    let kind = if full { FaultKind::Exhausted } else { FaultKind::Unavailable };
    Fault::new(kind, format!("the snapshot spool failed: {error}"))
}
