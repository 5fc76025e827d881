//! safetensors files: as a snapshot or a probe in memory, or tensor by tensor for whoever streams them.
//!
//! Owns: reading headers with the crate and with clino's own caps. May not touch: what a tensor means to a model.

use crate::domain::{
    Dtype, Fault, FaultKind, Manifest, ProbeGroup, Snapshot, SnapshotHeader, Tensor, TensorSpec,
};
use bytes::Bytes;
use safetensors::tensor::{Metadata, TensorInfo};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Largest header that is read: enough for 100,000 tensors with long names.
const MOST_HEADER_BYTES: u64 = 64 << 20;
const LENGTH_BYTES: u64 = 8;

/// An open file whose header is sound: no overlaps, no holes, and as long as it says.
#[derive(Debug)]
pub struct TensorFile {
    file: File,
    manifest: Manifest,
    /// Where each tensor of the manifest begins in the file.
    starts: Vec<u64>,
}

impl TensorFile {
    /// Opens a file and reads its header. Integer tensors that are narrower than 32 bits, and booleans, are buffers
    /// of no use to clino and are left out.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] without the file, [`FaultKind::Invalid`] when it is not a sound safetensors file; the
    /// message names the path.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let shown = path.display();
        Self::read(path).map_err(|fault| Fault { message: format!("{shown}: {}", fault.message), ..fault })
    }

    fn read(path: &Path) -> Result<Self, Fault> {
        let mut file = File::open(path).map_err(io_fault)?;
        let size = file.metadata().map_err(io_fault)?.len();
        let mut length = [0; LENGTH_BYTES as usize];
        file.read_exact(&mut length).map_err(|_| malformed("it is shorter than a header"))?;
        let length = u64::from_le_bytes(length);
        if length > MOST_HEADER_BYTES || length > size.saturating_sub(LENGTH_BYTES) {
            let most = MOST_HEADER_BYTES.min(size.saturating_sub(LENGTH_BYTES));
            return Err(malformed(&format!("its header claims {length} bytes, expected at most {most}")));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io_fault)?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| malformed(&error.to_string()))?;
        let data = LENGTH_BYTES + length;
        let (found, expected) = (size - data, metadata.data_len() as u64);
        if found != expected {
            return Err(malformed(&format!("found {found} bytes of data, expected {expected}")));
        }
        let (mut specs, mut starts) = (Vec::new(), Vec::new());
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            if let Some(dtype) = dtype(&name, info)? {
                let shape = info.shape.iter().map(|axis| *axis as u64).collect();
                specs.push(TensorSpec { name, dtype, shape });
                starts.push(data + info.data_offsets.0 as u64);
            }
        }
        Ok(Self { file, manifest: Manifest::new(specs, Vec::new())?, starts })
    }

    /// What the file holds, in the order of its bytes.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads bytes `start..start + out.len()` of tensor `index` of the manifest.
    ///
    /// # Errors
    /// [`FaultKind::Internal`] when the file cannot be read any more.
    pub fn read_at(&self, index: usize, start: u64, out: &mut [u8]) -> Result<(), Fault> {
        self.file.read_exact_at(out, self.starts[index] + start).map_err(io_fault)
    }

    fn bytes(&self, index: usize) -> Result<Bytes, Fault> {
        let length = self.manifest.tensors()[index].byte_length().unwrap_or_default();
        let mut bytes = vec![0; length as usize];
        self.read_at(index, 0, &mut bytes)?;
        Ok(bytes.into())
    }

    fn all(&self) -> Result<Vec<Bytes>, Fault> {
        (0..self.starts.len()).map(|index| self.bytes(index)).collect()
    }

    /// All tensors as a snapshot.
    ///
    /// # Errors
    /// Those of [`TensorFile::read_at`].
    pub fn snapshot(&self, header: SnapshotHeader) -> Result<Snapshot, Fault> {
        Snapshot::new(header, self.manifest.clone(), self.all()?)
    }

    /// All tensors as a probe group.
    ///
    /// # Errors
    /// Those of [`TensorFile::read_at`].
    pub fn probe(&self, name: &str) -> Result<ProbeGroup, Fault> {
        let specs = self.manifest.tensors().iter().cloned();
        let tensors = specs.zip(self.all()?).map(|(spec, data)| Tensor { spec, data }).collect();
        Ok(ProbeGroup { name: name.into(), tensors: Arc::new(tensors) })
    }
}

fn malformed(why: &str) -> Fault {
    Fault::new(FaultKind::Invalid, format!("not a sound safetensors file: {why}"))
}

fn io_fault(error: io::Error) -> Fault {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => FaultKind::NotFound,
        io::ErrorKind::IsADirectory => FaultKind::Invalid,
        _ => FaultKind::Internal,
    };
    Fault::new(kind, error.to_string())
}

fn dtype(name: &str, info: &TensorInfo) -> Result<Option<Dtype>, Fault> {
    use safetensors::Dtype as Stored;
    Ok(Some(match info.dtype {
        Stored::F32 => Dtype::F32,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::Bf16,
        Stored::F64 => Dtype::F64,
        Stored::I64 => Dtype::I64,
        Stored::I32 => Dtype::I32,
        Stored::BOOL | Stored::U8 | Stored::I8 | Stored::I16 | Stored::U16 => return Ok(None),
        other => {
            let description = format!("found dtype {other:?}, expected F32, F16, BF16 or F64");
            return Err(Fault::invalid(crate::domain::id::quoted(name), description));
        }
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(header: &str, data: usize) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.write_all(&vec![0; data]).unwrap();
        file
    }

    fn fault(header: &str, data: usize) -> Fault {
        TensorFile::open(file(header, data).path()).unwrap_err()
    }

    #[test]
    fn a_sound_file_opens() {
        let header = r#"{"b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
            "__metadata__":{"format":"pt"}}"#;
        let file = TensorFile::open(file(header, 8).path()).unwrap();
        let names: Vec<_> = file.manifest().tensors().iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn row_37_a_header_that_lies_is_refused() {
        let one =
            |offsets: &str| format!(r#"{{"a":{{"dtype":"F32","shape":[2],"data_offsets":{offsets}}}}}"#);
        let overlap = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}"#;
        for (header, data) in [
            (one("[0,4]"), 4),
            (one("[4,12]"), 12),
            (one("[0,8]"), 7),
            (one("[0,8]"), 9),
            (overlap.into(), 6),
        ] {
            assert_eq!(fault(&header, data).kind, FaultKind::Invalid, "{header}");
        }
        assert_eq!(fault("not json", 0).kind, FaultKind::Invalid);
        let huge = r#"{"a":{"dtype":"F32","shape":[4194305,4194305,211106198978564],"data_offsets":[0,4]}}"#;
        assert_eq!(fault(huge, 4).kind, FaultKind::Invalid);
    }

    #[test]
    fn row_37_a_length_beyond_the_file_is_refused_before_it_is_allocated() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&(100u64 << 20).to_le_bytes()).unwrap();
        file.write_all(b"{}").unwrap();
        assert_eq!(TensorFile::open(file.path()).unwrap_err().kind, FaultKind::Invalid);
    }

    #[test]
    fn row_25_an_unknown_dtype_is_named() {
        let fault = fault(r#"{"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#, 1);
        assert!(fault.message.contains("F8_E4M3") && fault.message.contains('w'), "{fault}");
    }
}
