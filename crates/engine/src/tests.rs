//! A session from bytes to readings: ties, dtypes, groups, parameters that are no numbers.
#![allow(clippy::unwrap_used)]

use crate::*;
use clino_domain::{
    Alias, Delivery, Dtype, Manifest, MeasureRequest, Outcome, Precision, ProbeGroup, Reading, RunLabel,
    RunSpec, RunValidator, Snapshot, SnapshotHeader, Stop, Tensor, TensorSpec, Value,
};
use std::sync::Arc;

const CONFIG: &str = r#"{"model_type":"mlp","sizes":[3,3,3],"hidden_act":"tanh"}"#;

fn alone(snapshot: Snapshot) -> Arrived {
    Arrived { snapshot, references: clino_domain::References::default(), statistics: None }
}

pub fn limits(stop: &Stop) -> Limits<'_> {
    Limits { stop, clock: &|| 0.0 }
}

pub fn spec(name: &str, dtype: Dtype, shape: &[u64]) -> TensorSpec {
    TensorSpec { name: name.into(), dtype, shape: shape.to_vec() }
}

pub fn group(name: &str, rows: usize) -> ProbeGroup {
    let inputs: Vec<u8> =
        (0..3 * rows).flat_map(|i| ((i as f64 + name.len() as f64).sin()).to_le_bytes()).collect();
    let labels: Vec<u8> = (0..rows).flat_map(|i| ((i % 3) as i64).to_le_bytes()).collect();
    let tensors = vec![
        Tensor::new(spec("inputs", Dtype::F64, &[rows as u64, 3]), inputs.into()).unwrap(),
        Tensor::new(spec("labels", Dtype::I64, &[rows as u64]), labels.into()).unwrap(),
    ];
    ProbeGroup { name: name.into(), tensors: Arc::new(tensors) }
}

fn measure(name: &str, parameters: &[(&str, f64)]) -> MeasureRequest {
    let parameters = parameters.iter().map(|(name, x)| ((*name).into(), Value::Number(*x))).collect();
    MeasureRequest { name: name.into(), parameters }
}

fn readings(groups: Vec<ProbeGroup>, measures: Vec<MeasureRequest>, snapshot: Snapshot) -> Vec<Reading> {
    let run = RunSpec { measures, seed: 5, ..RunSpec::new(CONFIG, groups) };
    crate::readings(&run, snapshot, Default::default(), 2).unwrap()
}

fn snapshot(tensors: Vec<(TensorSpec, Vec<f64>)>, aliases: &[(&str, &str)]) -> Snapshot {
    let encode = |(spec, values): &(TensorSpec, Vec<f64>)| -> bytes::Bytes {
        let one = |x: &f64| match spec.dtype {
            Dtype::Bf16 => half::bf16::from_f64(*x).to_le_bytes().to_vec(),
            Dtype::F16 => half::f16::from_f64(*x).to_le_bytes().to_vec(),
            Dtype::F32 => (*x as f32).to_le_bytes().to_vec(),
            _ => x.to_le_bytes().to_vec(),
        };
        values.iter().flat_map(one).collect::<Vec<u8>>().into()
    };
    let data = tensors.iter().map(encode).collect();
    let aliases =
        aliases.iter().map(|(name, target)| Alias { name: (*name).into(), target: (*target).into() });
    let manifest =
        Manifest::new(tensors.into_iter().map(|(spec, _)| spec).collect(), aliases.collect()).unwrap();
    Snapshot::new(SnapshotHeader::live(0), manifest, data).unwrap()
}

/// Values that every float dtype holds exactly.
fn values(n: usize, first: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 5 + first * 3) % 17) as f64 / 16.0 - 0.5).collect()
}

fn plain(dtype: Dtype) -> Snapshot {
    let tensors =
        [("layers.0.weight", 9), ("layers.0.bias", 3), ("layers.1.weight", 9), ("layers.1.bias", 3)];
    let shape = |n: usize| if n == 9 { vec![3, 3] } else { vec![3] };
    let made =
        tensors.iter().enumerate().map(|(i, (name, n))| (spec(name, dtype, &shape(*n)), values(*n, i)));
    snapshot(made.collect(), &[])
}

/// Both layers share their weight, which is the first nine of `all`; the rest are the two biases.
fn tied(all: &[f64]) -> Snapshot {
    let tensors = vec![
        (spec("layers.0.weight", Dtype::F64, &[3, 3]), all[..9].to_vec()),
        (spec("layers.0.bias", Dtype::F64, &[3]), all[9..12].to_vec()),
        (spec("layers.1.bias", Dtype::F64, &[3]), all[12..].to_vec()),
    ];
    snapshot(tensors, &[("layers.1.weight", "layers.0.weight")])
}

fn value(readings: &[Reading], measure: &str, group: Option<&str>) -> f64 {
    let found = readings.iter().find(|r| r.measure == measure && r.group.as_deref() == group);
    found.unwrap().value.unwrap()
}

#[test]
fn tied_weights_count_once_and_move_together() {
    let all = values(15, 1);
    let alpha = 1e-6;
    let sharpness = measure("sharpness", &[("alpha", alpha), ("noise", 0.0), ("draws", 1.0)]);
    let found = readings(vec![group("en", 6)], vec![measure("param_norm", &[]), sharpness], tied(&all));
    let norm = all.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!((value(&found, "param_norm", None) - norm).abs() < 1e-12);
    assert_eq!(found[0].tensors.len(), 3, "the alias is no tensor of its own");

    // Without noise, the rise at a small radius is radius * ‖gradient‖.
    let slope = |i: usize| {
        let at = |x: f64| {
            let mut moved = all.clone();
            moved[i] += x;
            value(
                &readings(vec![group("en", 6)], vec![measure("loss", &[])], tied(&moved)),
                "loss",
                Some("en"),
            )
        };
        (at(1e-6) - at(-1e-6)) / 2e-6
    };
    let expected = (0..15).map(|i| slope(i) * slope(i)).sum::<f64>().sqrt();
    let gradient = value(&found, "sharpness", Some("en")) / (alpha * norm);
    assert!((gradient - expected).abs() < 1e-4 * expected, "{gradient} {expected}");
}

#[test]
fn every_float_dtype_is_read() {
    let all = || vec![measure("loss", &[]), measure("param_norm", &[])];
    let wide = readings(vec![group("en", 6)], all(), plain(Dtype::F64));
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
        let found = readings(vec![group("en", 6)], all(), plain(dtype));
        for (a, b) in found.iter().zip(&wide) {
            assert_eq!(a.value, b.value, "{} as {}", a.measure, dtype.name());
        }
    }
}

#[test]
fn the_pooled_group_is_all_examples_together() {
    let found =
        readings(vec![group("en", 4), group("deu", 8)], vec![measure("loss", &[])], plain(Dtype::F64));
    let [en, de, pooled] =
        [Some("en"), Some("deu"), Some("pooled")].map(|group| value(&found, "loss", group));
    assert!((pooled - (4.0 * en + 8.0 * de) / 12.0).abs() < 1e-15);
}

#[test]
fn the_pooled_group_is_made_of_what_the_groups_have_made() {
    let exact = MeasureRequest {
        name: "fisher_trace".into(),
        parameters: [("exact".into(), Value::Flag(true))].into(),
    };
    let measures = vec![measure("loss", &[]), exact];
    let found = readings(vec![group("en", 4), group("deu", 8)], measures, plain(Dtype::F64));
    let of = |name: &str, group: &str| {
        let same = |r: &&Reading| r.measure == name && r.group.as_deref() == Some(group);
        found.iter().find(same).unwrap()
    };
    for name in ["loss", "fisher_trace"] {
        let [en, de, pooled] = ["en", "deu", "pooled"].map(|group| of(name, group));
        let mean = (4.0 * en.value.unwrap() + 8.0 * de.value.unwrap()) / 12.0;
        assert!((pooled.value.unwrap() - mean).abs() < 1e-12 * mean.abs(), "{name}");
        assert!(en.work.forwards > 0.0 && pooled.work.forwards == 0.0, "{name}: {:?}", pooled.work);
    }
}

#[test]
fn a_single_group_and_the_pooled_one_are_measured_once() {
    let measures = vec![measure("average_case", &[]), measure("hessian_trace", &[("draws", 3.0)])];
    let found = readings(vec![group("en", 6)], measures, plain(Dtype::F64));
    for pair in found.chunks(2) {
        let [own, pooled] = pair else { panic!("two readings a measure") };
        assert_eq!((own.value, &own.draws), (pooled.value, &pooled.draws));
        assert!(own.work.forwards > 0.0 && pooled.work == clino_domain::Work::NONE, "{}", own.measure);
    }
}

#[test]
fn the_gradient_is_made_once_a_group() {
    let gradient = ["gradient_norm", "sam", "asam"].map(|name| measure(name, &[]));
    let critical = MeasureRequest {
        name: "critical".into(),
        parameters: [
            ("direction".into(), Value::Text("gradient".into())),
            ("of".into(), Value::Text("deu".into())),
        ]
        .into(),
    };
    let measures = gradient.into_iter().chain([critical]).collect();
    let found = readings(vec![group("en", 4), group("deu", 8)], measures, plain(Dtype::F64));
    let backwards =
        |name: &str| -> f64 { found.iter().filter(|r| r.measure == name).map(|r| r.work.backwards).sum() };
    // Once on each group and pooled; the relative one asks for that of one group alone, in units of each group.
    assert_eq!(backwards("gradient_norm"), 3.0);
    assert_eq!((backwards("sam"), backwards("asam")), (0.0, 0.0));
    assert_eq!(backwards("critical"), 2.0, "eight examples, told on a group of four");
    // Against its own gradient, a group's relative sharpness is the plain one.
    let relative = found.iter().filter(|r| r.measure == "critical").map(|r| r.value).collect::<Vec<_>>();
    assert!(relative.iter().all(|value| value.is_some_and(|lambda| lambda > 0.0)), "{relative:?}");
}

#[test]
fn row_26_parameters_that_are_no_numbers_have_a_reason() {
    let mut shared = values(15, 1);
    shared[4] = f64::NAN;
    let found = readings(vec![group("en", 4)], Vec::new(), tied(&shared));
    assert!(found.len() > 8);
    for reading in found {
        assert_eq!((reading.outcome, reading.value), (Outcome::Undefined, None), "{}", reading.measure);
        assert!(reading.reason.unwrap().contains("layers.0.weight"));
    }
}

#[test]
fn a_raised_stop_ends_a_session() {
    let run = RunSpec {
        name: "run".into(),
        config_json: CONFIG.into(),
        model: None,
        groups: vec![group("en", 4)],
        measures: Vec::new(),
        seed: 0,
        delivery: Delivery::Latest,
        precision: Precision::F32,
        budget: None,
        gpu_only: false,
        label: RunLabel::default(),
        policy: None,
    };
    let validated = Validator.validate(&run).unwrap();
    let engine = Engine::new(1).unwrap();
    let mut session = engine.take(&validated, 0, alone(plain(Dtype::F32))).unwrap();
    let stop = Stop::default();
    let task = session.tasks()[0].clone();
    assert!(session.measure(&task, &mut Hints::default(), limits(&stop)).is_ok());
    stop.raise("enough");
    let fault = session.measure(&task, &mut Hints::default(), limits(&stop)).unwrap_err();
    assert_eq!(fault.kind, clino_domain::FaultKind::Cancelled);
}

/// Tensors of several pieces, more draws than threads, more threads than processors: what one draw waits for may be
/// done by a thread that is in the middle of another.
#[test]
fn draws_side_by_side_do_not_wait_for_each_other() {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let engine = Engine::new(4).unwrap();
        let run = RunSpec {
            name: "run".into(),
            config_json: r#"{"model_type":"mlp","sizes":[3,20000,3]}"#.into(),
            model: None,
            groups: vec![group("en", 2)],
            measures: vec![measure("sharpness", &[("draws", 8.0)])],
            seed: 0,
            delivery: Delivery::Latest,
            precision: Precision::F64,
            budget: None,
            gpu_only: false,
            label: RunLabel::default(),
            policy: None,
        };
        let validated = Validator.validate(&run).unwrap();
        for _ in 0..40 {
            let layout = validated.layout.parameters().iter().cloned();
            let made = layout.map(|spec| (spec.clone(), values(spec.numel().unwrap() as usize, 1))).collect();
            let mut session = engine.take(&validated, 0, alone(snapshot(made, &[]))).unwrap();
            for task in session.tasks() {
                session.measure(&task, &mut Hints::default(), limits(&Stop::default())).unwrap();
            }
        }
        sender.send(()).unwrap();
    });
    receiver.recv_timeout(std::time::Duration::from_secs(120)).expect("a draw waits for itself");
}
