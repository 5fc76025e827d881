//! Every reading of the golden cases against the float64 oracle, through the binary and its files.
//!
//! `tests/oracle/README.md` says how the cases were made. The tolerance is relative with a floor: an output or a norm
//! carries the rounding of its own size, a difference of losses that of the losses it is made of.
//! Run with `--nocapture` for the table of case, measure and largest relative difference.
#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is allowed: f32 rounds to 6e-8 and f64 to 1e-16, and a value is what many roundings made of it. A difference
/// of losses also carries the rounding of each loss, hence a floor per unit of loss: one last place of f32 (2^-23). A
/// margin is a difference of two scores, and carries the rounding of scores as large as the largest margin.
#[derive(Clone, Copy)]
struct Tolerance {
    name: &'static str,
    relative: f64,
    losses: f64,
    /// Of a difference of losses, per unit of loss.
    floor: f64,
}

const F64: Tolerance = Tolerance { name: "f64", relative: 1e-9, losses: 1e-9, floor: 1e-13 };
const F32: Tolerance = Tolerance { name: "f32", relative: 1e-5, losses: 1e-4, floor: 1.2e-7 };

struct Case {
    name: &'static str,
    files: PathBuf,
    /// Where config.json and init.safetensors lie.
    model: PathBuf,
    expected: Value,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn case(name: &'static str) -> Case {
    let files = root().join("tests/cases").join(name);
    let model = if name == "nano" { root().join("examples/data/nano") } else { files.clone() };
    let expected =
        serde_json::from_str(&std::fs::read_to_string(files.join("expected.json")).unwrap()).unwrap();
    Case { name, files, model, expected }
}

/// What the oracle calls the draws of a measure with these parameters.
fn draws_key(measure: &str) -> &str {
    match measure {
        m if m.starts_with("sharpness:") && m.contains("steps=3") => "bassi_stable_3",
        m if m.starts_with("sharpness:") => "bassi_stable",
        m if m.contains("radius=sum") => "bassi_per_tensor",
        _ => "bassi_paper",
    }
}

fn measures(expected: &Value) -> Vec<String> {
    let plain =
        ["loss", "accuracy", "entropy", "margin", "param_norm", "param_variance", "distance", "update"];
    let mut all: Vec<String> = plain.iter().map(|name| (*name).to_owned()).collect();
    let forms = [
        "sharpness:alpha=.05",
        "sharpness:alpha=.05,steps=3",
        "sharpness_paper:radius=global",
        "sharpness_paper:radius=sum,projection=tensor",
    ];
    for form in forms {
        if let Some(draws) = expected[draws_key(form)]["values"].as_array() {
            all.push(format!("{form},draws={}", draws.len()));
        }
    }
    if expected.get("profile").is_some() {
        all.extend(["sharpness_profile".into(), "flat_radius".into()]);
    }
    all
}

fn measure(case: &Case, snapshot: &str, previous: Option<&str>, extra: &[&str]) -> Vec<Value> {
    let file = |name: &str| case.files.join(format!("{name}.safetensors"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
    command
        .args(["measure", "--format", "json", "--seed", "1234", "--config"])
        .arg(case.model.join("config.json"));
    command.arg("--init").arg(case.model.join("init.safetensors"));
    command.arg("--snapshot").arg(file(snapshot)).arg("--probe").arg(file("probe"));
    if let Some(previous) = previous {
        command.arg("--previous").arg(file(previous));
    }
    command.arg("--measure").args(measures(&case.expected["snapshots"][snapshot])).args(extra);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    json["readings"].as_array().unwrap().clone()
}

/// Pairs of found and expected numbers of one reading; whether they are differences of losses.
fn pairs(reading: &Value, expected: &Value) -> (Vec<(Value, Value)>, bool) {
    let part = |name: &str| reading["parts"][name].clone();
    let (outputs, weights) = (&expected["outputs"], &expected["weights"]);
    let draws = |key: &str| zip(&reading["draws"], &expected[key]["values"]);
    match reading["measure"].as_str().unwrap() {
        name @ ("loss" | "accuracy") => (vec![(reading["value"].clone(), outputs[name].clone())], false),
        "entropy" => (vec![(reading["value"].clone(), outputs["predictive_entropy"].clone())], false),
        "margin" => {
            let names = ["prob_mean", "prob_min", "logit_mean", "logit_min", "logit_p10"];
            (
                names.iter().map(|name| (part(name), outputs[format!("margin_{name}")].clone())).collect(),
                false,
            )
        }
        "param_norm" => (by_tensor(reading, weights, "norm", "norm", part("norm")), false),
        "param_variance" => {
            let mut all = by_tensor(reading, weights, "w", "variance", part("w"));
            all.extend(by_tensor(reading, weights, "delta", "delta_variance", part("delta")));
            (all, false)
        }
        "distance" => {
            let names = [("relative", "distance_relative"), ("sum_frobenius", "distance_sum_frobenius")];
            let more = [("mean_frobenius", "distance_mean_frobenius"), ("cosine", "cosine_to_init")];
            let named = names.iter().chain(&more).map(|(ours, theirs)| (part(ours), weights[theirs].clone()));
            let mut all = by_tensor(reading, weights, "l2", "distance", part("l2"));
            all.extend(named);
            (all, false)
        }
        "update" if expected.get("update").is_some() => (
            ["l2", "relative", "cosine"]
                .iter()
                .map(|name| (part(name), expected["update"][name].clone()))
                .collect(),
            false,
        ),
        "update" => (Vec::new(), false),
        "sharpness" if reading["parameters"]["steps"] == 3.0 => (draws("bassi_stable_3"), true),
        "sharpness" => (draws("bassi_stable"), true),
        "sharpness_paper" if reading["parameters"]["radius"] == "sum" => (draws("bassi_per_tensor"), true),
        "sharpness_paper" => (draws("bassi_paper"), true),
        "sharpness_profile" => {
            let rungs = reading["parts"]["rungs"].as_array().unwrap().iter();
            let both = rungs.zip(expected["profile"]["rungs"].as_array().unwrap());
            (both.flat_map(|(ours, theirs)| zip(&ours["draws"], &theirs["values"])).collect(), true)
        }
        "flat_radius" => {
            let both = ["alpha", "evaluations"].iter();
            (both.map(|name| (part(name), expected["flat_radius"][name].clone())).collect(), false)
        }
        other => panic!("{other} is not in the table of this test"),
    }
}

fn zip(found: &Value, expected: &Value) -> Vec<(Value, Value)> {
    let (found, expected) = (found.as_array().unwrap(), expected.as_array().unwrap());
    assert_eq!(found.len(), expected.len());
    found.iter().cloned().zip(expected.iter().cloned()).collect()
}

fn by_tensor(
    reading: &Value,
    weights: &Value,
    ours: &str,
    theirs: &str,
    whole: Value,
) -> Vec<(Value, Value)> {
    let tensors = weights["tensors"].as_object().unwrap();
    assert_eq!(reading["tensors"].as_object().unwrap().len(), tensors.len());
    let one = |(name, row): (&String, &Value)| (reading["tensors"][name][ours].clone(), row[theirs].clone());
    tensors.iter().map(one).chain([(whole, weights[theirs].clone())]).collect()
}

fn compare(case: &Case, tolerance: Tolerance, table: &mut BTreeMap<String, f64>) {
    let names: Vec<&String> = case.expected["snapshots"].as_object().unwrap().keys().collect();
    for (i, snapshot) in names.iter().enumerate() {
        let previous = (case.name != "nano" && i > 0).then(|| names[i - 1].as_str());
        let expected = &case.expected["snapshots"][snapshot.as_str()];
        for reading in measure(case, snapshot, previous, &["--precision", tolerance.name]) {
            let (pairs, differences) = pairs(&reading, expected);
            let loss = expected["outputs"]["loss"].as_f64().unwrap();
            let pairs = pairs.iter().map(|(a, b)| (a.as_f64().unwrap(), b.as_f64().unwrap()));
            let largest = pairs.clone().fold(0.0, |most: f64, (_, wanted)| most.max(wanted.abs()));
            for (found, wanted) in pairs {
                let allowed = match differences {
                    true => tolerance.losses * wanted.abs() + tolerance.floor * (loss + wanted.abs()),
                    false if reading["measure"] == "margin" => {
                        tolerance.relative * wanted.abs() + tolerance.floor * largest
                    }
                    false => tolerance.relative * wanted.abs(),
                };
                let context =
                    format!("{} {snapshot} {} {}", case.name, reading["measure"], reading["parameters"]);
                assert!((found - wanted).abs() <= allowed, "{context}: found {found}, expected {wanted}");
                let worst = table
                    .entry(format!("{:9} {}", case.name, reading["measure"].as_str().unwrap()))
                    .or_default();
                *worst = worst.max((found - wanted).abs() / wanted.abs().max(f64::MIN_POSITIVE));
            }
        }
    }
}

#[test]
fn readings_agree_with_the_oracle() {
    for tolerance in [F64, F32] {
        let mut table = BTreeMap::new();
        for name in ["mlp-relu", "mlp-tanh", "bert", "nano"] {
            compare(&case(name), tolerance, &mut table);
        }
        let mut text =
            format!("{}: case, measure, largest relative difference to the oracle\n", tolerance.name);
        table.iter().for_each(|(row, worst)| writeln!(text, "  {row:30} {worst:.1e}").unwrap());
        println!("{text}");
        assert!(table.len() > 40, "a case or a measure is missing:\n{text}");
    }
}

/// Everything but the times.
fn bits(readings: Vec<Value>) -> Vec<Value> {
    let strip = |mut reading: Value| {
        reading.as_object_mut().unwrap().remove("seconds");
        reading
    };
    readings.into_iter().map(strip).collect()
}

#[test]
fn reruns_are_bit_equal_whatever_the_threads() {
    for precision in ["f64", "f32"] {
        for (name, snapshot) in [("bert", "snapshot-0060"), ("nano", "run1")] {
            let case = case(name);
            let with = |threads| {
                bits(measure(&case, snapshot, None, &["--precision", precision, "--threads", threads]))
            };
            let one = with("1");
            for threads in ["1", "2", "4"] {
                assert_eq!(one, with(threads), "{name} in {precision} with {threads} threads");
            }
        }
    }
}
