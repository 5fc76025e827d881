//! safetensors files: as a snapshot or a probe in memory, or tensor by tensor for streaming.
//!
//! Owns: reading headers with the crate and with clino's own caps. May not touch: what a tensor means to a model.

use super::given::{self, unreadable};
use super::kinds;
use bytes::Bytes;
use clino_domain::run::COLUMNS;
use clino_domain::text::quoted;
use clino_domain::{
    Dtype, Fault, FaultKind, Manifest, ProbeGroup, Snapshot, SnapshotHeader, Tensor, TensorSpec,
};
use safetensors::tensor::{Metadata, TensorInfo};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest header that is read: enough for 100,000 tensors with long names.
const MOST_HEADER_BYTES: u64 = 64 << 20;
const LENGTH_BYTES: u64 = 8;

/// Open files of tensors, one or the shards of a model, whose headers are sound: no overlaps, no holes, and as long as
/// they say.
#[derive(Debug)]
pub struct TensorFiles {
    files: Vec<File>,
    manifest: Manifest,
    /// Which file holds each tensor of the manifest, and where it begins there.
    starts: Vec<Start>,
    /// Tensors of dtypes that clino has no use for: name and dtype.
    foreign: Vec<(String, safetensors::Dtype)>,
}

#[derive(Debug, Clone, Copy)]
struct Start {
    file: usize,
    byte: u64,
}

/// What the headers say.
#[derive(Default)]
struct Headers {
    specs: Vec<TensorSpec>,
    starts: Vec<Start>,
    foreign: Vec<(String, safetensors::Dtype)>,
}

impl Headers {
    fn add(&mut self, file: usize, data: u64, metadata: &Metadata) {
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            match dtype(info) {
                Some(dtype) => {
                    let shape = info.shape.iter().map(|axis| *axis as u64).collect();
                    self.specs.push(TensorSpec { name, dtype, shape });
                    self.starts.push(Start { file, byte: data + info.data_offsets.0 as u64 });
                }
                None => self.foreign.push((name, info.dtype)),
            }
        }
    }
}

/// What a column of a probe may be.
const PROBE_DTYPES: &str = "a float or BOOL, U8, I8, I16, U16, I32 or I64: save it as I64";

impl TensorFiles {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`FaultKind::NotFound`] without the file, [`FaultKind::Invalid`] when it is not a sound safetensors file; the
    /// message names the path.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        Self::of(std::slice::from_ref(&path.to_owned()))
    }

    /// Opens the parameters of a model: a file, the index of its shards, or the folder that has either.
    ///
    /// # Errors
    /// Those of [`TensorFiles::open`] and of [`kinds::model_files`].
    pub fn model(path: &Path) -> Result<Self, Fault> {
        Self::of(&kinds::model_files(path)?)
    }

    fn of(paths: &[PathBuf]) -> Result<Self, Fault> {
        let mut files = Vec::new();
        let mut headers = Headers::default();
        for (index, path) in paths.iter().enumerate() {
            let (file, data, metadata) = header(path).map_err(|fault| named(path, fault))?;
            headers.add(index, data, &metadata);
            files.push(file);
        }
        let Headers { specs, starts, foreign } = headers;
        let whole = match (&specs[..], &foreign[..]) {
            ([], [(name, dtype), ..]) => Err(unread(name, *dtype, "F32, F16, BF16, F64 or integers")),
            _ => Manifest::new(specs, Vec::new()),
        };
        let manifest = whole.map_err(|fault| named(&paths[0], fault))?;
        Ok(Self { files, manifest, starts, foreign })
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
        let Start { file, byte } = self.starts[index];
        self.files[file].read_exact_at(out, byte + start).map_err(|error| unreadable(&error))
    }

    fn bytes(&self, index: usize) -> Result<Bytes, Fault> {
        let length = self.manifest.tensors()[index].byte_length().unwrap_or_default();
        let mut bytes = vec![0; length as usize];
        self.read_at(index, 0, &mut bytes)?;
        Ok(bytes.into())
    }

    fn all(&self) -> Result<Vec<Bytes>, Fault> {
        given::check_memory(self.manifest.total_bytes())?;
        (0..self.starts.len()).map(|index| self.bytes(index)).collect()
    }

    /// Refuses a file whose parameters may be stored in a way that clino does not read. Unsigned integers are buffers, which no
    /// measure looks at: they are left out.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] naming tensor and dtype.
    pub fn check_parameters(&self) -> Result<(), Fault> {
        use safetensors::Dtype::{U32, U64};
        match self.foreign.iter().find(|(_, dtype)| !matches!(dtype, U32 | U64)) {
            None => Ok(()),
            Some((name, dtype)) => {
                Err(unread(name, *dtype, "F32, F16, BF16 or F64: save it in one of these"))
            }
        }
    }

    /// All tensors as a snapshot.
    ///
    /// # Errors
    /// Those of [`TensorFiles::check_parameters`] and of [`TensorFiles::read_at`].
    pub fn snapshot(&self, header: SnapshotHeader) -> Result<Snapshot, Fault> {
        self.check_parameters()?;
        Snapshot::new(header, self.manifest.clone(), self.all()?)
    }

    /// All tensors as the inputs of a graph.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] for a column of a dtype that clino does not read; those of [`TensorFiles::read_at`].
    pub fn inputs(&self, name: &str) -> Result<ProbeGroup, Fault> {
        if let Some((column, dtype)) = self.foreign.first() {
            return Err(unread(column, *dtype, PROBE_DTYPES));
        }
        let specs = self.manifest.tensors().iter().cloned();
        let tensors = specs.zip(self.all()?).map(|(spec, data)| Tensor { spec, data }).collect();
        Ok(ProbeGroup { name: name.into(), tensors: Arc::new(tensors) })
    }

    /// All tensors as a probe group, a column `label` as the labels where there are no `labels`. Of columns that no model reads those of foreign dtypes are left out, which is told.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] for a column of a dtype that clino does not read; those of [`TensorFiles::read_at`].
    pub fn probe(&self, name: &str) -> Result<ProbeGroup, Fault> {
        for (column, dtype) in &self.foreign {
            if COLUMNS.contains(&column.as_str()) {
                return Err(unread(column, *dtype, PROBE_DTYPES));
            }
            let group = quoted(name);
            super::warn(&format!(
                "column {} of group {group} is left out: no model reads it",
                quoted(column)
            ));
        }
        let mut specs = self.manifest.tensors().to_vec();
        name_labels(&mut specs);
        let tensors = specs.into_iter().zip(self.all()?).map(|(spec, data)| Tensor { spec, data }).collect();
        Ok(ProbeGroup { name: name.into(), tensors: Arc::new(tensors) })
    }
}

/// Data sets have `label` where models have `labels`.
fn name_labels(columns: &mut [TensorSpec]) {
    if columns.iter().all(|column| column.name != "labels")
        && let Some(label) = columns.iter_mut().find(|column| column.name == "label")
    {
        label.name = "labels".into();
    }
}

fn named(path: &Path, fault: Fault) -> Fault {
    Fault { message: format!("{}: {}", path.display(), fault.message), ..fault }
}

/// The file, where its data begin, and what its header says.
fn header(path: &Path) -> Result<(File, u64, Metadata), Fault> {
    if path.is_dir() {
        return Err(Fault::new(FaultKind::Invalid, "found a folder, expected a safetensors file"));
    }
    let mut file = given::open(path)?;
    let size = file.metadata().map_err(|error| unreadable(&error))?.len();
    let (data, metadata) = sound_header(&mut file, size)?;
    Ok((file, data, metadata))
}

/// What a file is that does not begin with the length of its header. Only of such a file is it asked: the bytes of a right
/// length may be those with which a file of another kind begins.
fn instead(file: &File, fault: Fault) -> Fault {
    let mut beginning = [0; 64];
    // What the system makes up as it is read (/proc) may have no beginning.
    let read = file.read_at(&mut beginning, 0).ok();
    read.and_then(|read| kinds::mistaken(&beginning[..read])).unwrap_or(fault)
}

fn sound_header(file: &mut File, size: u64) -> Result<(u64, Metadata), Fault> {
    let mut length = [0; LENGTH_BYTES as usize];
    if file.read_exact(&mut length).is_err() {
        return Err(instead(file, malformed("it is too short for a header")));
    }
    let length = u64::from_le_bytes(length);
    if length > MOST_HEADER_BYTES || length > size.saturating_sub(LENGTH_BYTES) {
        let most = MOST_HEADER_BYTES.min(size.saturating_sub(LENGTH_BYTES));
        let why = format!("its header claims {length} bytes, expected at most {most}");
        return Err(instead(file, malformed(&why)));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header).map_err(|error| unreadable(&error))?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| malformed(&error.to_string()))?;
    let data = LENGTH_BYTES + length;
    let found = size - data;
    let expected = metadata.data_len() as u64;
    if found != expected {
        let why = format!(
            "found {found} bytes of data, expected {expected}: copying or saving it did not finish, do it again"
        );
        return Err(malformed(&why));
    }
    Ok((data, metadata))
}

fn malformed(why: &str) -> Fault {
    Fault::new(FaultKind::Invalid, format!("not a valid safetensors file: {why}"))
}

fn dtype(info: &TensorInfo) -> Option<Dtype> {
    use safetensors::Dtype as Stored;
    Some(match info.dtype {
        Stored::F32 => Dtype::F32,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::Bf16,
        Stored::F64 => Dtype::F64,
        Stored::I64 => Dtype::I64,
        Stored::I32 => Dtype::I32,
        Stored::BOOL => Dtype::Bool,
        Stored::U8 => Dtype::U8,
        Stored::I8 => Dtype::I8,
        Stored::I16 => Dtype::I16,
        Stored::U16 => Dtype::U16,
        _ => return None,
    })
}

fn unread(name: &str, found: safetensors::Dtype, expected: &str) -> Fault {
    Fault::invalid(quoted(name), format!("found dtype {found:?}, expected {expected}"))
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
        TensorFiles::open(file(header, data).path()).unwrap_err()
    }

    #[test]
    fn a_sound_file_opens() {
        let header = r#"{"b":{"dtype":"BF16","shape":[2],"data_offsets":[4,8]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},
            "__metadata__":{"format":"pt"}}"#;
        let file = TensorFiles::open(file(header, 8).path()).unwrap();
        let names: Vec<_> = file.manifest().tensors().iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_length_that_begins_like_another_kind_of_file_is_a_length() {
        // 0x3c is <, 0x7b is {, and 0x80 0x02 begins a pickle.
        for length in [0x13c, 0x17b, 0x280] {
            let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
            let fault = fault(&format!("{header:length$}"), 4);
            assert!(fault.message.contains("found 4 bytes of data, expected 8"), "{fault}");
        }
    }

    #[test]
    fn shards_are_read_as_one_file() {
        let directory = tempfile::tempdir().unwrap();
        let shard = |name: &str, tensor: &str, byte: u8| {
            let header = format!(r#"{{"{tensor}":{{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}}}"#);
            let length = (header.len() as u64).to_le_bytes();
            std::fs::write(directory.path().join(name), [&length[..], header.as_bytes(), &[byte; 2]].concat())
        };
        shard("1.safetensors", "b", 7).unwrap();
        shard("2.safetensors", "a", 9).unwrap();
        let index = r#"{"metadata":{},"weight_map":{"a":"2.safetensors","b":"1.safetensors"}}"#;
        std::fs::write(directory.path().join("model.safetensors.index.json"), index).unwrap();
        let model = TensorFiles::model(directory.path()).unwrap();
        let names: Vec<_> = model.manifest().tensors().iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!(model.all().unwrap(), [Bytes::from(vec![7; 2]), Bytes::from(vec![9; 2])]);
        shard("2.safetensors", "b", 9).unwrap();
        let fault = TensorFiles::model(directory.path()).unwrap_err();
        assert!(fault.message.contains("tensors[1].name: found \"b\" twice"), "{fault}");
        let folder = TensorFiles::open(directory.path()).unwrap_err();
        assert!(folder.message.ends_with("found a folder, expected a safetensors file"), "{folder}");
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
        assert_eq!(TensorFiles::open(file.path()).unwrap_err().kind, FaultKind::Invalid);
    }

    #[test]
    fn row_25_an_unknown_dtype_is_named() {
        let foreign = |name: &str, dtype: &str| {
            let header = format!(
                r#"{{"{name}":{{"dtype":"{dtype}","shape":[0],"data_offsets":[0,0]}},"a":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}}}"#
            );
            TensorFiles::open(file(&header, 0).path()).unwrap()
        };
        let snapshot = foreign("w", "F8_E4M3").check_parameters().unwrap_err();
        assert_eq!(
            snapshot.message,
            "\"w\": found dtype F8_E4M3, expected F32, F16, BF16 or F64: save it in one of these"
        );
        assert_eq!(foreign("steps", "U64").check_parameters(), Ok(()));
        let probe = foreign("labels", "U32").probe("en").unwrap_err();
        assert_eq!(
            probe.message,
            "\"labels\": found dtype U32, expected a float or BOOL, U8, I8, I16, U16, I32 or I64: save it as I64"
        );
        assert_eq!(foreign("idx", "U64").probe("en").unwrap().tensors.len(), 1);
        let alone = fault(r#"{"labels":{"dtype":"U32","shape":[1],"data_offsets":[0,4]}}"#, 4);
        assert!(
            alone.message.contains("\"labels\": found dtype U32, expected F32, F16, BF16, F64 or integers"),
            "{alone}"
        );
    }
}
