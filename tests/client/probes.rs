//! Every tensor of a probe is used or refused, wherever it comes in, and what is left out is named.

use crate::common::{Daemon, open_request, probe as features, quick, spec};
use clino_proto::{convert::chunk_to_pb, pb};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tonic::Code;

fn case() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/bert")
}

fn file(name: &str) -> String {
    case().join(name).to_str().unwrap().to_owned()
}

fn clino(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_clino")).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The probe of the golden case with its columns in the dtypes that `narrow` gives, and more columns.
fn probe(at: &Path, narrow: &dyn Fn(&str) -> Dtype, more: &[(&str, Dtype)]) -> String {
    let bytes = std::fs::read(case().join("probe.safetensors")).unwrap();
    let plain = SafeTensors::deserialize(&bytes).unwrap();
    let mut columns: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, view) in plain.tensors() {
        let dtype = narrow(&name);
        let kept = dtype.bitsize() / 8;
        let data = view.data().chunks(8).flat_map(|value| value[..kept].to_vec()).collect();
        columns.push((name, dtype, view.shape().to_vec(), data));
    }
    for (name, dtype) in more {
        columns.push(((*name).into(), *dtype, vec![1], vec![0; dtype.bitsize() / 8]));
    }
    let views = columns.iter().map(|(name, dtype, shape, data)| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let path = at.join("probe.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();
    path.to_str().unwrap().to_owned()
}

fn measure(probe: &str) -> Output {
    let [config, snapshot] = ["config.json", "snapshot-0060.safetensors"].map(file);
    let probe = format!("en={probe}");
    let mut arguments = vec!["measure", "--config", &config, "--snapshot", &snapshot, "--probe", &probe];
    arguments.extend(["--format", "json", "--measure", "loss", "gradient_norm"]);
    clino(&arguments)
}

/// What is measured, without its time, and the warnings.
fn numbers(output: &Output) -> (Vec<Value>, Value) {
    assert!(output.status.success(), "{}", stderr(output));
    let mut json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let readings = json["readings"].as_array_mut().unwrap();
    readings.iter_mut().for_each(|reading| reading["seconds"] = Value::Null);
    (readings.clone(), json["warnings"].clone())
}

fn wide(_: &str) -> Dtype {
    Dtype::I64
}

#[test]
fn a_file_of_narrow_integers_is_measured_as_one_of_wide_ones() {
    let directory = tempfile::tempdir().unwrap();
    // The oracle holds these numbers.
    let (expected, _) = numbers(&measure(&file("probe.safetensors")));
    let kinds = [Dtype::BOOL, Dtype::U8, Dtype::I8, Dtype::I16, Dtype::U16, Dtype::I32];
    for dtype in kinds {
        // Tokens and labels of the case go beyond 1.
        let narrow = |name: &str| match (dtype, name) {
            (Dtype::BOOL, "input_ids" | "labels") => Dtype::U8,
            _ => dtype,
        };
        let (found, warnings) = numbers(&measure(&probe(directory.path(), &narrow, &[])));
        assert_eq!((found, warnings), (expected.clone(), serde_json::json!([])), "{dtype:?}");
    }
}

#[test]
fn a_file_with_more_columns_is_measured_and_they_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (expected, _) = numbers(&measure(&file("probe.safetensors")));
    let more = [("idx", Dtype::I64), ("hash", Dtype::U64)];
    let output = measure(&probe(directory.path(), &wide, &more));
    let (found, warnings) = numbers(&output);
    assert_eq!(found, expected);
    let sentence = "column \"idx\" of group \"en\" is left out: this model reads input_ids, attention_mask, \
                    token_type_ids, labels";
    assert_eq!(warnings, serde_json::json!([sentence]));
    let foreign = "clino: warning: column \"hash\" of group \"en\" is left out: no model reads it";
    assert_eq!(stderr(&output), format!("{foreign}\nclino: warning: {sentence}\n"));
}

#[test]
fn a_column_that_cannot_be_read_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let narrow = |name: &str| if name == "token_type_ids" { Dtype::U32 } else { Dtype::I64 };
    let path = probe(directory.path(), &narrow, &[]);
    let daemon = crate::daemon(directory.path());
    let (address, named) = (crate::address(&daemon), format!("en={path}"));
    let config = file("config.json");
    let open = clino(&["open", "--addr", &address, "--config", &config, "--probe", &named]);
    for output in [measure(&path), open] {
        assert!(!output.status.success());
        let expected = "\"token_type_ids\": found dtype U32, expected a float or BOOL, U8, I8, I16, U16, I32 or I64: \
                        save it as I64";
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn opening_a_run_names_the_columns_that_are_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let narrow = |name: &str| if name == "input_ids" { Dtype::I16 } else { Dtype::U8 };
    let path = format!("en={}", probe(directory.path(), &narrow, &[("idx", Dtype::I64)]));
    let daemon = crate::daemon(directory.path());
    let (address, config) = (crate::address(&daemon), file("config.json"));
    let open = clino(&["open", "--addr", &address, "--config", &config, "--probe", &path]);
    let expected = "clino: warning: column \"idx\" of group \"en\" is left out: this model reads input_ids, \
                    attention_mask, token_type_ids, labels\n";
    assert!(open.status.success() && stderr(&open).contains(expected), "{}", stderr(&open));
}

/// The features of most tests with narrow labels and a column that no model reads.
fn more_columns() -> pb::Probe {
    let mut probe = features(1);
    let narrow = probe.tensors[1].data.chunks(8).map(|label| label[0]).collect::<Vec<_>>();
    let tensor = |spec, data: Vec<u8>| pb::ProbeTensor { spec: Some(spec), data: data.into() };
    let examples = narrow.len() as u64;
    probe.tensors[1] = tensor(spec("labels", pb::Dtype::U8, &[examples]), narrow);
    probe.tensors.push(tensor(spec("label", pb::Dtype::Bool, &[examples]), vec![1; examples as usize]));
    probe
}

async fn put(daemon: &Daemon, probe: pb::Probe) -> pb::PutProbeResponse {
    use pb::put_probe_request::Frame;
    let (specs, data): (Vec<_>, Vec<_>) =
        probe.tensors.into_iter().map(|tensor| (tensor.spec.unwrap(), tensor.data)).unzip();
    let manifest = pb::ProbeManifest { tensors: specs, project: String::new() };
    let frames = [
        Frame::Begin(manifest),
        Frame::Chunk(chunk_to_pb(0, data.concat().into())),
        Frame::Commit(pb::Commit::default()),
    ];
    let frames = frames.map(|frame| pb::PutProbeRequest { frame: Some(frame) });
    daemon.clients().await.runs.put_probe(tokio_stream::iter(frames)).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_probe_that_is_put_apart_is_read_as_one_sent_whole() {
    use pb::probe_group::Source;
    let daemon = Daemon::start(&[]);
    let stored = put(&daemon, more_columns()).await;
    let apart = "column \"label\" (did you mean labels?) will be left out: models read input_ids, attention_mask, \
                 token_type_ids, labels, inputs";
    assert_eq!(stored.warnings, [apart]);
    let mut clients = daemon.clients().await;
    for (key, source) in [("a", Source::Digest(stored.digest)), ("b", Source::Probe(more_columns()))] {
        let mut request = open_request(key);
        request.measures = quick();
        request.groups.truncate(1);
        request.groups[0].source = Some(source);
        let again = request.clone();
        let opened = clients.runs.open_run(request).await.unwrap().into_inner();
        let warning = "column \"label\" (did you mean labels?) of group \"en\" is left out: this model reads inputs, labels";
        assert_eq!(opened.warnings, [warning], "{key}");
        let opened = clients.runs.open_run(again).await.unwrap().into_inner();
        assert_eq!((opened.created, opened.warnings.len()), (false, 1));
    }
}

#[tokio::test]
async fn a_float_where_classes_belong_is_refused_at_once() {
    let daemon = Daemon::start(&[]);
    let mut request = open_request("k");
    if let Some(pb::probe_group::Source::Probe(probe)) = &mut request.groups[1].source {
        let labels = &mut probe.tensors[1];
        let examples = labels.spec.as_ref().unwrap().shape[0];
        *labels = pb::ProbeTensor {
            spec: Some(spec("labels", pb::Dtype::F32, &[examples])),
            data: vec![0; 4 * examples as usize].into(),
        };
    }
    let status = daemon.clients().await.runs.open_run(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "groups[1].labels: found dtype F32, expected integers from 0 to 2, the class of each example: floats mean \
        regression or several labels per example, which clino does not measure; send classes as integers"
    );
}
