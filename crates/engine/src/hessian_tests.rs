//! The Hessian's measures on networks whose Hessian is known in closed form, and what a saturated network is told.
#![allow(clippy::unwrap_used)]

use crate::spectrum::{self, Shape};
use crate::tests::{limits, spec};
use crate::*;
use clino_domain::{
    Delivery, Dtype, FaultKind, Manifest, MeasureRequest, Outcome, Precision, ProbeGroup, Reading,
    References, RunLabel, RunSpec, RunValidator, Snapshot, SnapshotHeader, Stop, Tensor, TensorSpec, Value,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A probe: rows of inputs with their labels.
struct Probe {
    inputs: Vec<Vec<f64>>,
    labels: Vec<usize>,
}

impl Probe {
    /// Rows around a mean for each class, which are what the few outliers of such a Hessian come from.
    fn of_classes(classes: usize, columns: usize, rows: usize) -> Self {
        let wave = |a: usize, b: usize| (1.0 + (a * 31 + b * 17) as f64).sin();
        let input =
            |row: usize, column: usize| 2.0 * wave(row % classes, column + 7) + 0.3 * wave(row + 50, column);
        let inputs = (0..rows).map(|row| (0..columns).map(|column| input(row, column)).collect()).collect();
        Self { inputs, labels: (0..rows).map(|row| row % classes).collect() }
    }

    fn group(&self) -> ProbeGroup {
        let rows = self.inputs.len() as u64;
        let columns = self.inputs[0].len() as u64;
        let inputs: Vec<u8> = self.inputs.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
        let labels: Vec<u8> = self.labels.iter().flat_map(|label| (*label as i64).to_le_bytes()).collect();
        let tensors = vec![
            Tensor::new(spec("inputs", Dtype::F64, &[rows, columns]), inputs.into()).unwrap(),
            Tensor::new(spec("labels", Dtype::I64, &[rows]), labels.into()).unwrap(),
        ];
        ProbeGroup { name: "en".into(), tensors: Arc::new(tensors) }
    }

    /// Every row with a one behind it, for the bias.
    fn extended(&self) -> impl Iterator<Item = (Vec<f64>, usize)> + '_ {
        let row = |(x, label): (&Vec<f64>, &usize)| (x.iter().copied().chain([1.0]).collect(), *label);
        self.inputs.iter().zip(&self.labels).map(row)
    }
}

fn asked(name: &str, parameters: &[(&str, Value)]) -> MeasureRequest {
    let parameters = parameters.iter().map(|(name, value)| ((*name).into(), value.clone()));
    MeasureRequest { name: name.into(), parameters: parameters.collect::<BTreeMap<_, _>>() }
}

fn run(config: &str, probe: &Probe, measures: Vec<MeasureRequest>, precision: Precision) -> RunSpec {
    RunSpec {
        name: "run".into(),
        config_json: config.into(),
        model: None,
        groups: vec![probe.group()],
        measures,
        seed: 0,
        delivery: Delivery::Every,
        precision,
        budget: None,
        gpu_only: false,
        label: RunLabel::default(),
        policy: None,
    }
}

/// A snapshot of what `value` says of each element of each tensor.
fn snapshot(parameters: &[TensorSpec], value: &dyn Fn(&str, usize) -> f64) -> Snapshot {
    let specs: Vec<TensorSpec> =
        parameters.iter().map(|known| TensorSpec { dtype: Dtype::F64, ..known.clone() }).collect();
    let encode = |spec: &TensorSpec| -> bytes::Bytes {
        let numbers = (0..spec.numel().unwrap() as usize).map(|i| value(&spec.name, i));
        numbers.flat_map(f64::to_le_bytes).collect::<Vec<u8>>().into()
    };
    let data = specs.iter().map(encode).collect();
    let header = SnapshotHeader::live(1);
    Snapshot::new(header, Manifest::new(specs, Vec::new()).unwrap(), data).unwrap()
}

/// The readings of the group by itself, from noise of a seed.
fn readings(run: &RunSpec, seed: u64, value: &dyn Fn(&str, usize) -> f64) -> Vec<Reading> {
    let validated = Validator.validate(run).unwrap();
    let engine = Engine::new(2).unwrap();
    let snapshot = snapshot(validated.layout.parameters(), value);
    let arrived = Arrived { snapshot, references: References::default(), statistics: None };
    let mut session = engine.take(&validated, seed, arrived).unwrap();
    let mut hints = Hints::default();
    let stop = Stop::default();
    let tasks = session.tasks().into_iter().filter(|task| task.group.as_deref() != Some("pooled"));
    tasks.map(|task| session.measure(&task, &mut hints, limits(&stop)).unwrap()).collect()
}

fn part(reading: &Reading, name: &str) -> f64 {
    let found = reading.parts.iter().find(|part| part.name == name);
    found.unwrap_or_else(|| panic!("no {name}: {reading:?}")).value.unwrap()
}

fn near(found: f64, exact: f64, context: &str) {
    assert!((found - exact).abs() <= 1e-3 * exact.abs(), "{context}: found {found}, exact {exact}");
}

/// A network of zeros: each hidden unit ties its inputs to the classes by M = mean (p - y) xᵀ, so that every singular
/// value of M is an eigenvalue with either sign, as often as there are hidden units.
#[test]
fn ends_of_a_network_of_zeros_are_tied_and_found() {
    let probe = Probe::of_classes(3, 4, 24);
    let mut ties = vec![0.0; 3 * 5];
    for (row, label) in probe.extended() {
        for (class, tie) in (0..3).flat_map(|class| (0..5).map(move |i| (class, i))) {
            let slope = 1.0 / 3.0 - if class == label { 1.0 } else { 0.0 };
            ties[class * 5 + tie] += slope * row[tie] / 24.0;
        }
    }
    let tie = spectrum::of(0, Shape { rows: 3, columns: 5 }, &Stop::default(), spectrum::from_slice(&ties))
        .unwrap()
        .top()
        .sqrt();
    assert!(tie > 0.4, "the tie is the greatest there is: {tie}");
    let config = r#"{"model_type":"mlp","sizes":[4,6,3],"hidden_act":"tanh"}"#;
    let run = run(config, &probe, vec![asked("hessian_top", &[])], Precision::F64);
    for seed in 0..5 {
        let reading = &readings(&run, seed, &|_, _| 0.0)[0];
        let context = format!("seed {seed}: {reading:?}");
        near(part(reading, "top"), tie, &context);
        near(part(reading, "bottom"), -tie, &context);
        near(part(reading, "dominant").abs(), tie, &context);
        assert_eq!(reading.remark, None);
    }
}

/// Softmax regression: H = mean (diag p - p pᵀ) ⊗ x xᵀ, with a few outliers, one a class, and a bulk.
#[test]
fn ends_and_trace_of_softmax_regression_are_those_of_its_matrix() {
    let classes = 5;
    let columns = 8;
    let probe = Probe::of_classes(classes, columns, 60);
    let weight = |name: &str, i: usize| {
        if name.ends_with("weight") { 0.1 * (i as f64).sin() } else { 0.02 * i as f64 }
    };
    let width = columns + 1;
    let size = classes * width;
    let mut hessian = vec![0.0; size * size];
    for (row, _) in probe.extended() {
        let score = |class: usize| {
            let terms = (0..columns).map(|i| weight("weight", class * columns + i) * row[i]);
            weight("bias", class) + terms.sum::<f64>()
        };
        let powers: Vec<f64> = (0..classes).map(|class| score(class).exp()).collect();
        let p: Vec<f64> = powers.iter().map(|x| x / powers.iter().sum::<f64>()).collect();
        for i in 0..size {
            for j in 0..size {
                let a = i / width;
                let b = j / width;
                let between = p[a] * (if a == b { 1.0 } else { 0.0 } - p[b]);
                hessian[i * size + j] += between * row[i % width] * row[j % width] / 60.0;
            }
        }
    }
    let exact = spectrum::symmetric(size, |i, j| hessian[i * size + j]).unwrap();
    let top = exact.last().unwrap().0;
    let trace: f64 = exact.iter().map(|(value, _)| value).sum();
    let config = r#"{"model_type":"mlp","sizes":[8,5]}"#;
    let run = run(
        config,
        &probe,
        vec![asked("hessian_top", &[]), asked("hessian_trace", &[("sketch", Value::Number(10.0))])],
        Precision::F64,
    );
    for seed in 0..5 {
        let all = readings(&run, seed, &weight);
        let of = |name: &str| all.iter().find(|reading| reading.measure == name).unwrap();
        let ends = of("hessian_top");
        let found = of("hessian_trace");
        near(part(ends, "top"), top, &format!("seed {seed}: {ends:?}"));
        // Nothing is below zero, and much is zero.
        assert!(part(ends, "bottom").abs() < 1e-3 * top, "seed {seed}: {ends:?}");
        let stderr = found.estimate.unwrap().stderr.unwrap();
        assert!((found.value.unwrap() - trace).abs() <= 5.0 * stderr + 1e-6 * trace, "{found:?} {trace}");
    }
}

#[test]
fn a_saturated_network_is_not_flat() {
    // Every score but the label's is 2,000 below it: the loss and its gradient are zero to the last bit.
    let mut probe = Probe::of_classes(3, 3, 9);
    probe.labels.fill(0);
    let saturated = |name: &str, i: usize| match (name, i) {
        ("layers.1.bias", 0) => 2000.0,
        _ => 0.3 * (i as f64 + 1.0).sin(),
    };
    let word = |name: &str, key: &str, value: &str| asked(name, &[(key, Value::Text(value.into()))]);
    let mut measures = vec![
        word("worst_case", "p", "l2"),
        word("critical", "direction", "gradient"),
        word("hessian_top", "method", "power"),
        word("hessian_trace", "method", "hutchinson"),
        word("sharpness", "scope", "layer"),
        word("sam", "scope", "layer"),
        word("asam", "scope", "all"),
    ];
    let plain = ["sam", "asam", "worst_case", "keskar", "sharpness", "sharpness_paper", "sharpness_profile"];
    let more = ["flat_radius", "hessian_top", "hessian_trace", "hessian_density"];
    measures.extend(plain.iter().chain(&more).map(|name| asked(name, &[])));
    let flat = ["loss", "gradient_norm", "average_case", "low_pass"];
    let config = r#"{"model_type":"mlp","sizes":[3,3,3],"hidden_act":"tanh"}"#;
    for precision in [Precision::F64, Precision::F32] {
        let undefined = readings(&run(config, &probe, measures.clone(), precision), 0, &saturated);
        assert_eq!(undefined.len(), measures.len());
        for reading in undefined {
            assert_eq!((reading.outcome, reading.value), (Outcome::Undefined, None), "{reading:?}");
            assert!(reading.reason.as_ref().unwrap().contains("is zero"), "{reading:?}");
        }
        // What follows no gradient has its value.
        let measures = flat.iter().map(|name| asked(name, &[])).collect();
        for reading in readings(&run(config, &probe, measures, precision), 0, &saturated) {
            assert_eq!((reading.outcome, reading.value), (Outcome::Measured, Some(0.0)), "{reading:?}");
        }
    }
}

#[test]
fn a_stop_ends_a_measure_at_its_next_product() {
    let probe = Probe::of_classes(3, 3, 9);
    let numbers = [("sketch", 1.0), ("stderr", 1e-12), ("max_seconds", 1e6), ("max_draws", 4096.0)];
    let numbers = numbers.map(|(name, x)| (name, Value::Number(x)));
    let config = r#"{"model_type":"mlp","sizes":[3,3,3],"hidden_act":"tanh"}"#;
    let run = run(config, &probe, vec![asked("hessian_trace", &numbers)], Precision::F64);
    let validated = Validator.validate(&run).unwrap();
    let engine = Engine::new(1).unwrap();
    let snapshot = snapshot(validated.layout.parameters(), &|_, i| 0.3 * (i as f64 + 1.0).sin());
    let arrived = Arrived { snapshot, references: References::default(), statistics: None };
    let mut session = engine.take(&validated, 0, arrived).unwrap();
    let stop = Stop::default();
    let task = session.tasks()[0].clone();
    // The clock is looked at after the first draws: from then on it is stopped.
    let clock = || {
        stop.raise("enough");
        0.0
    };
    let limits = Limits { stop: &stop, clock: &clock };
    let fault = session.measure(&task, &mut Hints::default(), limits).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Cancelled);
}
