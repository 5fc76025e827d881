//! Tensors as bytes with a name, a dtype and a shape; manifests with their limits.
//!
//! Owns: checked sizes, limits on what a client may declare. May not touch: what a tensor means to a model.

use super::text::quoted;
use super::{Fault, FaultKind, Violation};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};

/// Most tensors in a manifest.
pub const MAX_TENSORS: usize = 100_000;
/// Longest tensor name, in bytes.
pub const MAX_TENSOR_NAME: usize = 512;
/// Most axes of a tensor.
pub const MAX_RANK: usize = 16;

/// How elements are stored, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// 32-bit float (IEEE binary32).
    F32,
    /// 16-bit float (IEEE binary16).
    F16,
    /// The upper half of a binary32.
    Bf16,
    /// 64-bit float (IEEE binary64).
    F64,
    /// Two's complement, 64 bits.
    I64,
    /// Two's complement, 32 bits.
    I32,
    /// A byte, 0 or 1.
    Bool,
    /// Unsigned integer of 8 bits.
    U8,
    /// Two's complement, 8 bits.
    I8,
    /// Two's complement, 16 bits.
    I16,
    /// Unsigned integer of 16 bits.
    U16,
}

impl Dtype {
    /// All of them, in the order of their numbers on the wire.
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::F64,
        Self::I64,
        Self::I32,
        Self::Bool,
        Self::U8,
        Self::I8,
        Self::I16,
        Self::U16,
    ];

    /// Bytes of one element.
    pub fn size(self) -> u64 {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// Whether parameters may have it.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16 | Self::F64)
    }

    /// Widens little-endian elements to f64, exactly.
    ///
    /// # Panics
    /// When `bytes` does not hold `out.len()` elements; callers slice by [`Dtype::size`].
    #[inline(always)]
    pub fn widen(self, bytes: &[u8], out: &mut [f64]) {
        match self {
            Self::F32 => each(bytes, out, |b| f64::from(f32::from_le_bytes(b))),
            Self::F64 => each(bytes, out, f64::from_le_bytes),
            Self::F16 => each(bytes, out, |b| half::f16::from_le_bytes(b).to_f64()),
            Self::Bf16 => each(bytes, out, |b| half::bf16::from_le_bytes(b).to_f64()),
            Self::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f64),
            Self::I32 => each(bytes, out, |b| f64::from(i32::from_le_bytes(b))),
            Self::Bool | Self::U8 => each(bytes, out, |[b]: [u8; 1]| f64::from(b)),
            Self::I8 => each(bytes, out, |b| f64::from(i8::from_le_bytes(b))),
            Self::I16 => each(bytes, out, |b| f64::from(i16::from_le_bytes(b))),
            Self::U16 => each(bytes, out, |b| f64::from(u16::from_le_bytes(b))),
        }
    }

    /// As safetensors spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F64 => "F64",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::Bool => "BOOL",
            Self::U8 => "U8",
            Self::I8 => "I8",
            Self::I16 => "I16",
            Self::U16 => "U16",
        }
    }

    /// Little-endian integers, exactly; `None` for a float.
    ///
    /// # Panics
    /// When `bytes` does not hold whole elements.
    pub fn integers(self, bytes: &[u8]) -> Option<Vec<i64>> {
        Some(match self {
            Self::I64 => elements(bytes, i64::from_le_bytes),
            Self::I32 => elements(bytes, |b| i32::from_le_bytes(b).into()),
            Self::Bool | Self::U8 => elements(bytes, |[b]: [u8; 1]| b.into()),
            Self::I8 => elements(bytes, |b| i8::from_le_bytes(b).into()),
            Self::I16 => elements(bytes, |b| i16::from_le_bytes(b).into()),
            Self::U16 => elements(bytes, |b| u16::from_le_bytes(b).into()),
            Self::F32 | Self::F16 | Self::Bf16 | Self::F64 => return None,
        })
    }
}

fn elements<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> i64) -> Vec<i64> {
    let (elements, rest) = bytes.as_chunks::<N>();
    assert!(rest.is_empty(), "a tensor has whole elements");
    elements.iter().map(|element| convert(*element)).collect()
}

// Inlined, so that a caller that is compiled for wide vectors converts with them.
#[inline(always)]
fn each<const N: usize>(bytes: &[u8], out: &mut [f64], convert: impl Fn([u8; N]) -> f64) {
    let (elements, rest) = bytes.as_chunks::<N>();
    assert!(rest.is_empty() && elements.len() == out.len(), "a slice of elements has their length");
    for (out, element) in out.iter_mut().zip(elements) {
        *out = convert(*element);
    }
}

/// Name, dtype and shape of one tensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorSpec {
    /// Unique in its manifest.
    pub name: String,
    /// Storage of an element.
    pub dtype: Dtype,
    /// Length of each axis, row-major.
    pub shape: Vec<u64>,
}

impl TensorSpec {
    /// Number of elements; `None` when it overflows.
    pub fn numel(&self) -> Option<u64> {
        self.shape.iter().try_fold(1u64, |product, axis| product.checked_mul(*axis))
    }

    /// Number of bytes; `None` when it overflows.
    pub fn byte_length(&self) -> Option<u64> {
        self.numel()?.checked_mul(self.dtype.size())
    }
}

/// A second name of a tensor: tied weights.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Alias {
    /// Additional name of the tensor.
    pub name: String,
    /// A tensor of the same manifest.
    pub target: String,
}

/// What an upload will hold, in the order of its bytes. Only made by [`Manifest::new`], so its sizes are sound.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Manifest {
    tensors: Vec<TensorSpec>,
    aliases: Vec<Alias>,
    total_bytes: u64,
}

impl Manifest {
    /// Checks limits, names, sizes and aliases.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] with one violation a wrong field (`tensors[3].shape`, `aliases[0].target`), at most
    /// sixteen of them.
    pub fn new(tensors: Vec<TensorSpec>, aliases: Vec<Alias>) -> Result<Self, Fault> {
        if tensors.is_empty() || tensors.len() > MAX_TENSORS {
            let found = tensors.len();
            return Err(Fault::invalid(
                "tensors",
                format!("found {found} tensors, expected 1 to {MAX_TENSORS}"),
            ));
        }
        if aliases.len() > MAX_TENSORS {
            let found = aliases.len();
            return Err(Fault::invalid(
                "aliases",
                format!("found {found} aliases, expected at most {MAX_TENSORS}"),
            ));
        }
        let mut violations = Vec::new();
        let total_bytes = check_tensors(&tensors, &mut violations);
        check_aliases(&tensors, &aliases, &mut violations);
        if violations.is_empty() {
            return Ok(Self { tensors, aliases, total_bytes });
        }
        violations.truncate(16);
        Err(Fault::of(FaultKind::Invalid, violations))
    }

    /// The tensors, in the order of their bytes.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Additional names of tensors.
    pub fn aliases(&self) -> &[Alias] {
        &self.aliases
    }

    /// Bytes of all tensors together.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }
}

fn check_tensors(tensors: &[TensorSpec], violations: &mut Vec<Violation>) -> u64 {
    let mut seen = HashMap::with_capacity(tensors.len());
    let mut total = 0u64;
    for (i, tensor) in tensors.iter().enumerate() {
        let mut wrong = |field: &str, description: String| {
            violations.push(Violation { field: format!("tensors[{i}].{field}"), description });
        };
        if tensor.name.is_empty() || tensor.name.len() > MAX_TENSOR_NAME {
            wrong("name", format!("found {} bytes, expected 1 to {MAX_TENSOR_NAME}", tensor.name.len()));
        } else if let Some(first) = seen.insert(tensor.name.as_str(), i) {
            wrong(
                "name",
                format!("found {} twice, the first time in tensors[{first}]", quoted(&tensor.name)),
            );
        }
        if tensor.shape.len() > MAX_RANK {
            wrong("shape", format!("found {} axes, expected at most {MAX_RANK}", tensor.shape.len()));
            continue;
        }
        match tensor.byte_length().and_then(|bytes| total.checked_add(bytes)) {
            Some(sum) => total = sum,
            None => {
                wrong("shape", format!("found {:?}, whose size in bytes overflows 64 bits", tensor.shape))
            }
        }
    }
    total
}

fn check_aliases(tensors: &[TensorSpec], aliases: &[Alias], violations: &mut Vec<Violation>) {
    let targets: HashSet<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
    let mut names = targets.clone();
    for (i, alias) in aliases.iter().enumerate() {
        let mut wrong = |field: &str, description: String| {
            violations.push(Violation { field: format!("aliases[{i}].{field}"), description });
        };
        if alias.name.is_empty() || alias.name.len() > MAX_TENSOR_NAME {
            wrong("name", format!("found {} bytes, expected 1 to {MAX_TENSOR_NAME}", alias.name.len()));
        } else if !names.insert(&alias.name) {
            wrong(
                "name",
                format!(
                    "found {}, which is already the name of another tensor or alias",
                    quoted(&alias.name)
                ),
            );
        }
        if !targets.contains(alias.target.as_str()) {
            wrong("target", format!("found {}, expected the name of a tensor", quoted(&alias.target)));
        }
    }
}

/// A tensor with its bytes: `data.len()` is the byte length of `spec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Name, dtype and shape of the tensor.
    pub spec: TensorSpec,
    /// Elements, little-endian and row-major.
    pub data: Bytes,
}

impl Tensor {
    /// Checks that the bytes are those of the spec.
    ///
    /// # Errors
    /// [`FaultKind::Invalid`] naming `data` or `shape`.
    pub fn new(spec: TensorSpec, data: Bytes) -> Result<Self, Fault> {
        match spec.byte_length() {
            None => Err(Fault::invalid(
                "shape",
                format!("found {:?}, whose size in bytes overflows 64 bits", spec.shape),
            )),
            Some(bytes) if bytes != data.len() as u64 => {
                let found = data.len();
                Err(Fault::invalid(
                    "data",
                    format!("found {found} bytes, expected {bytes} for {:?}", spec.shape),
                ))
            }
            Some(_) => Ok(Self { spec, data }),
        }
    }

    /// The same of its parts.
    ///
    /// # Errors
    /// Those of [`Tensor::new`].
    pub fn named(name: &str, dtype: Dtype, shape: &[u64], data: impl Into<Bytes>) -> Result<Self, Fault> {
        Self::new(TensorSpec { name: name.into(), dtype, shape: shape.to_vec() }, data.into())
    }
}

/// CRC-32/ISCSI (Castagnoli) of `data`.
pub fn crc32c(data: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, shape: &[u64]) -> TensorSpec {
        TensorSpec { name: name.into(), dtype: Dtype::F32, shape: shape.to_vec() }
    }

    #[test]
    fn the_checksum_is_that_of_the_catalogue() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn integers_of_every_width_are_read_exactly() {
        let read = |dtype: Dtype, bytes: &[u8]| {
            let integers = dtype.integers(bytes).expect("an integer");
            let mut wide = vec![0.0; integers.len()];
            dtype.widen(bytes, &mut wide);
            assert!(integers.iter().zip(&wide).all(|(i, x)| *i as f64 == *x), "{dtype:?}");
            integers
        };
        assert_eq!(read(Dtype::Bool, &[0, 1]), [0, 1]);
        assert_eq!(read(Dtype::U8, &[0, 255]), [0, 255]);
        assert_eq!(read(Dtype::I8, &[127, 255]), [127, -1]);
        assert_eq!(read(Dtype::I16, &[1, 1, 0xff, 0xff]), [257, -1]);
        assert_eq!(read(Dtype::U16, &[1, 1, 0xff, 0xff]), [257, 65535]);
        assert_eq!(read(Dtype::I32, &(-3i32).to_le_bytes()), [-3]);
        assert_eq!(read(Dtype::I64, &i64::from(i32::MIN).to_le_bytes()), [i64::from(i32::MIN)]);
        let floats: Vec<Dtype> = Dtype::ALL.into_iter().filter(|dtype| dtype.is_float()).collect();
        assert!(floats.iter().all(|dtype| dtype.integers(&[0; 8]).is_none()));
        assert_eq!(floats, [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::F64]);
    }

    fn field_of(result: Result<Manifest, Fault>) -> String {
        result.expect_err("must be refused").violations[0].field.clone()
    }

    #[test]
    fn row_21_a_product_that_overflows_is_refused() {
        let shape = [4_194_305, 4_194_305, 211_106_198_978_564];
        assert_eq!(field_of(Manifest::new(vec![spec("w", &shape)], vec![])), "tensors[0].shape");
    }

    #[test]
    fn row_23_limits_hold_and_zero_sized_axes_pass() {
        assert_eq!(field_of(Manifest::new(vec![], vec![])), "tensors");
        assert_eq!(field_of(Manifest::new(vec![spec(&"x".repeat(513), &[1])], vec![])), "tensors[0].name");
        assert_eq!(field_of(Manifest::new(vec![spec("w", &[1; 17])], vec![])), "tensors[0].shape");
        let empty = Manifest::new(vec![spec("w", &[0, 7])], vec![]).expect("zero-sized axes are accepted");
        assert_eq!(empty.total_bytes(), 0);
    }

    #[test]
    fn row_24_names_are_unique_and_aliases_point_at_tensors() {
        let alias = |name: &str, target: &str| Alias { name: name.into(), target: target.into() };
        let two = || vec![spec("a", &[1]), spec("b", &[1])];
        assert_eq!(
            field_of(Manifest::new(vec![spec("a", &[1]), spec("a", &[1])], vec![])),
            "tensors[1].name"
        );
        assert_eq!(field_of(Manifest::new(two(), vec![alias("b", "a")])), "aliases[0].name");
        assert_eq!(
            field_of(Manifest::new(two(), vec![alias("c", "d"), alias("d", "c")])),
            "aliases[0].target"
        );
        assert!(Manifest::new(two(), vec![alias("c", "a")]).is_ok());
    }
}
