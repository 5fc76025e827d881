//! Files of tensors: probes, and initializations that later snapshots are compared with. safetensors, so that others read
//! them, too.
//!
//! Owns: how they are written, whole or not at all, and read. May not touch: which are kept.

use super::private::create;
use clino_domain::id::hex;
use clino_domain::{Dtype, Fault, Layout, Manifest, ParameterSource, Reference, Tensor, TensorSpec};
use safetensors::tensor::{Metadata, TensorInfo};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Largest header that is read.
const MOST_HEADER_BYTES: u64 = 64 << 20;
/// Elements that are copied at once.
const PIECE: usize = 1 << 17;

/// The name of each dtype in a file.
fn stored(dtype: Dtype) -> safetensors::Dtype {
    use safetensors::Dtype as Stored;
    match dtype {
        Dtype::F32 => Stored::F32,
        Dtype::F16 => Stored::F16,
        Dtype::Bf16 => Stored::BF16,
        Dtype::F64 => Stored::F64,
        Dtype::I64 => Stored::I64,
        Dtype::I32 => Stored::I32,
        Dtype::Bool => Stored::BOOL,
        Dtype::U8 => Stored::U8,
        Dtype::I8 => Stored::I8,
        Dtype::I16 => Stored::I16,
        Dtype::U16 => Stored::U16,
    }
}

fn other(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// Length and text of the header; the bytes of the tensors follow in the order of `specs`.
fn header(specs: &[TensorSpec]) -> io::Result<Vec<u8>> {
    let mut offset = 0;
    let mut info = |spec: &TensorSpec| {
        let length = spec.byte_length().unwrap_or(0) as usize;
        let dtype = stored(spec.dtype);
        let shape = spec.shape.iter().map(|axis| *axis as usize).collect();
        let begin = offset;
        offset += length;
        (spec.name.clone(), TensorInfo { dtype, shape, data_offsets: (begin, offset) })
    };
    let metadata = Metadata::new(None, specs.iter().map(&mut info).collect()).map_err(other)?;
    let mut text = serde_json::to_vec(&metadata).map_err(other)?;
    // The format asks for data that begin at a multiple of eight.
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok([&(text.len() as u64).to_le_bytes(), &text[..]].concat())
}

/// Writes a file under another name, and gives it its own when it is whole and on disk.
fn whole(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let unfinished = path.with_extension("unfinished");
    let mut file = BufWriter::new(create(&unfinished)?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&unfinished, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Writes the tensors of a probe to a file.
pub(super) fn write_probe(path: &Path, tensors: &[Tensor]) -> io::Result<()> {
    whole(path, |file| {
        let specs: Vec<_> = tensors.iter().map(|tensor| tensor.spec.clone()).collect();
        file.write_all(&header(&specs)?)?;
        tensors.iter().try_for_each(|tensor| file.write_all(&tensor.data))
    })
}

/// Names and shapes of a reference, with the dtypes that its bytes have.
fn specs(reference: &Reference) -> Result<Vec<TensorSpec>, Fault> {
    let spec = |(index, spec): (usize, &TensorSpec)| {
        let mut found = spec.dtype;
        reference.source.read(index, 0, 0, &mut |dtype, _| found = dtype)?;
        Ok(TensorSpec { dtype: found, ..spec.clone() })
    };
    reference.layout.parameters().iter().enumerate().map(spec).collect()
}

/// What a reference's file is called: by its bytes and by what they are the parameters of.
pub(super) fn reference_digest(reference: &Reference, bytes: &str) -> String {
    let mut digest = Sha256::new();
    for spec in reference.layout.parameters() {
        digest.update((spec.name.len() as u64).to_le_bytes());
        digest.update(&spec.name);
        digest.update(format!("{:?};", spec.shape));
    }
    digest.update(bytes);
    hex(digest.finalize())
}

/// Keeps a reference, in the order of its layout.
pub(super) fn write_reference(path: &Path, reference: &Reference) -> io::Result<()> {
    whole(path, |file| {
        let specs = specs(reference).map_err(other)?;
        file.write_all(&header(&specs)?)?;
        for (index, spec) in specs.iter().enumerate() {
            copy(file, reference, index, spec.numel().unwrap_or(0) as usize)?;
        }
        Ok(())
    })
}

fn copy(file: &mut impl Write, reference: &Reference, index: usize, elements: usize) -> io::Result<()> {
    for start in (0..elements).step_by(PIECE) {
        let mut written = Ok(());
        let with = &mut |_, bytes: &[u8]| written = file.write_all(bytes);
        reference.source.read(index, start, PIECE.min(elements - start), with).map_err(other)?;
        written?;
    }
    Ok(())
}

/// An open file of tensors.
#[derive(Debug)]
pub(super) struct TensorFile {
    file: File,
    manifest: Manifest,
    /// Where each tensor begins in the file.
    starts: Vec<u64>,
}

impl TensorFile {
    /// Opens a file that this module wrote.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when it is missing or damaged.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        Self::read(path).map_err(|error| Fault::internal(format!("{}: {error}", path.display())))
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > MOST_HEADER_BYTES || length > size.saturating_sub(8) {
            return Err(other("its header is damaged"));
        }
        let mut text = vec![0; length as usize];
        file.read_exact(&mut text)?;
        let metadata: Metadata = serde_json::from_slice(&text).map_err(other)?;
        let data = 8 + length;
        if size - data != metadata.data_len() as u64 {
            return Err(other(format!("found {} bytes, expected {}", size - data, metadata.data_len())));
        }
        let mut specs = Vec::new();
        let mut starts = Vec::new();
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let known = Dtype::ALL.into_iter().find(|dtype| stored(*dtype) == info.dtype);
            let dtype = known.ok_or_else(|| other("an unknown dtype"))?;
            let shape = info.shape.iter().map(|axis| *axis as u64).collect();
            specs.push(TensorSpec { name, dtype, shape });
            starts.push(data + info.data_offsets.0 as u64);
        }
        Ok(Self { file, manifest: Manifest::new(specs, Vec::new()).map_err(other)?, starts })
    }

    fn bytes(&self, index: usize, start: u64, length: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; length as usize];
        let read = self.file.read_exact_at(&mut bytes, self.starts[index] + start);
        read.map(|()| bytes).map_err(|error| Fault::internal(format!("the history failed: {error}")))
    }

    /// All tensors.
    ///
    /// # Errors
    /// [`clino_domain::FaultKind::Internal`] when they cannot be read.
    pub fn tensors(&self) -> Result<Vec<Tensor>, Fault> {
        let tensor = |(index, spec): (usize, &TensorSpec)| {
            Tensor::new(spec.clone(), self.bytes(index, 0, spec.byte_length().unwrap_or(0))?.into())
        };
        self.manifest.tensors().iter().enumerate().map(tensor).collect()
    }

    /// The tensors as parameters of a layout.
    ///
    /// # Errors
    /// Those of [`Layout::arrange`].
    pub fn parameters(self, layout: &dyn Layout) -> Result<Arc<dyn ParameterSource>, Fault> {
        let places = layout.arrange(&self.manifest)?;
        Ok(Arc::new(StoredParameters { file: self, places }))
    }
}

/// Parameters that are read piece by piece.
#[derive(Debug)]
struct StoredParameters {
    file: TensorFile,
    /// Place of each parameter of the layout among the tensors.
    places: Vec<usize>,
}

impl ParameterSource for StoredParameters {
    fn read(
        &self,
        index: usize,
        start: usize,
        len: usize,
        with: &mut dyn FnMut(Dtype, &[u8]),
    ) -> Result<(), Fault> {
        let place = self.places[index];
        let dtype = self.file.manifest.tensors()[place].dtype;
        with(dtype, &self.file.bytes(place, start as u64 * dtype.size(), len as u64 * dtype.size())?);
        Ok(())
    }
}
