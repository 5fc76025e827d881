//! Every measure of the catalogue on snapshots and probes that are out of the way: a defined value or a reason, never a
//! panic, never a number that is not finite.
#![allow(clippy::unwrap_used)]

use crate::tests::{group, limits, spec};
use crate::*;
use clino_domain::{
    Checkpoint, Delivery, Dtype, Fault, FaultKind, InMemory, Manifest, MeasureRequest, Outcome, Precision,
    ProbeGroup, Reading, References, RunLabel, RunSpec, RunValidator, Snapshot, SnapshotHeader, Stop, Tensor,
    TensorSpec, ValidatedRun, Value,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

const RELU: &str = r#"{"model_type":"mlp","sizes":[3,16,12,3],"hidden_act":"relu"}"#;
const BERT: &str = r#"{"model_type":"bert","vocab_size":11,"hidden_size":8,"num_hidden_layers":2,
    "num_attention_heads":2,"intermediate_size":12,"max_position_embeddings":6,"id2label":{"0":"a","1":"b","2":"c"}}"#;

fn every_measure() -> Vec<MeasureRequest> {
    let plain = |name: &str| MeasureRequest { name: name.into(), parameters: BTreeMap::new() };
    let mut all: Vec<MeasureRequest> = Validator.catalogue().iter().map(|info| plain(info.name)).collect();
    let more: [(&str, &str, Value); 12] = [
        ("sharpness", "scope", Value::Text("layer".into())),
        ("sam", "scope", Value::Text("layer".into())),
        ("asam", "scope", Value::Text("all".into())),
        ("worst_case", "p", Value::Text("l2".into())),
        ("average_case", "scope", Value::Text("layer".into())),
        ("critical", "direction", Value::Text("gradient".into())),
        ("gradient_noise", "exact", Value::Flag(true)),
        ("fisher_trace", "exact", Value::Flag(true)),
        ("hessian_top", "method", Value::Text("power".into())),
        ("landscape", "dims", Value::Number(2.0)),
        ("hessian_trace", "method", Value::Text("hutchinson".into())),
        ("norm_bounds", "adjust", Value::Flag(true)),
    ];
    all.extend(more.into_iter().map(|(name, key, value)| MeasureRequest {
        name: name.into(),
        parameters: BTreeMap::from([(key.into(), value)]),
    }));
    for measure in &mut all {
        if measure.name == "landscape" {
            measure.parameters.insert("points".into(), Value::Number(5.0));
        }
    }
    all
}

/// Of all noise.
const SEED: u64 = 5;

fn run(config: &str, groups: Vec<ProbeGroup>, precision: Precision) -> ValidatedRun {
    let name = "run".to_owned();
    let config_json = config.to_owned();
    let delivery = Delivery::Every;
    let measures = every_measure();
    let seed = SEED;
    let spec = RunSpec {
        name,
        config_json,
        model: None,
        groups,
        measures,
        seed,
        delivery,
        precision,
        budget: None,
        gpu_only: false,
        label: RunLabel::default(),
        policy: None,
    };
    Validator.validate(&spec).unwrap()
}

/// The parameters of a model: `value(tensor, element)`.
fn parameters(validated: &ValidatedRun, value: &dyn Fn(&str, usize) -> f64) -> Snapshot {
    let specs: Vec<TensorSpec> = validated.layout.parameters().to_vec();
    let encode = |spec: &TensorSpec| -> bytes::Bytes {
        let numbers = (0..spec.numel().unwrap() as usize).map(|i| value(&spec.name, i) as f32);
        numbers.flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into()
    };
    let data = specs.iter().map(encode).collect();
    let header = SnapshotHeader::live(1);
    Snapshot::new(header, Manifest::new(specs, Vec::new()).unwrap(), data).unwrap()
}

/// Weights of a usual size, other in every tensor.
fn usual(name: &str, i: usize) -> f64 {
    let phase = name.bytes().map(f64::from).sum::<f64>();
    (phase + 1.7 * i as f64).sin() * 0.4 + if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 }
}

fn readings(run: &ValidatedRun, value: &dyn Fn(&str, usize) -> f64, references: bool) -> Vec<Reading> {
    let engine = Engine::new(2).unwrap();
    let mut session = session(&engine, run, value, references);
    let mut hints = Hints::default();
    let stop = Stop::default();
    session.tasks().iter().map(|task| session.measure(task, &mut hints, limits(&stop)).unwrap()).collect()
}

fn session<'e>(
    engine: &'e Engine,
    validated: &ValidatedRun,
    value: &dyn Fn(&str, usize) -> f64,
    references: bool,
) -> Session<'e> {
    let source = |factor: f64| {
        let snapshot = parameters(validated, &|name, i| factor * usual(name, i + 1));
        Arc::new(InMemory::new(snapshot, &*validated.layout).unwrap())
            as Arc<dyn clino_domain::ParameterSource>
    };
    let references = match references {
        true => References { init: Some(source(0.9)), previous: Some(source(1.1)) },
        false => References::default(),
    };
    let arrived = Arrived { snapshot: parameters(validated, value), references, statistics: None };
    engine.take(validated, SEED, arrived).unwrap()
}

fn sound(context: &str, readings: &[Reading]) {
    assert!(readings.len() >= every_measure().len());
    for reading in readings {
        let shown = format!("{context}: {} {:?} {:?}", reading.measure, reading.parameters, reading.reason);
        assert_eq!(reading.outcome == Outcome::Measured, reading.value.is_some(), "{shown}");
        assert_eq!(reading.value.is_none(), reading.reason.is_some(), "{shown}");
        assert_ne!(reading.outcome, Outcome::Failed, "{shown}");
        let numbers = reading.value.iter().chain(&reading.draws);
        let parts = reading.parts.iter().chain(reading.tensors.iter().flat_map(|tensor| &tensor.parts));
        let all = numbers.copied().chain(parts.filter_map(|part| part.value));
        assert!(all.into_iter().all(f64::is_finite), "{shown}");
    }
}

/// What becomes of a snapshot, in both precisions.
fn both(context: &str, config: &str, groups: Vec<ProbeGroup>, value: &dyn Fn(&str, usize) -> f64) {
    for precision in [Precision::F64, Precision::F32] {
        let run = run(config, groups.clone(), precision);
        sound(context, &readings(&run, value, true));
        sound(context, &readings(&run, value, false));
    }
}

fn text(rows: usize) -> ProbeGroup {
    let table = |name: &str, f: &dyn Fn(usize, usize) -> i64| {
        let bytes: Vec<u8> =
            (0..rows).flat_map(|row| (0..6).flat_map(move |column| f(row, column).to_le_bytes())).collect();
        Tensor::new(spec(name, Dtype::I64, &[rows as u64, 6]), bytes.into()).unwrap()
    };
    let labels: Vec<u8> = (0..rows).flat_map(|row| ((row % 2) as i64).to_le_bytes()).collect();
    let tensors = vec![
        table("input_ids", &|row, column| ((3 * row + 5 * column) % 11) as i64),
        table("attention_mask", &|row, column| i64::from(column <= 2 + row % 4)),
        Tensor::new(spec("labels", Dtype::I64, &[rows as u64]), labels.into()).unwrap(),
    ];
    ProbeGroup { name: "en".into(), tensors: Arc::new(tensors) }
}

#[test]
fn a_usual_snapshot_has_every_value() {
    for (config, groups) in [(RELU, vec![group("en", 20)]), (BERT, vec![text(9)])] {
        let run = run(config, groups, Precision::F64);
        let all = readings(&run, &usual, true);
        sound("usual", &all);
        for reading in &all {
            let reason = reading.reason.as_deref().unwrap_or_default();
            let may_lack = match reading.measure.as_str() {
                // From a random point to another, the loss need not rise again.
                "critical" => true,
                // So few examples need not tell the gradient from its noise.
                "gradient_noise" => reason.starts_with("undetermined"),
                _ => false,
            };
            assert!(may_lack || reading.outcome == Outcome::Measured, "{}: {reason}", reading.measure);
        }
    }
}

#[test]
fn a_class_that_is_missing_and_a_single_example_are_no_trouble() {
    // Labels 0 and 1 of three classes; then one example alone.
    both("two of three classes", BERT, vec![text(4)], &usual);
    both("one sentence", BERT, vec![text(1)], &usual);
    both("one example", RELU, vec![group("en", 1)], &usual);
    both("groups of one example", RELU, vec![group("en", 1), group("deu", 1)], &usual);
}

#[test]
fn row_27_zeros_have_a_value_or_a_reason() {
    both("a layer of zeros", RELU, vec![group("en", 7)], &|name, i| {
        if name == "layers.1.weight" { 0.0 } else { usual(name, i) }
    });
    both("a row of zeros", BERT, vec![text(5)], &|name, i| {
        if name.contains("word_embeddings") && i < 8 { 0.0 } else { usual(name, i) }
    });
    both("zeros alone", RELU, vec![group("en", 7)], &|_, _| 0.0);
    both("zeros alone", BERT, vec![text(5)], &|_, _| 0.0);
    both("one and the same", RELU, vec![group("en", 7)], &|_, _| 0.5);
}

#[test]
fn row_27_sizes_at_the_end_of_the_range_have_a_value_or_a_reason() {
    for (context, size) in [("huge", 1e18), ("too large for products", 1e30), ("denormal", 1e-41)] {
        both(context, RELU, vec![group("en", 7)], &|name, i| size * usual(name, i));
        both(context, BERT, vec![text(5)], &|name, i| size * usual(name, i));
    }
}

#[test]
fn row_26_a_number_that_is_none_is_told_by_all() {
    for bad in [f64::NAN, f64::INFINITY] {
        let run = run(RELU, vec![group("en", 7)], Precision::F64);
        let all = readings(
            &run,
            &|name, i| if name == "layers.1.bias" && i == 2 { bad } else { usual(name, i) },
            true,
        );
        for reading in all {
            assert_eq!(reading.outcome, Outcome::Undefined, "{}", reading.measure);
            assert!(reading.reason.unwrap().contains("layers.1.bias"));
        }
    }
}

#[test]
fn parts_are_those_of_the_catalogue() {
    let catalogue = Validator.catalogue();
    for (config, groups) in [(RELU, vec![group("en", 20)]), (BERT, vec![text(9)])] {
        let all = readings(&run(config, groups, Precision::F64), &usual, true);
        for reading in all.iter().filter(|reading| reading.outcome == Outcome::Measured) {
            let info = catalogue.iter().find(|info| info.name == reading.measure).unwrap();
            for part in &reading.parts {
                let known = info.parts.iter().any(|(name, _)| *name == part.name);
                assert!(known, "{} has the part {}", reading.measure, part.name);
            }
            let first = info.parts.first().map(|(name, _)| *name);
            assert_eq!(reading.parts.first().map(|part| part.name.as_str()), first, "{}", reading.measure);
            if let Some(part) = reading.parts.first() {
                assert_eq!(part.value, reading.value, "{}", reading.measure);
            }
        }
    }
}

#[test]
fn what_is_counted_is_what_was_planned() {
    let searches = ["critical", "flat_radius", "fisher_trace", "hessian_top", "hessian_trace", "pac_bayes"];
    for (config, groups) in [(RELU, vec![group("en", 40)]), (BERT, vec![text(24)])] {
        let run = run(config, groups, Precision::F64);
        let all = readings(&run, &usual, true);
        for (measure, planned) in run.measures.iter().zip(&run.plan) {
            let same = |reading: &&Reading| {
                (&reading.measure, &reading.parameters) == (&measure.name, &measure.parameters)
                    && reading.group.as_deref() != Some("pooled")
            };
            let work = planned.work;
            let did = all.iter().find(same).unwrap().work;
            let near = |planned: f64, did: f64| (planned - did).abs() <= 0.3 * did.max(1.0);
            let search = searches.contains(&measure.name.as_str());
            let passes = search || near(work.passes, did.passes);
            let units = (work.forwards + 2.0 * work.backwards, did.forwards + 2.0 * did.backwards);
            assert!(
                passes && (search || near(units.0, units.1)),
                "{} {:?}: {work:?} {did:?}",
                measure.name,
                measure.parameters
            );
            assert!(near(work.operations, did.operations), "{}", measure.name);
        }
    }
}

/// Asked whether to go on: so many times yes, then no. Without a number it tells the longest time between two questions.
#[derive(Default)]
struct Questions {
    allowed: Option<usize>,
    asked: AtomicUsize,
    last: Mutex<Option<Instant>>,
    longest: Mutex<f64>,
}

impl Checkpoint for Questions {
    fn check(&self) -> Result<(), Fault> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut last = self.last.lock().unwrap();
        let now = Instant::now();
        if let Some(last) = last.replace(now) {
            let mut longest = self.longest.lock().unwrap();
            *longest = longest.max((now - last).as_secs_f64());
        }
        match self.allowed {
            Some(allowed) if asked >= allowed => Err(Fault::new(FaultKind::Cancelled, "enough")),
            _ => Ok(()),
        }
    }
}

/// Makes one reading, which asks its questions there.
fn ask(session: &mut Session<'_>, task: &Task, questions: &Questions) -> Result<Reading, Fault> {
    session.measure(task, &mut Hints::default(), Limits { stop: questions, clock: &|| 0.0 })
}

#[test]
fn a_stop_ends_every_measure_at_whichever_checkpoint_it_comes() {
    let run = run(BERT, vec![text(4)], Precision::F64);
    let engine = Engine::new(2).unwrap();
    let count = |questions: &Questions| questions.asked.load(Ordering::Relaxed);
    let tasks = session(&engine, &run, &usual, true).tasks();
    let mut firm = 0;
    for task in &tasks {
        // Each on a session of its own: what one has found is not asked for again.
        let questions = Questions::default();
        ask(&mut session(&engine, &run, &usual, true), task, &questions).unwrap();
        let all = count(&questions);
        assert!(all > 0, "{} never asks", task.measure.name);
        for allowed in [0, all / 3, 2 * all / 3, all - 1] {
            let questions = Questions { allowed: Some(allowed), ..Questions::default() };
            let fault = ask(&mut session(&engine, &run, &usual, true), task, &questions).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Cancelled, "{} at {allowed}", task.measure.name);
            // Two threads may each have asked once more.
            assert!(count(&questions) <= allowed + 3, "{} goes on", task.measure.name);
        }
        firm += 1;
    }
    assert!(firm > 30, "{firm} readings");
}

/// The longest time between two checkpoints of each measure on a larger model: what a stop and a change of turns wait for.
/// `cargo test --release -p clino-engine -- --ignored --nocapture checkpoints`.
#[test]
#[ignore = "tells times"]
fn checkpoints_are_close_to_each_other() {
    let config = r#"{"model_type":"mlp","sizes":[3,2048,2048,3],"hidden_act":"relu"}"#;
    let run = run(config, vec![group("en", 256)], Precision::F32);
    let engine = Engine::new(2).unwrap();
    let mut session = session(&engine, &run, &usual, true);
    for task in session.tasks() {
        let began = Instant::now();
        let questions = Questions::default();
        let reading = ask(&mut session, &task, &questions);
        let seconds = began.elapsed().as_secs_f64();
        let longest = *questions.longest.lock().unwrap();
        let asked = questions.asked.load(Ordering::Relaxed);
        println!(
            "{:20} {:8} {:?} {seconds:8.3} s, asked {asked:7} times, longest {longest:.3} s",
            task.measure.name,
            task.group.unwrap_or_default(),
            reading.unwrap().outcome
        );
    }
}
