//! The daemon and `clino measure` say the same of the same files, to the bit.

use crate::common::Daemon;
use safetensors::{SafeTensors, serialize};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MEASURES: [&str; 33] = [
    "loss",
    "accuracy",
    "entropy",
    "margin",
    "param_norm",
    "param_variance",
    "distance",
    "update",
    "sharpness:alpha=.05,draws=5",
    "sharpness_profile",
    "flat_radius",
    "sharpness_paper:draws=3",
    "sharpness:scope=layer,draws=0,rel_stderr=.5,max_draws=12",
    "sam",
    "asam",
    "asam:scope=layer",
    "worst_case:iters=4",
    "worst_case:p=l2,iters=4",
    "average_case:draws=3",
    "average_case:scope=layer,draws=3",
    "low_pass:draws=3",
    "keskar:iters=4",
    "pac_bayes:draws=2",
    "critical",
    "critical:direction=gradient,of=en",
    "gradient_norm",
    "gradient_noise",
    "gradient_noise:exact=true",
    "fisher_trace",
    "hessian_top",
    "hessian_trace:draws=2",
    "hessian_density:steps=4,runs=2",
    "landscape:dims=2,points=5",
];

/// Beside these, the weights' spectrum and the bounds on it.
const WEIGHTS: [&str; 2] = ["spectrum", "norm_bounds"];

fn clino(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_clino")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn file(case: &Path, name: &str) -> String {
    case.join(name).to_str().unwrap().to_owned()
}

/// A reading without its time and without the place in a run, which only the daemon knows.
fn numbers(mut reading: Value) -> Value {
    let fields = reading.as_object_mut().unwrap();
    for name in ["seconds", "step", "attempt", "event", "sequence", "snapshot"] {
        fields.remove(name);
    }
    reading
}

fn offline(case: &Path, precision: &str) -> Vec<Value> {
    let [config, init, previous, snapshot, probe] = [
        "config.json",
        "init.safetensors",
        "snapshot-0040.safetensors",
        "snapshot-0060.safetensors",
        "probe.safetensors",
    ]
    .map(|name| file(case, name));
    let en = format!("en={probe}");
    let mut arguments = vec!["measure", "--config", &config, "--snapshot", &snapshot, "--init", &init];
    arguments.extend(["--previous", &previous, "--probe", &en, "--seed", "1234", "--format", "json"]);
    arguments.extend(["--precision", precision, "--threads", "1", "--measure"]);
    arguments.extend(MEASURES.iter().chain(&WEIGHTS));
    let json: Value = serde_json::from_str(&clino(&arguments)).unwrap();
    json["readings"].as_array().unwrap().iter().cloned().map(numbers).collect()
}

/// The readings of the third of three snapshots, all of which are measured.
fn online(case: &Path, daemon: &Daemon, precision: &str) -> Vec<Value> {
    let address = crate::address(daemon);
    let (config, en) = (file(case, "config.json"), format!("en={}", file(case, "probe.safetensors")));
    let mut open = vec!["open", "--addr", &address, "--config", &config, "--probe", &en, "--seed", "1234"];
    open.extend(["--precision", precision, "--delivery", "every"]);
    MEASURES.iter().chain(&WEIGHTS).for_each(|measure| open.extend(["--measure", measure]));
    let run = clino(&open).trim().to_owned();
    for (step, name, init) in
        [("0", "init", true), ("40", "snapshot-0040", false), ("60", "snapshot-0060", false)]
    {
        let path = file(case, &format!("{name}.safetensors"));
        let mut push = vec!["push", "--addr", &address, "--run", &run, "--step", step];
        push.extend(init.then_some("--init"));
        push.push(&path);
        clino(&push);
    }
    clino(&["close", "--addr", &address, &run]);
    let lines = clino(&["watch", "--addr", &address, &run, "--json"]);
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == "reading" && event["step"] == 60).map(numbers).collect()
}

#[test]
fn the_daemon_and_the_files_agree_to_the_bit() {
    let case = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/bert");
    let directory = tempfile::tempdir().unwrap();
    let daemon = crate::daemon(directory.path());
    for precision in ["f64", "f32"] {
        let (mut offline, mut online) = (offline(&case, precision), online(&case, &daemon, precision));
        // Five measures of the weights alone; the others on the group and pooled.
        assert_eq!(offline.len(), 5 + 2 * 30);
        // A run that has seen snapshots begins its searches elsewhere on the same grid, and looks less often.
        let searches =
            |reading: &&mut Value| ["flat_radius", "critical"].map(Value::from).contains(&reading["measure"]);
        for reading in offline.iter_mut().chain(&mut online).filter(searches) {
            (reading["parts"]["looked"], reading["parts"]["forwards"]) = (json!(null), json!(null));
            reading["work"] = json!(null);
        }
        assert_eq!(offline, online, "{precision}");
    }
}

/// `clino bench` with these lines on stdin.
/// The file `from` without the tensors of the head, under the names that a body saved by itself has.
fn body(from: &Path, into: &Path) {
    let bytes = std::fs::read(from).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter().filter(|(name, _)| !name.starts_with("classifier."));
    let bare = tensors.map(|(name, view)| (name.strip_prefix("bert.").unwrap().to_owned(), view));
    std::fs::write(into, serialize(bare, None).unwrap()).unwrap();
}

#[test]
fn a_pretrained_body_is_an_initialization_without_the_head() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/bert");
    let directory = tempfile::tempdir().unwrap();
    let pretrained = directory.path().join("pretrained.safetensors");
    body(&case.join("init.safetensors"), &pretrained);
    let answer = |init: &Path| -> Value {
        let [config, snapshot, probe] =
            ["config.json", "snapshot-0060.safetensors", "probe.safetensors"].map(|name| file(&case, name));
        let out = clino(&[
            "measure",
            "--config",
            &config,
            "--snapshot",
            &snapshot,
            "--probe",
            &probe,
            "--init",
            init.to_str().unwrap(),
            "--format",
            "json",
            "--measure",
            "distance",
            "param_variance",
            "pac_bayes:draws=2",
            "norm_bounds",
        ]);
        serde_json::from_str(&out).unwrap()
    };
    let (whole, body) = (answer(&case.join("init.safetensors")), answer(&pretrained));
    assert_eq!(whole["warnings"], json!([]));
    assert_eq!(
        body["warnings"],
        json!([
            "the initialization lacks classifier.bias [3], classifier.weight [3, 16]: the measures that compare with it \
                (param_variance, distance, norm_bounds, pac_bayes) leave them out, or are unavailable if they need all \
                of it"
        ])
    );
    let reading = |answer: &Value, measure: &str| {
        let readings = answer["readings"].as_array().unwrap();
        readings.iter().find(|reading| reading["measure"] == measure).unwrap().clone()
    };
    // Tensor by tensor as with the whole of it, and over these tensors alone.
    let [found, all] = [&body, &whole].map(|answer| reading(answer, "distance"));
    let mut expected = all["tensors"].as_object().unwrap().clone();
    expected.retain(|name, _| !name.starts_with("classifier."));
    assert_eq!(found["tensors"], json!(expected));
    let square: f64 = expected.values().map(|parts| parts["l2"].as_f64().unwrap().powi(2)).sum();
    let l2 = found["parts"]["l2"].as_f64().unwrap();
    assert!((l2 / square.sqrt() - 1.0).abs() < 1e-12, "{l2} {square}");
    let [moved, all] =
        [&body, &whole].map(|a| reading(a, "param_variance")["parts"]["delta"].as_f64().unwrap());
    assert!(moved > 0.0 && moved < all, "{moved} {all}");
    for measure in ["pac_bayes", "norm_bounds"] {
        let bound = reading(&body, measure);
        assert_eq!(bound["outcome"], "unavailable");
        assert_eq!(
            bound["reason"],
            format!("the initialization lacks 2 of {} parameters", expected.len() + 2)
        );
    }
}

fn bench(lines: &str, network: &str) -> std::process::Output {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/bert");
    let mut child = Command::new(env!("CARGO_BIN_EXE_clino"))
        .args(["bench", "--config", &file(&case, "config.json"), "--threads", "2", "--network", network])
        .args(["--snapshot", &file(&case, "init.safetensors"), "--probe", &file(&case, "probe.safetensors")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_bench_answers_line_by_line_and_both_networks_compute_the_same() {
    let results = |network: &str| -> Vec<Value> {
        let output = bench(
            "forward\nbackward\n\ngemm\nfma\nsharpness\nperturb 1_000\nmoments 1000\ntriad 10\n",
            network,
        );
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let fused = results("fused");
    assert_eq!(fused.len(), 8);
    for ours in &fused[..2] {
        assert!(ours["flops"].as_f64().unwrap() > 1e5 && ours["seconds"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(fused[6]["bytes"], 8000.0);
    if !cfg!(feature = "candle") {
        let output = bench("forward\n", "candle");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && message.contains("--features candle"), "{message}");
        return;
    }
    for (ours, theirs) in fused.iter().zip(&results("candle")).take(2) {
        let [a, b] = [ours, theirs].map(|line| line["result"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-5 * b.abs(), "{ours} {theirs}");
    }
}

#[test]
fn a_bench_refuses_what_it_does_not_know() {
    for line in ["turbo", "perturb", "perturb 0", "moments many", "forward 7"] {
        let output = bench(line, "fused");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line}: {message}");
        assert!(message.contains(line) && message.contains("expected forward, backward"), "{message}");
    }
}
