//! The commands without a daemon, as a person meets them: readings as they come, Ctrl-C, plans, pipes, refusals.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What never ends by itself, beside what ends at once.
const ENDLESS: [&str; 3] = ["loss", "param_norm", "hessian_density:steps=300,runs=64"];

fn file(name: &str) -> String {
    let case = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/bert");
    case.join(name).to_str().unwrap().to_owned()
}

/// A command on the files of a case, with groups of these names.
fn command(name: &str, groups: &[&str], more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
    command.args([name, "--config", &file("config.json"), "--snapshot", &file("snapshot-0060.safetensors")]);
    command.arg("--probe").args(groups.iter().map(|group| format!("{group}={}", file("probe.safetensors"))));
    command.args(more).env_remove("COLUMNS").stdin(Stdio::null());
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn json(command: &mut Command) -> Value {
    serde_json::from_slice(&done(command).stdout).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn interrupt(id: u32) {
    assert!(Command::new("kill").args(["-INT", &id.to_string()]).status().unwrap().success());
}

#[test]
fn readings_come_as_they_are_made_and_ctrl_c_keeps_them() {
    let more = [&["--format", "table", "--measure"][..], &ENDLESS].concat();
    let mut child =
        command("measure", &["en"], &more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    // Two readings of the loss and one of the norm are there while the density is worked out.
    while seen.lines().count() < 2 + 3 {
        assert!(out.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    interrupt(child.id());
    let status = child.wait().unwrap();
    out.read_to_string(&mut seen).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(seen.contains("loss") && seen.contains("param_norm") && !seen.contains("hessian"), "{seen}");
    assert_eq!(said, "clino: interrupted: 3 of 5 readings made\n");
}

/// Waits until a process has a handler for SIGINT.
fn handled(id: u32) {
    let began = Instant::now();
    loop {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        if u64::from_str_radix(caught.trim(), 16).unwrap() & 0b10 != 0 {
            return;
        }
        assert!(began.elapsed() < crate::common::PATIENCE, "no handler");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn json_that_was_interrupted_is_json_and_says_so() {
    let more = [&["--format", "json", "--measure"][..], &ENDLESS].concat();
    let child =
        command("measure", &["en"], &more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    handled(child.id());
    interrupt(child.id());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let made = answer["readings"].as_array().unwrap();
    assert!(made.len() < 5 && made.iter().all(|reading| reading["value"].is_f64()), "{answer}");
    let note = format!("interrupted: {} of 5 readings made", made.len());
    assert_eq!((answer["note"].as_str(), answer["plan"].as_array().unwrap().len()), (Some(note.as_str()), 3));
}

#[test]
fn lines_and_json_tell_the_same_and_only_what_is_cut_short_has_a_note() {
    let measures = ["--measure", "loss", "margin", "sharpness:alpha=.01,draws=2"];
    let answer = json(command("measure", &["en", "de"], &measures).args(["--format", "json"]));
    assert!(answer.get("note").is_none());
    let output = done(&mut command("measure", &["en", "de"], &measures));
    let lines: Vec<_> = text(&output.stdout).lines().skip(2).map(str::to_owned).collect();
    assert_eq!(text(&output.stderr), "", "there is no terminal for progress");
    let readings = answer["readings"].as_array().unwrap();
    assert_eq!((lines.len(), readings.len()), (9, 9));
    for (line, reading) in lines.iter().zip(readings) {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(
            (words[0], words[1]),
            (reading["measure"].as_str().unwrap(), reading["group"].as_str().unwrap())
        );
        let (shown, value) = (words[2].parse::<f64>().unwrap(), reading["value"].as_f64().unwrap());
        assert!((shown - value).abs() <= 1e-3 * value.abs(), "{line}");
    }
}

#[test]
fn tables_fit_into_the_columns_that_are_named() {
    let measures = ["--measure", "loss", "sharpness_profile:draws=2", "flat_radius", "gradient_norm"];
    let output = done(command("measure", &["a very long name of a group"], &measures).env("COLUMNS", "80"));
    let shown = text(&output.stdout);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(shown.lines().count() > 10 && shown.contains('…'), "{shown}");
    let output = done(command("plan", &["en"], &measures).env("COLUMNS", "60"));
    let shown = text(&output.stdout);
    assert!(shown.lines().all(|line| line.chars().count() <= 60), "{shown}");
}

/// The rates of a plan times some work.
fn seconds(plan: &Value, forwards: f64, backwards: f64, passes: f64) -> f64 {
    let rate = |name: &str| plan["rates"][name].as_f64().unwrap();
    forwards * rate("forward") + backwards * rate("backward") + passes * rate("pass")
}

fn line<'a>(plan: &'a Value, measure: &str) -> &'a Value {
    let mut lines = plan["plan"].as_array().unwrap().iter();
    lines.find(|line| line["measure"] == measure).unwrap()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs().max(1e-9)
}

#[test]
fn a_plan_is_the_work_of_measures_at_the_rates_of_this_machine() {
    let measures = ["--measure", "loss", "sharpness:alpha=.01,draws=4", "distance", "param_norm", "spectrum"];
    let plan = json(command("plan", &["en"], &measures).args(["--format", "json"]));
    let measured = json(command("measure", &["en"], &measures).args(["--format", "json"]));
    let work = |answer: &Value| -> Vec<(Value, Value)> {
        let lines = answer["plan"].as_array().unwrap();
        lines.iter().map(|line| (line["measure"].clone(), line["work"].clone())).collect()
    };
    assert_eq!(work(&plan), work(&measured), "what is planned is what measuring goes by");
    assert!(["forward", "backward", "pass"].iter().all(|rate| plan["rates"][*rate].as_f64().unwrap() >= 0.0));
    assert!(plan["rates"]["forward"].as_f64().unwrap() > 0.0);
    // A single group and all of them are the same readings.
    let sharpness = line(&plan, "sharpness");
    let count = |name: &str| sharpness["work"][name].as_f64().unwrap();
    let expected = seconds(&plan, count("forwards"), count("backwards"), count("passes"));
    assert!(near(sharpness["seconds"].as_f64().unwrap(), expected), "{plan}");
    assert_eq!((sharpness["readings"].as_u64(), &sharpness["fit"]), (Some(2), &Value::Null));
    let all: f64 =
        plan["plan"].as_array().unwrap().iter().map(|line| line["seconds"].as_f64().unwrap()).sum();
    assert!(near(plan["seconds"].as_f64().unwrap(), all));
    let distance = line(&plan, "distance");
    assert_eq!(
        (distance["unavailable"].as_str(), distance["seconds"].as_f64()),
        (Some("needs --init"), Some(0.0))
    );
    let before = file("init.safetensors");
    let init = ["--init", &before, "--format", "json"];
    let with = json(command("plan", &["en"], &measures).args(init));
    assert!(line(&with, "distance").get("unavailable").is_none());
}

#[test]
fn groups_share_the_probe_and_all_of_them_take_over_what_each_has_found() {
    let measures = ["--measure", "loss", "low_pass:draws=3", "--format", "json"];
    let plan = json(&mut command("plan", &["en", "de"], &measures));
    // Half of the examples, the other half, and nothing new for both together.
    assert!(near(line(&plan, "loss")["seconds"].as_f64().unwrap(), seconds(&plan, 1.0, 0.0, 0.0)), "{plan}");
    let work = &line(&plan, "low_pass")["work"];
    let (forwards, passes) = (work["forwards"].as_f64().unwrap(), work["passes"].as_f64().unwrap());
    let expected = seconds(&plan, 2.0 * forwards, 0.0, 3.0 * passes);
    assert!(near(line(&plan, "low_pass")["seconds"].as_f64().unwrap(), expected), "{plan}");
    assert_eq!(line(&plan, "low_pass")["readings"], 3);
}

#[test]
fn a_plan_says_what_fits_into_a_budget() {
    let measures = ["--measure", "loss", "sharpness", "hessian_density:steps=300,runs=64"];
    let fit = |budget: &str| -> Vec<u64> {
        let plan = json(command("plan", &["en"], &measures).args(["--format", "json", "--budget", budget]));
        plan["plan"].as_array().unwrap().iter().map(|line| line["fit"].as_u64().unwrap()).collect()
    };
    assert_eq!(fit("1e9"), [2, 2, 2]);
    // What is pooled of a single group costs nothing more.
    assert_eq!(fit("1e-12"), [1, 1, 1]);
    let shown = text(&done(command("plan", &["en"], &measures).args(["--budget", "1e9"])).stdout);
    assert!(
        shown.contains("within 1000000000 s") && shown.contains("yes") && shown.contains("all of them:"),
        "{shown}"
    );
}

#[test]
fn what_plan_and_measure_refuse_is_told_in_the_same_words() {
    for name in ["plan", "measure"] {
        let output = command(name, &["en"], &["--measure", "loss:oops=1"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(text(&output.stderr).contains("measures[0].parameters.oops"), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
    }
    let gpu = command("plan", &["en"], &["--device", "cuda:0"]).output().unwrap();
    assert_eq!(gpu.status.code(), Some(2));
    assert!(text(&gpu.stderr).contains("clino measure --repeat 2"), "{}", text(&gpu.stderr));
}

/// A command whose reader takes a line and goes.
fn first_line(command: &mut Command) -> (String, Output) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::with_capacity(1, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (line, child.wait_with_output().unwrap())
}

#[test]
fn a_reader_that_goes_ends_a_command_quietly() {
    let clino = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
        command.args(arguments).stdin(Stdio::null());
        command
    };
    let measures = [&["--measure"][..], &ENDLESS].concat();
    for mut command in [
        clino(&["measures"]),
        clino(&["measures", "--format", "json"]),
        clino(&["rules", "--format", "markdown"]),
        clino(&["query", "--schema"]),
        command("measure", &["a", "b", "c"], &["--measure", "loss", "margin", "entropy", "sharpness"]),
    ] {
        let (line, output) = first_line(&mut command);
        assert!(!line.is_empty());
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{command:?}");
    }
    // One that would go on for hours ends, too, with its next line; nothing is left to be killed.
    let mut child = command("measure", &["en"], &measures).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_gpu_in_a_build_without_gpus_is_refused_before_anything_listens() {
    let output =
        crate::common::command().args(["--device", "cuda:0", "--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(64), ""));
    let said = text(&output.stderr);
    assert!(said.contains("device: found cuda:0") && said.contains("--features cuda"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let measured =
        command("measure", &["en"], &["--device", "cuda:0", "--measure", "loss"]).output().unwrap();
    assert!(text(&measured.stderr).contains("--features cuda"), "{}", text(&measured.stderr));
}

#[test]
fn a_relative_socket_is_told_whole_and_clients_find_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        crate::common::command().args(["--socket", "clino.sock"]).current_dir(folder.path()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening ").unwrap().to_owned();
    let whole = folder.path().canonicalize().unwrap().join("clino.sock");
    assert_eq!(Path::new(address.strip_prefix("unix://").unwrap()).canonicalize().unwrap(), whole);
    let runs = |address: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
        command.args(["runs", "--addr", address]).current_dir(folder.path()).output().unwrap()
    };
    let (found, refused) = (runs(&address), runs("unix://clino.sock"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(found.status.success(), "{}", text(&found.stderr));
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("\"unix://clino.sock\"") && said.contains("such as unix:///"), "{said}");
}
