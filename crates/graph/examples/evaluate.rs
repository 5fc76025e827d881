//! Evaluates a graph on a case and differentiates it, by itself: what the exporter's tests compare with torch.
//!
//! `evaluate MODEL.clino SNAPSHOT.safetensors CASE.safetensors [--out FILE] [--precision f32|f64] [--threads N]`
//!
//! A case holds `input.NAME`, and `cotangent.OUTPUT` for the outputs that are differentiated; where it has `output.NAME` and
//! `gradient.NAME`, the errors are told. The file that is written holds `output.NAME` and `gradient.NAME`.
//!
//! Owns: files and the comparison. May not touch: arithmetic.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used)]

use clino_domain::graph::ModelKind;
use clino_domain::graph::{ValueType, value_type};
use clino_domain::{Dtype, Fault, Stop};
use clino_graph::{
    BatchTensors, Data, Evaluator, EvaluatorInput, GraphModel, Limits, Parameters, Prepared, Real, View,
};
use clino_proto::convert::model_from_pb;
use prost::Message;
use safetensors::tensor::TensorView;
use safetensors::{Dtype as Stored, SafeTensors};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does all of it; sizes are only counted. `alloc_zeroed` and `realloc` come through these.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as its caller has promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as its caller has promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Begins to count; the value is what there is.
fn count() -> usize {
    let live = LIVE.load(Ordering::Relaxed);
    PEAK.store(live, Ordering::Relaxed);
    live
}

fn dtype(stored: Stored) -> Dtype {
    match stored {
        Stored::F32 => Dtype::F32,
        Stored::F64 => Dtype::F64,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::Bf16,
        Stored::I64 => Dtype::I64,
        Stored::I32 => Dtype::I32,
        Stored::BOOL => Dtype::Bool,
        Stored::U8 => Dtype::U8,
        Stored::I8 => Dtype::I8,
        Stored::I16 => Dtype::I16,
        other => panic!("{other:?} is not read"),
    }
}

fn wide(tensor: &TensorView<'_>) -> Vec<f64> {
    let dtype = dtype(tensor.dtype());
    let mut out = vec![0.0; tensor.data().len() / dtype.size() as usize];
    dtype.widen(tensor.data(), &mut out);
    out
}

fn data<T: Real>(tensor: &TensorView<'_>, kind: ValueType) -> Data<T> {
    match kind {
        ValueType::Work => Data::Work(wide(tensor).into_iter().map(T::of).collect()),
        ValueType::I64 => Data::I64(dtype(tensor.dtype()).integers(tensor.data()).expect("integers")),
        ValueType::Bool => Data::Bool(wide(tensor).into_iter().map(|x| x != 0.0).collect()),
    }
}

struct Files<'a> {
    model: Arc<GraphModel>,
    snapshot: SafeTensors<'a>,
    case: SafeTensors<'a>,
    threads: usize,
}

type Named = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

/// Outputs and gradients by name.
fn evaluate<T: Real>(files: &Files<'_>) -> Result<Named, Fault> {
    let model = &files.model;
    let parts = model.graph().parts();
    let mut params = vec![T::ZERO; model.total()];
    for slot in model.slots() {
        let tensor = &parts.tensors[slot.tensor];
        let values = wide(&files.snapshot.tensor(&tensor.name).expect("a tensor of the snapshot"));
        params[slot.range.clone()].iter_mut().zip(values).for_each(|(to, x)| *to = T::of(x));
    }
    let params = Parameters::split(&params, model.trained());
    let buffer = |i: &usize| {
        let tensor = &parts.tensors[*i];
        data(&files.snapshot.tensor(&tensor.name).expect("a buffer of the snapshot"), tensor.value_type())
    };
    let buffers = Arc::new(model.buffers().iter().map(buffer).collect::<Vec<_>>());
    let input = |name: &str| files.case.tensor(&format!("input.{name}")).expect("an input of the case");
    let shapes: Vec<Vec<usize>> = parts.inputs.iter().map(|one| input(&one.name).shape().to_vec()).collect();
    let inputs = parts.inputs.iter().map(|one| data(&input(&one.name), value_type(one.dtype))).collect();
    let plan = Arc::new(model.shapes(&shapes, &Limits::default())?);
    let stop = Stop::default();
    // What threads have for themselves, once and for all.
    rayon::broadcast(|_| clino_graph::gemm::warm());
    clino_graph::gemm::warm();
    let prepared = Prepared::new(model, &plan, BatchTensors { buffers, inputs }, files.threads, &stop)?;
    let before = count();
    let mut evaluator = Evaluator::new(model.clone(), plan.clone(), files.threads);
    let begin = Instant::now();
    let input = EvaluatorInput { prepared: &prepared, params, stop: &stop };
    evaluator.forward(input, true)?;
    let forward = begin.elapsed();
    let peak = PEAK.load(Ordering::Relaxed) - before;
    let made = LIVE.load(Ordering::Relaxed);
    let mut named = Named::new();
    for output in evaluator.outputs(&prepared, params) {
        let values = match output.data {
            View::Work(x) => x.iter().map(|x| x.wide()).collect(),
            other => other.to_i64().iter().map(|x| *x as f64).collect(),
        };
        named.insert(format!("output.{}", output.name), (output.shape.to_vec(), values));
    }
    let cotangent = |output: &clino_domain::graph::GraphOutput| {
        let tensor = files.case.tensor(&format!("cotangent.{}", output.name)).ok()?;
        Some(wide(&tensor).into_iter().map(T::of).collect::<Vec<_>>())
    };
    let d: Vec<Option<Vec<T>>> = parts.outputs.iter().map(cotangent).collect();
    let mut gradient = vec![T::ZERO; model.trained()];
    // Outputs for the comparison and the gradient are not the evaluator's.
    let aside = LIVE.load(Ordering::Relaxed) - made - sizes(&d);
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
    let begin = Instant::now();
    evaluator.backward(input, d, &mut gradient)?;
    let seconds = begin.elapsed();
    let peak = peak.max(PEAK.load(Ordering::Relaxed) - aside - before);
    let planned = plan.memory(model, true, size_of::<T>(), files.threads) as f64;
    let ratio = planned / peak as f64;
    println!(
        "forward {forward:.1?} backward {seconds:.1?} peak {:.2} MB planned / measured {ratio:.3}",
        peak as f64 / 1e6
    );
    for slot in model.slots().iter().filter(|slot| slot.trained) {
        let tensor = &parts.tensors[slot.tensor];
        let shape = tensor.shape.iter().map(|size| *size as usize).collect();
        let values = gradient[slot.range.clone()].iter().map(|x| x.wide()).collect();
        named.insert(format!("gradient.{}", tensor.name), (shape, values));
    }
    Ok(named)
}

fn sizes<T>(d: &[Option<Vec<T>>]) -> usize {
    d.iter().flatten().map(|d| d.capacity() * size_of::<T>()).sum()
}

fn norm(x: impl Iterator<Item = f64>) -> f64 {
    x.map(|x| x * x).sum::<f64>().sqrt()
}

/// Tells the greatest errors against what the case holds: of outputs, and of gradients with a floor of 1e-4 of the whole.
fn compare(named: &Named, case: &SafeTensors<'_>) {
    let mut worst = [(0.0, String::new()), (0.0, String::new())];
    let gradients = named.iter().filter(|(name, _)| name.starts_with("gradient."));
    let whole =
        norm(gradients.flat_map(|(name, _)| case.tensor(name).map(|view| wide(&view)).unwrap_or_default()));
    let mut compared = 0;
    for (name, (_, found)) in named {
        let Ok(expected) = case.tensor(name) else {
            let found = norm(found.iter().copied());
            if found != 0.0 {
                println!("  {name}: norm {found:.3e}, and the case has none");
            }
            continue;
        };
        let expected = wide(&expected);
        assert_eq!(expected.len(), found.len(), "{name}");
        compared += 1;
        let is_gradient = name.starts_with("gradient.");
        let floor = if is_gradient { 1e-4 * whole } else { f64::MIN_POSITIVE };
        let difference = norm(expected.iter().zip(found).map(|(a, b)| a - b));
        let error = difference / norm(expected.iter().copied()).max(floor);
        let worst = &mut worst[usize::from(is_gradient)];
        if error > worst.0 || error.is_nan() {
            *worst = (error, name.clone());
        }
    }
    let [output, gradient] = worst;
    println!("compared {compared} outputs {:.2e} gradients {:.2e} ({})", output.0, gradient.0, gradient.1);
}

fn write(named: &Named, path: &str) {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = named
        .iter()
        .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Stored::F64, (*shape).clone(), bytes).expect("a tensor"))
    });
    safetensors::serialize_to_file(views, None, path.as_ref()).expect("a file");
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut paths = Vec::new();
    let mut out = None;
    let mut precision = "f64".to_owned();
    let mut threads = 1;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--out" => out = arguments.next(),
            "--precision" => precision = arguments.next().expect("f32 or f64"),
            "--threads" => threads = arguments.next().expect("a number").parse().expect("a number"),
            _ => paths.push(argument),
        }
    }
    let [model, snapshot, case] = [0, 1, 2].map(|i| std::fs::read(&paths[i]).expect("a file"));
    let model = clino_proto::pb::Model::decode(model.as_slice()).expect("a model");
    let model = match model_from_pb(model) {
        Ok(ModelKind::Graph(graph, _)) => GraphModel::new(*graph).expect("a model"),
        Ok(ModelKind::Tensors(_)) => panic!("the model has no graph"),
        Err(fault) => return println!("FAULT {fault}"),
    };
    let files = Files {
        model: Arc::new(model),
        snapshot: SafeTensors::deserialize(&snapshot).expect("safetensors"),
        case: SafeTensors::deserialize(&case).expect("safetensors"),
        threads,
    };
    let named = if precision == "f32" { evaluate::<f32>(&files) } else { evaluate::<f64>(&files) };
    match named {
        Err(fault) => println!("FAULT {fault}"),
        Ok(named) => {
            compare(&named, &files.case);
            out.iter().for_each(|path| write(&named, path));
        }
    }
}
