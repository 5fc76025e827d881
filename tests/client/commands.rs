//! The commands that need no client library, as processes.

use crate::common::Daemon;
use crate::fixture::{self, parameters, probe, save};
use clino_domain::{Dtype, TensorSpec};
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub(crate) fn clino(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_clino")).args(arguments).env_remove("COLUMNS").output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn specs() -> Vec<TensorSpec> {
    let spec = |name: &str, shape: &[u64]| TensorSpec {
        name: name.into(),
        dtype: Dtype::F32,
        shape: shape.to_vec(),
    };
    vec![
        spec("layers.0.weight", &[16, 8]),
        spec("layers.0.bias", &[16]),
        spec("layers.1.weight", &[3, 16]),
        spec("layers.1.bias", &[3]),
    ]
}

pub(crate) struct CommandCase {
    directory: tempfile::TempDir,
    pub(crate) daemon: Daemon,
}

impl CommandCase {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let daemon = crate::daemon(directory.path());
        std::fs::write(directory.path().join("config.json"), fixture::CONFIG).unwrap();
        save(directory.path(), "probe.safetensors", &probe(16, 8));
        save(directory.path(), "init.safetensors", &parameters(&specs(), 1));
        save(directory.path(), "step.safetensors", &parameters(&specs(), 2));
        Self { directory, daemon }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        text(&self.directory.path().join(name)).to_owned()
    }

    fn open(&self) -> Output {
        self.open_as("by hand")
    }

    /// A run of this name.
    pub(crate) fn open_as(&self, name: &str) -> Output {
        let probe = format!("en={}", self.path("probe.safetensors"));
        let config = self.path("config.json");
        let measures =
            ["--measure", "loss", "--measure", "distance", "--measure", "sharpness:alpha=.01,draws=2"];
        let address = crate::address(&self.daemon);
        let mut arguments = vec!["open", "--addr", &address, "--config", &config, "--probe", &probe];
        arguments.extend(measures);
        arguments.extend(["--delivery", "every", "--name", name]);
        clino(&arguments)
    }

    pub(crate) fn push(&self, run: &str, file: &str, more: &[&str]) -> Output {
        let (address, file) = (crate::address(&self.daemon), self.path(file));
        let mut arguments = vec!["push", "--addr", &address, "--run", run];
        arguments.extend(more);
        arguments.push(&file);
        clino(&arguments)
    }
}

#[test]
fn a_run_without_any_library() {
    let case = CommandCase::new();
    let opened = case.open();
    assert!(opened.status.success(), "{}", stderr(&opened));
    let run = String::from_utf8(opened.stdout).unwrap();
    assert_eq!(run.lines().count(), 1);
    let run = run.trim();
    // Its plan stands beside it: a line a measure, the cheapest first.
    let planned = String::from_utf8(opened.stderr).unwrap();
    let words: Vec<Vec<&str>> = planned.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        words[0],
        ["measure", "forwards", "backwards", "passes", "operations", "seconds"],
        "{planned}"
    );
    let named: Vec<&str> = words[2..].iter().map(|line| line[0]).collect();
    assert_eq!(named, ["distance", "loss", "sharpness"], "{planned}");
    assert_eq!(words[3][1..4], ["1", "0", "0"], "{planned}");

    let address = crate::address(&case.daemon);
    let json = ["watch", "--addr", &address, run, "--json"];
    let watcher =
        Command::new(env!("CARGO_BIN_EXE_clino")).args(json).stdout(Stdio::piped()).spawn().unwrap();
    let init = case.push(run, "init.safetensors", &["--step", "0", "--init"]);
    assert!(init.status.success(), "{}", stderr(&init));
    let step = case.push(run, "step.safetensors", &["--step", "7", "--attempt", "3", "--kind", "swa"]);
    assert!(step.status.success(), "{}", stderr(&step));
    assert!(
        stderr(&step).contains("step 7 (attempt 3): received, distance loss sharpness"),
        "{}",
        stderr(&step)
    );
    assert!(clino(&["close", "--addr", &address, run]).status.success());

    let watched = watcher.wait_with_output().unwrap();
    assert!(watched.status.success());
    let lines: Vec<serde_json::Value> = String::from_utf8(watched.stdout)
        .unwrap()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let sequences: Vec<u64> = lines.iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (0..lines.len() as u64).collect::<Vec<_>>());
    assert_eq!(lines.last().unwrap()["event"], "closed");
    let of = |step: u64| lines.iter().filter(move |l| l["event"] == "reading" && l["step"] == step);
    assert_eq!((of(0).count(), of(7).count()), (5, 5));
    let sharpness = of(7).find(|l| l["measure"] == "sharpness" && l["group"] == "en").unwrap();
    assert_eq!(sharpness["draws"].as_array().unwrap().len(), 2);
    assert!(sharpness["stderr"].as_f64().is_some(), "{sharpness}");

    // Not a terminal: one line a reading; the run is the only one.
    let plain = clino(&["watch", "--addr", &address]);
    let plain = String::from_utf8(plain.stdout).unwrap();
    assert!(plain.contains("step 7 (attempt 3) en sharpness "), "{plain}");
    assert!(plain.contains("step 7 (attempt 3) weights distance "), "{plain}");
    assert!(plain.ends_with("the run is closed\n"), "{plain}");
    let once = clino(&["watch", "--addr", &address, run, "--once"]);
    let once = String::from_utf8(once.stdout).unwrap();
    assert!(once.contains("by hand") && once.contains("2 measured") && once.contains("pooled"), "{once}");
}

#[test]
fn row_37_a_file_that_lies_is_refused_before_anything_is_sent() {
    let case = CommandCase::new();
    let run = String::from_utf8(case.open().stdout).unwrap();
    let header = r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 8]);
    std::fs::write(case.path("lies.safetensors"), bytes).unwrap();
    std::fs::write(case.path("short.safetensors"), u64::MAX.to_le_bytes()).unwrap();
    for file in ["lies.safetensors", "short.safetensors", "config.json"] {
        let output = case.push(run.trim(), file, &["--step", "1"]);
        assert_eq!(output.status.code(), Some(2), "{file}: {}", stderr(&output));
        assert!(stderr(&output).contains(file), "{}", stderr(&output));
    }
    let good = case.push(run.trim(), "step.safetensors", &["--step", "1"]);
    assert!(good.status.success(), "{}", stderr(&good));
}

#[test]
fn what_the_daemon_refuses_is_told_with_its_fields() {
    let case = CommandCase::new();
    let run = String::from_utf8(case.open().stdout).unwrap();
    let wrong = case.push(run.trim(), "probe.safetensors", &["--step", "1"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("layers.0.weight"), "{}", stderr(&wrong));
    let nobody = clino(&["watch", "--addr", "unix:///nowhere/clino.sock"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(stderr(&nobody).contains("no daemon at unix:///nowhere/clino.sock"), "{}", stderr(&nobody));
    let measure = ["--config", "x", "--probe", "a=b", "--measure", "loss:oops"];
    let grammar = clino(&[&["open", "--addr", &crate::address(&case.daemon)], &measure[..]].concat());
    assert!(!grammar.status.success() && stderr(&grammar).contains("oops"), "{}", stderr(&grammar));
}
