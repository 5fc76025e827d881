//! Models that come as graphs: what clino makes of them beside torch, beside the hand-written encoder, and across a restart.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use clino_proto::pb;
use common::{Daemon, TestUpload, blamed, finished, measure};
use pb::watch_response::Event;
use prost::Message;
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tonic::Code;

/// Models of tests/fixtures/graph, and how near torch's float64 they come: a model that casts to float32 rounds there in torch.
const MODELS: [(&str, f64); 5] =
    [("bert", 1e-12), ("gpt2", 1e-12), ("lora_llama", 1e-6), ("resnet", 1e-12), ("lstm", 1e-12)];
const BERT: &str = r#"{"model_type":"bert","vocab_size":97,"hidden_size":32,"num_hidden_layers":2,"num_attention_heads":4,
    "intermediate_size":64,"max_position_embeddings":64,"hidden_act":"gelu","layer_norm_eps":1e-12,"type_vocab_size":2,
    "pad_token_id":0,"num_labels":2}"#;

fn file(model: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/graph").join(model).join(name)
}

/// What `clino measure --format json` answers.
fn measured(model: &str, described: [&str; 2], measures: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
    command.args(["measure", "--precision", "f64", "--format", "json"]).args(described);
    command.arg("--snapshot").arg(file(model, "snapshot.safetensors"));
    command.arg("--probe").arg(format!("p={}", file(model, "probe.safetensors").display()));
    let output = command.arg("--measure").args(measures).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn by_graph(model: &str, measures: &[&str]) -> Value {
    measured(model, ["--graph", file(model, "model.clino").to_str().unwrap()], measures)
}

fn reading<'a>(answer: &'a Value, measure: &str) -> &'a Value {
    answer["readings"].as_array().unwrap().iter().find(|reading| reading["measure"] == measure).unwrap()
}

fn near(found: f64, expected: f64, tolerance: f64, floor: f64) -> bool {
    (found - expected).abs() <= tolerance * expected.abs().max(floor)
}

#[test]
fn losses_and_gradients_are_those_of_torch() {
    for (model, tolerance) in MODELS {
        let expected: Value =
            serde_json::from_slice(&std::fs::read(file(model, "torch.json")).unwrap()).unwrap();
        let answer = by_graph(model, &["loss", "gradient_norm"]);
        let loss = reading(&answer, "loss")["value"].as_f64().unwrap();
        assert!(near(loss, expected["loss"].as_f64().unwrap(), tolerance, 0.0), "{model}: {loss}");
        let norms = expected["gradient_norms"].as_object().unwrap();
        let whole = norms.values().map(|norm| norm.as_f64().unwrap().powi(2)).sum::<f64>().sqrt();
        let found = reading(&answer, "gradient_norm");
        assert!(near(found["value"].as_f64().unwrap(), whole, tolerance, 0.0), "{model}: {found}");
        let tensors = found["tensors"].as_object().unwrap();
        assert_eq!(tensors.len(), norms.len(), "{model}");
        for (name, norm) in norms {
            let tensor = &tensors[name]["l2"];
            let norm = norm.as_f64().unwrap();
            assert!(
                near(tensor.as_f64().unwrap(), norm, tolerance, 1e-4 * whole),
                "{model} {name}: {tensor}, {norm}"
            );
        }
        // Tables of rotations are constants of the graph, and lie in the snapshot besides.
        let left_out = answer["warnings"].to_string();
        assert_eq!(
            answer["warnings"].as_array().unwrap().is_empty(),
            model != "lora_llama",
            "{model}: {left_out}"
        );
        assert!(!left_out.contains("weight"), "{model}: {left_out}");
    }
}

#[test]
fn bert_as_a_graph_reads_as_the_hand_written_encoder_does() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    std::fs::write(&config, BERT).unwrap();
    let measures = [
        "loss",
        "accuracy",
        "margin",
        "entropy",
        "gradient_norm",
        "sharpness",
        "sam",
        "average_case",
        "worst_case",
        "keskar",
        "fisher_trace",
        "hessian_top",
        "param_norm",
    ];
    let [graph, hand] =
        [by_graph("bert", &measures), measured("bert", ["--config", config.to_str().unwrap()], &measures)];
    let [graph, hand] = [&graph, &hand].map(|answer| answer["readings"].as_array().unwrap());
    assert_eq!(graph.len(), hand.len());
    for (graph, hand) in graph.iter().zip(hand) {
        assert_eq!((&graph["measure"], &graph["outcome"]), (&hand["measure"], &hand["outcome"]));
        let [found, expected] = [graph, hand].map(|reading| reading["value"].as_f64().unwrap());
        // A search amplifies rounding; a value by itself does not.
        let tolerance = if graph["measure"] == "hessian_top" { 1e-9 } else { 1e-12 };
        assert!(near(found, expected, tolerance, 1e-12), "{graph} {hand}");
    }
}

#[test]
fn readings_do_not_depend_on_threads() {
    let graph = file("gpt2", "model.clino");
    let of = |threads: &str| {
        let answer =
            measured("gpt2", ["--graph", graph.to_str().unwrap()], &["sharpness", "--threads", threads]);
        answer["readings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|reading| reading["draws"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("1"), of("3"));
}

fn model(name: &str) -> pb::Model {
    pb::Model::decode(Bytes::from(std::fs::read(file(name, "model.clino")).unwrap())).unwrap()
}

/// Tensors of a file with their bytes, in its order.
fn tensors(model: &str, name: &str) -> Vec<(pb::TensorSpec, Vec<u8>)> {
    let bytes = std::fs::read(file(model, name)).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    let spec = |(name, tensor): (String, safetensors::tensor::TensorView<'_>)| {
        let dtype = match tensor.dtype() {
            safetensors::Dtype::F32 => pb::Dtype::F32,
            safetensors::Dtype::I64 => pb::Dtype::I64,
            other => panic!("{other:?}"),
        };
        let shape: Vec<u64> = tensor.shape().iter().map(|axis| *axis as u64).collect();
        (common::spec(&name, dtype, &shape), tensor.data().to_vec())
    };
    read.tensors().into_iter().map(spec).collect()
}

fn request(key: &str, of: &str) -> pb::OpenRunRequest {
    let probe = tensors(of, "probe.safetensors");
    let tensors =
        probe.into_iter().map(|(spec, data)| pb::ProbeTensor { spec: Some(spec), data: data.into() });
    let probe = pb::Probe { tensors: tensors.collect() };
    let source = Some(pb::probe_group::Source::Probe(probe));
    pb::OpenRunRequest {
        idempotency_key: key.into(),
        name: "a graph".into(),
        model: Some(model(of)),
        groups: vec![pb::ProbeGroup { name: "p".into(), source }],
        measures: vec![measure("loss", &[])],
        precision: pb::Precision::F64.into(),
        ..Default::default()
    }
}

fn upload(of: &str, run: &str, step: u64) -> TestUpload {
    let mut upload = TestUpload::new(run, step);
    let (specs, data): (Vec<_>, Vec<_>) = tensors(of, "snapshot.safetensors").into_iter().unzip();
    upload.begin.tensors = specs;
    upload.data = data.concat();
    upload.chunk = 1 << 16;
    upload
}

fn losses(events: &[pb::WatchResponse]) -> Vec<f64> {
    let loss = |event: &pb::WatchResponse| match &event.event {
        Some(Event::Reading(reading)) if reading.group.as_deref() == Some("p") => reading.value,
        _ => None,
    };
    events.iter().filter_map(loss).collect()
}

#[tokio::test]
async fn a_run_of_a_graph_is_measured_and_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let socket = directory.path().join("clino.sock");
    let start = || Daemon::at(&socket, &["--data", data.to_str().unwrap()]);
    let mut daemon = start();
    let mut clients = daemon.clients().await;
    let opened = clients.runs.open_run(request("k", "gpt2")).await.unwrap().into_inner();
    let run = opened.run_id.clone();
    clients.push(upload("gpt2", &run, 1)).await.unwrap();
    let first = losses(&clients.watch_until(&run, finished(1)).await);
    let expected: Value =
        serde_json::from_slice(&std::fs::read(file("gpt2", "torch.json")).unwrap()).unwrap();
    assert!(near(first[0], expected["loss"].as_f64().unwrap(), 1e-12, 0.0), "{first:?}");
    assert_eq!(clients.run(&run).await.model_type, "graph");

    daemon.signal("-KILL");
    daemon.wait();
    let daemon = start();
    let mut clients = daemon.clients().await;
    let again = clients.runs.open_run(request("k", "gpt2")).await.unwrap().into_inner();
    assert!(!again.created && again.run_id == run, "the same model is the same run");
    let other = clients.runs.open_run(request("k", "lora_llama")).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists, "another model is another run: {other}");
    clients.push(upload("gpt2", &run, 2)).await.unwrap();
    let both = losses(&clients.watch_until(&run, finished(2)).await);
    assert_eq!(both.last(), first.last(), "the model was read back");
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused_with_its_field() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let mut refused = async |request: pb::OpenRunRequest| {
        let status = clients.runs.open_run(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        (blamed(&status), status.message().to_owned())
    };
    let both = pb::OpenRunRequest { config_json: BERT.into(), ..request("both", "bert") };
    assert_eq!(refused(both).await.0, ["model"]);
    let with = |change: &dyn Fn(&mut pb::Model)| {
        let mut request = request("k", "bert");
        change(request.model.as_mut().unwrap());
        request
    };
    let graph = |model: &'_ mut pb::Model, change: &dyn Fn(&mut pb::Graph)| match model.kind.as_mut().unwrap()
    {
        pb::model::Kind::Graph(graph) => change(graph),
        pb::model::Kind::Tensors(_) => panic!("a graph"),
    };
    let numbers = with(&|model| {
        model.loss.as_mut().unwrap().kind = Some(pb::loss_spec::Kind::SquaredError(pb::SquaredError {}));
    });
    let (fields, message) = refused(numbers).await;
    assert_eq!(fields, ["groups[0].labels"], "{message}");
    let weighted = with(&|model| {
        let entropy = pb::CrossEntropy { class_weights: vec![1.0; 99], ..Default::default() };
        model.loss.as_mut().unwrap().kind = Some(pb::loss_spec::Kind::CrossEntropy(entropy));
    });
    assert_eq!(refused(weighted).await.0, ["model.loss.cross_entropy.class_weights"]);
    let circle = with(&|model| graph(model, &|graph| graph.nodes[3].operands[0] = 4_000));
    let (fields, message) = refused(circle).await;
    assert!(fields[0].starts_with("model.graph.nodes[3].operands"), "{fields:?} {message}");
    let newer = with(&|model| graph(model, &|graph| graph.version = 9));
    assert_eq!(refused(newer).await.0, ["model.graph.version"]);
    let nothing = with(&|model| model.kind = None);
    assert_eq!(refused(nothing).await.0, ["model.kind"]);
    let mut lacking = request("lacking", "bert");
    let Some(pb::probe_group::Source::Probe(probe)) = lacking.groups[0].source.as_mut() else {
        panic!("a probe")
    };
    probe.tensors.retain(|tensor| tensor.spec.as_ref().is_some_and(|spec| spec.name != "attention_mask"));
    let (fields, message) = refused(lacking).await;
    assert_eq!(fields, ["groups[0].attention_mask"], "{message}");
    daemon.still_serves().await;
}

#[tokio::test]
async fn a_snapshot_without_a_frozen_tensor_or_a_buffer_is_refused() {
    for (of, missing) in [("lora_llama", "embed_tokens.weight"), ("resnet", "running_mean")] {
        let daemon = Daemon::start(&[]);
        let mut clients = daemon.clients().await;
        let run = clients.runs.open_run(request("k", of)).await.unwrap().into_inner().run_id;
        let mut lacking = upload(of, &run, 1);
        let all = tensors(of, "snapshot.safetensors");
        let left: Vec<_> = all.iter().filter(|(spec, _)| !spec.name.contains(missing)).cloned().collect();
        assert!(left.len() < all.len(), "{of}");
        let (specs, data): (Vec<_>, Vec<_>) = left.into_iter().unzip();
        lacking.begin.tensors = specs;
        lacking.data = data.concat();
        let status = clients.push(lacking).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        assert!(status.message().contains(missing), "{status}");
        clients.push(upload(of, &run, 2)).await.unwrap();
        clients.watch_until(&run, finished(2)).await;
    }
}

/// A request whose only group is one row of a probe, with gradients.
fn one_row(key: &str, of: &str) -> pb::OpenRunRequest {
    let mut request = request(key, of);
    request.measures.push(measure("gradient_norm", &[]));
    let Some(pb::probe_group::Source::Probe(probe)) = request.groups[0].source.as_mut() else {
        panic!("a probe")
    };
    for tensor in &mut probe.tensors {
        let spec = tensor.spec.as_mut().unwrap();
        let row = tensor.data.len() / spec.shape[0] as usize;
        tensor.data.truncate(row);
        spec.shape[0] = 1;
        spec.byte_length = Some(row as u64);
    }
    request
}

/// What a trainer whose model is the same would say of that row: the readings of a snapshot.
fn check_of(events: &[pb::WatchResponse]) -> pb::ModelCheck {
    let readings = events.iter().filter_map(|event| match &event.event {
        Some(Event::Reading(reading)) if reading.group.as_deref() == Some("p") => Some(reading),
        _ => None,
    });
    let of = |name: &str| readings.clone().find(|reading| reading.measure == name).unwrap();
    let norm = |tensor: &pb::TensorParts| pb::TensorNorm {
        tensor: tensor.tensor.clone(),
        norm: tensor.parts.iter().find(|part| part.name == "l2").unwrap().value.unwrap(),
    };
    pb::ModelCheck {
        group: "p".into(),
        rows: vec![0],
        losses: vec![of("loss").value.unwrap()],
        dtype: pb::Dtype::F64.into(),
        gradient_norms: of("gradient_norm").tensors.iter().map(norm).collect(),
    }
}

#[tokio::test]
async fn a_model_whose_gradient_differs_along_one_tensor_is_named() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let run = clients.runs.open_run(one_row("k", "gpt2")).await.unwrap().into_inner().run_id;
    clients.push(upload("gpt2", &run, 1)).await.unwrap();
    let check = check_of(&clients.watch_until(&run, finished(1)).await);
    assert!(check.gradient_norms.len() > 10, "{check:?}");
    let mut agreeing = upload("gpt2", &run, 2);
    agreeing.begin.model_check = Some(check.clone());
    clients.push(agreeing).await.unwrap();
    clients.watch_until(&run, finished(2)).await;
    let checked = clients.run(&run).await.model_check.unwrap();
    assert!(checked.agrees && checked.graph, "{checked:?}");

    let mut wrong = upload("gpt2", &run, 3);
    let mut other = check;
    let tensor =
        other.gradient_norms.iter_mut().find(|norm| norm.tensor.contains("attn.c_attn.weight")).unwrap();
    tensor.norm *= 4.55;
    let name = tensor.tensor.clone();
    wrong.begin.model_check = Some(other);
    clients.push(wrong).await.unwrap();
    clients.watch_until(&run, finished(3)).await;
    let checked = clients.run(&run).await.model_check.unwrap();
    assert!(
        !checked.agrees && checked.tensors[0].tensor == name && checked.tensors.len() == 1,
        "{checked:?}"
    );
    assert!(
        checked.sentence.contains(&name) && checked.sentence.contains("export the model"),
        "{}",
        checked.sentence
    );
    let refused = clients.push(upload("gpt2", &run, 4)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains(&name), "{refused}");
}

/// The names and shapes of a model alone.
fn named(of: &str) -> pb::Model {
    let Some(pb::model::Kind::Graph(graph)) = model(of).kind else { panic!("a graph") };
    let kind = Some(pb::model::Kind::Tensors(pb::TensorList { tensors: graph.tensors }));
    pb::Model { kind, loss: None }
}

#[tokio::test]
async fn a_run_of_tensors_alone_has_every_measure_of_the_weights() {
    let daemon = Daemon::start(&[]);
    let mut clients = daemon.clients().await;
    let mut request = request("k", "lora_llama");
    request.model = Some(named("lora_llama"));
    request.groups.clear();
    request.measures.push(measure("param_norm", &[]));
    request.measures.push(measure("distance", &[]));
    let opened = clients.runs.open_run(request).await.unwrap().into_inner();
    let warning = opened.warnings.iter().find(|warning| warning.contains("unavailable: loss")).cloned();
    assert!(warning.unwrap_or_default().contains("export its graph"), "{:?}", opened.warnings);
    let run = opened.run_id;
    let mut first = upload("lora_llama", &run, 0);
    first.begin.initialization = true;
    clients.push(first).await.unwrap();
    clients.push(upload("lora_llama", &run, 1)).await.unwrap();
    let events = clients.watch_until(&run, finished(1)).await;
    let outcome = |name: &str| {
        let of = |event: &pb::WatchResponse| match &event.event {
            Some(Event::Reading(reading)) if reading.measure == name => {
                Some((reading.outcome(), reading.value, reading.reason.clone()))
            }
            _ => None,
        };
        events.iter().rev().find_map(of).unwrap()
    };
    let (measured, norm, _) = outcome("param_norm");
    assert!(measured == pb::Outcome::Measured && norm.unwrap() > 0.0);
    assert_eq!((outcome("distance").0, outcome("distance").1), (pb::Outcome::Measured, Some(0.0)));
    let (unavailable, none, reason) = outcome("loss");
    assert_eq!((unavailable, none), (pb::Outcome::Unavailable, None));
    assert!(reason.contains("names of its tensors alone"));
    assert_eq!(clients.run(&run).await.model_type, "tensors");
}
