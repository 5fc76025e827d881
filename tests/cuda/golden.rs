//! A golden case, measured by a daemon on a GPU and held against what the oracle expects.

use super::common::Daemon;
use super::daemon::{ready, start};
use super::standin::{StandIn, told};
use super::table::forms;
use super::tolerance::F64;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Hundreds of gradients, for an interpreter; the result of another optimizer; and a search that a run begins where it
/// ended last, and so counts otherwise.
const LEFT: [&str; 5] = ["hessian", "pac_bayes", "keskar", "landscape", "critical"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/mlp-tanh")
}

/// What a command of a client's tells.
fn client(daemon: &Daemon, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
    command.args(arguments).args(["--addr", &daemon.http]).current_dir(folder());
    told(&command.output().unwrap()).trim().to_owned()
}

/// Pushes initialization and snapshots as a training does; the readings of the last one.
fn trained(daemon: &Daemon, requests: &[&str]) -> Vec<Value> {
    let open =
        ["open", "--config", "config.json", "--probe", "probe.safetensors", "--seed", "1234", "--gpu-only"];
    let more = ["--precision", "f64", "--delivery", "every", "--measure"];
    let run = client(daemon, &[&open[..], &more[..], requests].concat());
    let push = |step: &str, file: &str, more: &[&str]| {
        client(daemon, &[&["push", "--run", &run, "--step", step, file][..], more].concat());
    };
    push("0", "init.safetensors", &["--init"]);
    push("40", "snapshot-0040.safetensors", &[]);
    push("60", "snapshot-0060.safetensors", &[]);
    client(daemon, &["close", &run]);
    let events = client(daemon, &["watch", &run, "--json"]);
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == "reading" && event["step"] == 60).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_measures_a_golden_case_on_a_gpu() {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let expected = &expected["snapshots"]["snapshot-0060"];
    let loss = expected["outputs"]["loss"].as_f64().unwrap();
    let mut forms = forms(expected, true);
    forms.retain(|form| !LEFT.iter().any(|name| form.request.starts_with(name)));
    let on = StandIn::new();
    let daemon = start(&on, &[]);
    ready(&daemon).await;
    let requests: Vec<&str> = forms.iter().map(|form| form.request.as_str()).collect();
    let readings = trained(&daemon, &requests);
    let mut count = 0;
    for form in &forms {
        for reading in readings.iter().filter(|reading| form.fits(reading)) {
            let number =
                |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{}: {reading}", form.request));
            let pairs = (form.pairs)(reading, expected).into_iter();
            let pairs: Vec<(f64, f64)> = pairs.map(|(a, b)| (number(&a), number(&b))).collect();
            let largest = pairs.iter().fold(0.0, |most: f64, (_, wanted)| most.max(wanted.abs()));
            for (found, wanted) in pairs {
                let allowed = F64.allows(form.class, wanted, largest, loss);
                assert!((found - wanted).abs() <= allowed, "{}: {found}, expected {wanted}", form.request);
                count += 1;
            }
        }
    }
    assert!(count > 100, "{count} numbers in {} readings", readings.len());
    println!(
        "proof: a daemon on cuda:0 measures mlp-tanh: {count} numbers of {} forms agree with the oracle",
        forms.len()
    );
}
