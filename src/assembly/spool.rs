//! Where bytes lie: small uploads in memory, large ones in an unlinked temporary file.
//!
//! Owns: the files. May not touch: what the bytes mean.

use bytes::Bytes;
use clino_domain::budget::Claim;
use clino_domain::counters::Counters;
use clino_domain::incident::Incident;
use clino_domain::snapshot::MOST_IN_MEMORY;
use clino_domain::{Fault, FaultKind};
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::PathBuf;
use std::sync::Arc;

/// The free space is looked at whenever so many bytes of an upload have been written.
const STRIDE: u64 = 16 << 20;
/// Bytes that a buffer begins with, unless fewer are to come.
const FIRST: u64 = 64 << 10;

/// A directory for the bytes of snapshots.
#[derive(Debug, Clone)]
pub struct Spool {
    directory: PathBuf,
    reserve: u64,
    counters: Arc<Counters>,
}

impl Spool {
    /// Files are made in `directory` and have no name there.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), reserve: 0, counters: Arc::default() }
    }

    /// The same; so many bytes stay free there.
    pub fn keeping(self, reserve: u64) -> Self {
        Self { reserve, ..self }
    }

    /// The same, with what happens counted there.
    pub fn counted(self, counters: Arc<Counters>) -> Self {
        Self { counters, ..self }
    }

    /// A place for `total` bytes, for which there is room now.
    ///
    /// # Errors
    /// Those of [`Claim::room`]; [`FaultKind::Exhausted`] without space or files, [`FaultKind::Unavailable`] for whatever
    /// else fails: a directory that has gone is made again for those who come back.
    pub(super) fn place(&self, total: u64, claim: &Claim) -> Result<ArrivingBytes, Fault> {
        if total <= MOST_IN_MEMORY {
            claim.room(total)?;
            return Ok(ArrivingBytes::Memory(Vec::new()));
        }
        self.room(total)?;
        let file = tempfile::tempfile_in(&self.directory).map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.again(),
            _ => failed(&error),
        })?;
        Ok(ArrivingBytes::File { file, spool: self.clone(), written: 0 })
    }

    /// Whether `bytes` more leave as much free as should stay so.
    fn room(&self, bytes: u64) -> Result<(), Fault> {
        // What cannot be asked will fail by itself when it is written to.
        let Ok(found) = rustix::fs::statvfs(&self.directory) else { return Ok(()) };
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if self.reserve == 0 || free >= self.reserve.saturating_add(bytes) {
            return Ok(());
        }
        let message = format!(
            "a snapshot of which {} MiB are still to come does not fit into the spool {}: {} MiB are free there, of \
            which {} MiB stay free (--reserve); try again later, free space there, or start the daemon with another \
            --spool",
            bytes.div_ceil(1 << 20),
            self.directory.display(),
            free >> 20,
            self.reserve >> 20
        );
        Err(Fault::new(FaultKind::Exhausted, message))
    }

    fn again(&self) -> Fault {
        let shown = self.directory.display();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        let message = match made {
            Ok(()) => {
                let code = self.counters.note(Incident::SpoolRecreated, &shown.to_string());
                tracing::warn!(code, spool = %shown, "the spool was removed while the daemon was running: it is created \
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
    File {
        file: File,
        spool: Spool,
        written: u64,
    },
    /// They are not kept.
    Nowhere,
}

impl ArrivingBytes {
    /// Takes `data` behind what came before; at most `total` bytes will ever come. What it takes of memory is claimed
    /// before.
    pub fn append(&mut self, data: &[u8], total: u64, claim: &mut Claim) -> Result<(), Fault> {
        match self {
            Self::Memory(buffer) => {
                make_room(buffer, data.len() as u64, total, claim)?;
                buffer.extend_from_slice(data);
                Ok(())
            }
            Self::File { file, spool, written } => {
                let before = *written / STRIDE;
                *written += data.len() as u64;
                if *written / STRIDE > before {
                    spool.room(total.saturating_sub(*written).min(STRIDE))?;
                }
                file.write_all(data).map_err(|e| failed(&e))
            }
            Self::Nowhere => Ok(()),
        }
    }

    /// No more will come.
    pub fn finish(self) -> SpooledBytes {
        match self {
            Self::Memory(buffer) => SpooledBytes::Memory(buffer.into()),
            Self::File { file, .. } => SpooledBytes::File(file),
            Self::Nowhere => SpooledBytes::Memory(Bytes::new()),
        }
    }
}

/// Room in a buffer for `more` bytes. It doubles as a vector does, but never beyond what was declared, and grows by no more
/// than what has come when that is all there is: those who are far do not fail before those who begin.
fn make_room(buffer: &mut Vec<u8>, more: u64, total: u64, claim: &mut Claim) -> Result<(), Fault> {
    let capacity = buffer.capacity() as u64;
    let filled = buffer.len() as u64;
    let least = (filled + more).saturating_sub(capacity);
    if least == 0 {
        return Ok(());
    }
    let left = total.saturating_sub(capacity);
    let doubled = capacity.max(FIRST).clamp(least, left.max(least));
    let grown = match claim.grow(doubled) {
        Ok(()) => doubled,
        Err(_) => claim.grow(least).map(|()| least)?,
    };
    buffer.try_reserve_exact((capacity + grown - filled) as usize).map_err(|_| {
        claim.shrink_to(capacity);
        let message = format!("the system has no memory for {grown} bytes of an upload: try again later");
        Fault::new(FaultKind::Exhausted, message)
    })
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
