//! What moves when the parameters move and the function does not: layer 0 of a ReLU network times 4, layer 1 divided by 4.
//!
//! Every measure of the catalogue is taken before and after, with its defaults; the catalogue says which values stay.
//! Run with `--nocapture` for the table.
#![allow(clippy::unwrap_used)]

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const CASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/mlp-relu");

fn clino(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_clino")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Writes a file of the case with each tensor multiplied by what its name says.
fn scaled(name: &str, folder: &Path, factor: fn(&str) -> f32) -> PathBuf {
    let bytes = std::fs::read(Path::new(CASE).join(name)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let times = |name: &str, bytes: &[u8]| -> Vec<u8> {
        let numbers = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b) * factor(name));
        numbers.flat_map(f32::to_le_bytes).collect()
    };
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, view)| (name.to_owned(), view.shape().to_vec(), times(name, view.data())))
        .collect();
    let views: HashMap<&str, TensorView<'_>> = data
        .iter()
        .map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        })
        .collect();
    let path = folder.join(name);
    safetensors::serialize_to_file(views, None, &path).unwrap();
    path
}

/// Layer 0 times 4, weight of layer 1 divided by 4: exact in floating point.
fn rescaling(name: &str) -> f32 {
    match name {
        name if name.starts_with("layers.0.") => 4.0,
        "layers.1.weight" => 0.25,
        _ => 1.0,
    }
}

fn measure(folder: &Path, factor: fn(&str) -> f32, measures: &[String]) -> Vec<Value> {
    let file = |name: &str| scaled(name, folder, factor).to_str().unwrap().to_owned();
    let (config, probe) = (format!("{CASE}/config.json"), format!("{CASE}/probe.safetensors"));
    let (snapshot, init) = (file("snapshot-0060.safetensors"), file("init.safetensors"));
    let previous = file("snapshot-0040.safetensors");
    let mut arguments = vec!["measure", "--format", "json", "--precision", "f64", "--config", &config];
    arguments.extend(["--probe", &probe, "--snapshot", &snapshot, "--init", &init]);
    arguments.extend(["--previous", &previous, "--measure"]);
    arguments.extend(measures.iter().map(String::as_str));
    let json = clino(&arguments);
    let readings = json["readings"].as_array().unwrap().iter();
    readings.filter(|reading| reading["group"] != "pooled").cloned().collect()
}

/// Ratio of each measure's value after the transformation to that before.
fn ratios(measures: &[String]) -> Vec<(String, f64)> {
    let folder = tempfile::tempdir().unwrap();
    let before = measure(folder.path(), |_| 1.0, measures);
    let after = measure(folder.path(), rescaling, measures);
    let pair = |(a, b): (&Value, &Value)| {
        assert_eq!((&a["measure"], &a["parameters"]), (&b["measure"], &b["parameters"]));
        let name = a["measure"].as_str().unwrap().to_owned();
        // 64 examples of a trained model are too few for the noise's unbiased ratio: the biased one of the same sums stands for it.
        let number = |reading: &Value| reading["value"].as_f64().or(reading["parts"]["scale"].as_f64());
        let value = |reading: &Value| number(reading).unwrap_or_else(|| panic!("{reading}"));
        (name, value(b) / value(a))
    };
    before.iter().zip(&after).map(pair).collect()
}

#[test]
fn every_measure_keeps_what_the_catalogue_says() {
    let catalogue = clino(&["measures", "--format", "json"]);
    let stays: HashMap<&str, bool> = catalogue
        .as_array()
        .unwrap()
        .iter()
        .map(|info| (info["name"].as_str().unwrap(), info["rescaling"].as_bool().unwrap()))
        .collect();
    let names: Vec<String> = stays.keys().map(|name| (*name).to_owned()).collect();
    let found = ratios(&names);
    assert_eq!(found.len(), stays.len());
    let mut table = String::from("value after / before: layer 0 times 4, layer 1 divided by 4\n");
    for (name, ratio) in &found {
        let (says, ratio) = (stays[name.as_str()], *ratio);
        writeln!(table, "  {name:20} {ratio:12.6}  {}", if says { "stays" } else { "moves" }).unwrap();
        // Not to the last bit: sums over tensors of other sizes round elsewhere.
        let kept = (ratio - 1.0).abs() < 1e-9;
        assert_eq!(kept, says, "{name} goes to {ratio} of what it was\n{table}");
        assert!(says || (ratio - 1.0).abs() > 1e-3, "{name} hardly moves: {ratio}");
    }
    println!("{table}");
}

#[test]
fn forms_with_other_parameters_stay_or_move_as_their_texts_say() {
    let stay = [
        "asam:eta=0,scope=all",
        "worst_case:p=l2",
        "average_case:p=linf,rho=.01",
        "average_case:scope=layer",
        "sharpness:scope=layer",
        "landscape:dims=2,points=7",
    ];
    for (name, ratio) in ratios(&stay.map(str::to_owned)) {
        assert!((ratio - 1.0).abs() < 1e-8, "{name} goes to {ratio} of what it was");
    }
    let go = [
        "worst_case:adaptive=false",
        "average_case:adaptive=false,draws=64",
        "sharpness:alpha=.05",
        "critical:direction=gradient",
    ];
    for (name, ratio) in ratios(&go.map(str::to_owned)) {
        assert!((ratio - 1.0).abs() > 0.1, "{name} stays at {ratio} of what it was");
    }
}

#[test]
fn parts_stay_where_the_value_moves() {
    let folder = tempfile::tempdir().unwrap();
    let measures = ["pac_bayes", "norm_bounds", "spectrum"].map(str::to_owned);
    let before = measure(folder.path(), |_| 1.0, &measures);
    let after = measure(folder.path(), rescaling, &measures);
    let ratio = |measure: &str, part: &str| {
        let find = |all: &[Value]| {
            let reading = all.iter().find(|reading| reading["measure"] == measure).unwrap();
            reading["parts"][part].as_f64().unwrap()
        };
        find(&after) / find(&before)
    };
    // Bisection halves sigma: it stays on the same rung but for the floor under small parameters.
    assert_eq!(ratio("pac_bayes", "sigma_magnitude"), 1.0);
    for part in ["log_prod_spec", "log_prod_fro", "fro_over_spec", "path_norm", "log_spec_init_main"] {
        assert!((ratio("norm_bounds", part) - 1.0).abs() < 1e-9, "{part}");
    }
    for part in ["param_norm", "fro_distance", "spec_distance"] {
        assert!((ratio("norm_bounds", part) - 1.0).abs() > 0.1, "{part}");
    }
    assert!((ratio("spectrum", "alpha") - 1.0).abs() < 1e-9);
    assert!((ratio("spectrum", "spectral") - 1.0).abs() > 0.1);
}
