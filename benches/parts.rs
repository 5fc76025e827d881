//! Parts of the engine, one after the other: `cargo bench --bench parts`.
//!
//! The model is the one of the examples, with a probe of made-up rows; passes go over 22 million parameters. For other
//! models, and beside other programs, there are `clino bench` and `versus_pytorch`.
#![allow(clippy::unwrap_used)]

use clino_domain::{
    Delivery, Dtype, Manifest, MeasureRequest, Precision, ProbeGroup, RunLabel, RunSpec, RunValidator,
    Snapshot, SnapshotHeader, SnapshotRef, Tensor, TensorSpec, Value, WeightKind,
};
use clino_engine::{Bench, Implementation, Validator};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use std::sync::Arc;

const PARAMETERS: usize = 22_000_000;
const ROWS: u64 = 32;
const LENGTH: u64 = 24;
const THREADS: [usize; 2] = [1, 2];

fn main() {
    divan::main();
}

fn integers(name: &str, shape: &[u64], value: impl Fn(u64) -> u64) -> Tensor {
    let spec = TensorSpec { name: name.into(), dtype: Dtype::I64, shape: shape.to_vec() };
    let count = shape.iter().product::<u64>();
    let bytes: Vec<u8> = (0..count).flat_map(|i| value(i).to_le_bytes()).collect();
    Tensor::new(spec, bytes.into()).unwrap()
}

fn probe() -> ProbeGroup {
    let tensors = vec![
        integers("input_ids", &[ROWS, LENGTH], |i| 5 + i * 31 % 6000),
        integers("attention_mask", &[ROWS, LENGTH], |_| 1),
        integers("labels", &[ROWS], |i| i % 8),
    ];
    ProbeGroup { name: "rows".into(), tensors: Arc::new(tensors) }
}

fn specification(config_json: &str) -> RunSpec {
    let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
    let parameters = [number("alpha", 0.05), number("draws", 8.0)].into();
    RunSpec {
        name: "bench".into(),
        config_json: config_json.into(),
        model: None,
        groups: vec![probe()],
        measures: vec![MeasureRequest { name: "sharpness".into(), parameters }],
        seed: 0,
        delivery: Delivery::Every,
        precision: Precision::F32,
        budget: None,
        gpu_only: false,
        label: RunLabel::default(),
        policy: None,
    }
}

fn snapshot(file: &[u8]) -> Snapshot {
    let at = SnapshotRef { step: 0, attempt: 1 };
    let header = SnapshotHeader { at, kind: WeightKind::Live, initialization: false };
    let (mut specs, mut data) = (Vec::new(), Vec::new());
    for (name, tensor) in safetensors::SafeTensors::deserialize(file).unwrap().tensors() {
        let shape = tensor.shape().iter().map(|axis| *axis as u64).collect();
        specs.push(TensorSpec { name, dtype: Dtype::F32, shape });
        data.push(tensor.data().to_vec().into());
    }
    Snapshot::new(header, Manifest::new(specs, vec![]).unwrap(), data).unwrap()
}

fn bench(threads: usize, implementation: Implementation) -> Bench {
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/nano");
    let config_json = std::fs::read_to_string(model.join("config.json")).unwrap();
    let validated = Validator.validate(&specification(&config_json)).unwrap();
    let snapshot = snapshot(&std::fs::read(model.join("init.safetensors")).unwrap());
    Bench::new(validated, snapshot, threads, &config_json, implementation).unwrap()
}

#[divan::bench(args = THREADS)]
fn forward(bencher: Bencher<'_, '_>, threads: usize) {
    let mut bench = bench(threads, Implementation::Fused);
    bencher.bench_local(|| bench.forward());
}

#[divan::bench(args = THREADS)]
fn forward_and_backward(bencher: Bencher<'_, '_>, threads: usize) {
    let mut bench = bench(threads, Implementation::Fused);
    bencher.bench_local(|| bench.backward());
}

#[divan::bench(args = THREADS)]
fn forward_and_backward_in_candle(bencher: Bencher<'_, '_>, threads: usize) {
    let mut bench = bench(threads, Implementation::Autograd);
    bencher.bench_local(|| bench.backward());
}

#[divan::bench(args = THREADS)]
fn sharpness_with_eight_draws(bencher: Bencher<'_, '_>, threads: usize) {
    let mut bench = bench(threads, Implementation::Fused);
    bencher.bench_local(|| bench.reading().unwrap());
}

#[divan::bench(args = THREADS, sample_count = 20)]
fn perturb(bencher: Bencher<'_, '_>, threads: usize) {
    let mut bench = bench(threads, Implementation::Fused);
    bencher.counter(ItemsCount::new(PARAMETERS)).bench_local(|| bench.perturb(PARAMETERS).unwrap());
}

#[divan::bench(args = THREADS, sample_count = 20)]
fn moments(bencher: Bencher<'_, '_>, threads: usize) {
    let mut bench = bench(threads, Implementation::Fused);
    bencher.counter(BytesCount::new(8 * PARAMETERS)).bench_local(|| bench.moments(PARAMETERS).unwrap());
}

#[divan::bench(args = THREADS, sample_count = 20)]
fn triad(bencher: Bencher<'_, '_>, threads: usize) {
    let mut bench = bench(threads, Implementation::Fused);
    bencher.counter(BytesCount::new(12 * PARAMETERS)).bench_local(|| bench.triad(PARAMETERS).unwrap());
}
