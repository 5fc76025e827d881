//! Tensor specifications, manifests, chunks.
//!
//! Owns: the check of declared byte lengths. May not touch: the limits (those are the manifest's).

use super::{Coded, Complaints};
use crate::pb;
use bytes::Bytes;
use clino_domain::tensor::{MAX_RANK, MAX_TENSOR_NAME, MAX_TENSORS};
use clino_domain::text::quoted;
use clino_domain::{Alias, Dtype, Fault, Manifest, TensorSpec};

/// A specification; the field paths of its faults are relative.
///
/// # Errors
/// An unknown dtype (with the tensor's name), too many axes, or a `byte_length` that is not that of shape and dtype.
pub fn spec_from_pb(spec: pb::TensorSpec) -> Result<TensorSpec, Fault> {
    let name = spec.name;
    let dtype = Dtype::from_pb("dtype", spec.dtype).map_err(|mut fault| {
        let of = format!(" (tensor {})", quoted(&name));
        fault.message.push_str(&of);
        fault.violations.iter_mut().for_each(|violation| violation.description.push_str(&of));
        fault
    })?;
    let domain = TensorSpec { name, dtype, shape: spec.shape };
    if domain.shape.len() > MAX_RANK {
        let found = domain.shape.len();
        return Err(Fault::invalid("shape", format!("found {found} axes, expected at most {MAX_RANK}")));
    }
    let Some(declared) = spec.byte_length else { return Ok(domain) };
    match domain.byte_length() {
        Some(bytes) if bytes != declared => {
            let of = format!("{} of shape {:?}", dtype.name(), domain.shape);
            Err(Fault::invalid("byte_length", format!("found {declared}, expected {bytes} for {of}")))
        }
        // An overflow is the manifest's to tell, where all its shapes are checked.
        _ => Ok(domain),
    }
}

/// A specification with its byte length declared.
pub fn spec_to_pb(spec: &TensorSpec) -> pb::TensorSpec {
    pb::TensorSpec {
        name: spec.name.clone(),
        dtype: spec.dtype.to_pb(),
        shape: spec.shape.clone(),
        byte_length: spec.byte_length(),
    }
}

/// A checked manifest.
///
/// # Errors
/// Those of [`spec_from_pb`] and of [`Manifest::new`], under `tensors[i].` and `aliases[i].`.
pub fn manifest_from_pb(tensors: Vec<pb::TensorSpec>, aliases: Vec<pb::Alias>) -> Result<Manifest, Fault> {
    if tensors.len() > MAX_TENSORS {
        let found = tensors.len();
        return Err(Fault::invalid("tensors", format!("found {found} tensors, expected 1 to {MAX_TENSORS}")));
    }
    let mut complaints = Complaints::default();
    let specs: Vec<_> = tensors
        .into_iter()
        .enumerate()
        .filter_map(|(i, spec)| complaints.keep(&format!("tensors[{i}]."), spec_from_pb(spec)))
        .collect();
    complaints.settle()?;
    let aliases = aliases.into_iter().map(|alias| Alias { name: alias.name, target: alias.target }).collect();
    Manifest::new(specs, aliases)
}

/// The first frame of `PutProbe`.
pub fn probe_manifest_to_pb(manifest: &Manifest, project: &str) -> pb::ProbeManifest {
    pb::ProbeManifest {
        tensors: manifest.tensors().iter().map(spec_to_pb).collect(),
        project: project.into(),
    }
}

/// A chunk with its checksum; `data` should hold at most 1 MiB.
pub fn chunk_to_pb(offset: u64, data: Bytes) -> pb::Chunk {
    let crc32c = clino_domain::crc32c(&data);
    pb::Chunk { offset, data, crc32c }
}

/// A tensor name that fits a message about it.
pub(super) fn check_tensor_name(name: &str) -> Result<(), Fault> {
    if name.is_empty() || name.len() > MAX_TENSOR_NAME {
        let found = name.len();
        return Err(Fault::invalid(
            "spec.name",
            format!("found {found} bytes, expected 1 to {MAX_TENSOR_NAME}"),
        ));
    }
    Ok(())
}
