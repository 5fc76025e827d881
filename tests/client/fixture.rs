//! A small classifier with probes and parameters.

use bytes::Bytes;
use clino_client::Plan;
use clino_domain::{Dtype, Tensor, TensorSpec, Value};
use std::path::{Path, PathBuf};

/// The model of most tests.
pub const CONFIG: &str = r#"{"model_type":"mlp","sizes":[8,16,3],"hidden_act":"relu"}"#;
/// Four million parameters: a push that takes a while.
pub const LARGE: &str = r#"{"model_type":"mlp","sizes":[1024,4096,3],"hidden_act":"relu"}"#;

pub fn tensor(name: &str, dtype: Dtype, shape: &[u64], data: Vec<u8>) -> Tensor {
    Tensor::new(TensorSpec { name: name.into(), dtype, shape: shape.to_vec() }, Bytes::from(data)).unwrap()
}

/// Numbers that look random and are the same every time.
pub fn values(count: u64, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

fn floats(name: &str, shape: &[u64], seed: u64) -> Tensor {
    let data = values(shape.iter().product(), seed).iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, Dtype::F32, shape, data)
}

pub fn probe(examples: u64, features: u64) -> Vec<Tensor> {
    let labels = (0..examples).flat_map(|i| (i as i64 % 3).to_le_bytes()).collect();
    vec![floats("inputs", &[examples, features], 7), tensor("labels", Dtype::I64, &[examples], labels)]
}

/// Random parameters of the shapes that the daemon asks for.
pub fn parameters(specs: &[TensorSpec], seed: u64) -> Vec<Tensor> {
    specs.iter().zip(1..).map(|(spec, i)| floats(&spec.name, &spec.shape, 100 * seed + i)).collect()
}

/// Cheap measures of the small model in two groups.
pub fn plan() -> Plan {
    Plan::new("client test", CONFIG)
        .group("a", probe(16, 8))
        .group("b", probe(9, 8))
        .measure("loss", [])
        .measure("distance", [])
        .measure("sharpness", [("alpha", Value::Number(0.01)), ("draws", Value::Number(2.0))])
}

/// The large model, one cheap measure.
pub fn large_plan() -> Plan {
    Plan::new("large", LARGE).group("a", probe(4, 1024)).measure("param_norm", [])
}

/// Writes tensors as a safetensors file.
pub fn save(directory: &Path, name: &str, tensors: &[Tensor]) -> PathBuf {
    let view = |tensor: &Tensor| {
        let dtype = match tensor.spec.dtype {
            Dtype::F32 => safetensors::Dtype::F32,
            Dtype::I64 => safetensors::Dtype::I64,
            other => panic!("{other:?} is not needed here"),
        };
        (dtype, tensor.spec.shape.iter().map(|axis| *axis as usize).collect::<Vec<_>>(), tensor.data.clone())
    };
    let views: Vec<_> = tensors.iter().map(|t| (t.spec.name.clone(), view(t))).collect();
    let views: Vec<_> = views
        .iter()
        .map(|(name, (dtype, shape, data))| {
            (name.as_str(), safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
        })
        .collect();
    let path = directory.join(name);
    safetensors::serialize_to_file(views, None, &path).unwrap();
    path
}
