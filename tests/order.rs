//! A probe in any order gives the same readings: every measure of the catalogue, on examples that are put in another
//! order, and on groups that change places.
//!
//! Sums are then made in another order, so that readings move in their last places: by the rounding of f64 over what is
//! left of a loss or a gradient in a difference. A loss keeps 1e-14 of itself and a rise at the radii here is at least a
//! thousandth of it, hence 1e-9; differences of gradients over a step of 1e-5 or so keep 1e-9, and iterations on them
//! 1e-6, as the golden cases allow.
#![allow(clippy::unwrap_used)]

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn clino(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_clino")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Writes some rows of a probe, in this order.
fn rows(probe: &Path, order: &[usize], to: PathBuf) -> PathBuf {
    let bytes = std::fs::read(probe).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, view)| {
            let row = view.data().len() / view.shape()[0];
            let picked = order.iter().flat_map(|i| &view.data()[i * row..(i + 1) * row]).copied().collect();
            let shape = std::iter::once(order.len()).chain(view.shape()[1..].iter().copied()).collect();
            (name.to_owned(), shape, picked)
        })
        .collect();
    let dtype = |name: &str| tensors.tensor(name).unwrap().dtype();
    let views: HashMap<&str, TensorView<'_>> = data
        .iter()
        .map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(dtype(name), shape.clone(), bytes).unwrap())
        })
        .collect();
    safetensors::serialize_to_file(views, None, &to).unwrap();
    to
}

struct OrderCase {
    config: String,
    snapshot: String,
    init: String,
    previous: String,
    probe: PathBuf,
}

fn mlp() -> OrderCase {
    let file = |name: &str| format!("{ROOT}/tests/cases/mlp-tanh/{name}");
    OrderCase {
        config: file("config.json"),
        snapshot: file("snapshot-0060.safetensors"),
        init: file("init.safetensors"),
        previous: file("snapshot-0040.safetensors"),
        probe: file("probe.safetensors").into(),
    }
}

/// Untrained, so that its gradient is told from its noise.
fn nano() -> OrderCase {
    let (model, case) = (format!("{ROOT}/examples/data/nano"), format!("{ROOT}/tests/cases/nano"));
    OrderCase {
        config: format!("{model}/config.json"),
        snapshot: format!("{model}/init.safetensors"),
        init: format!("{case}/run1.safetensors"),
        previous: format!("{case}/run2.safetensors"),
        probe: format!("{case}/probe.safetensors").into(),
    }
}

impl OrderCase {
    fn measure(&self, probes: &[&str], measures: &[&str]) -> Vec<Value> {
        let mut arguments =
            vec!["measure", "--format", "json", "--precision", "f64", "--config", &self.config];
        arguments.extend(["--snapshot", &self.snapshot, "--init", &self.init, "--previous", &self.previous]);
        arguments.push("--probe");
        arguments.extend(probes);
        arguments.push("--measure");
        arguments.extend(measures);
        clino(&arguments)["readings"].as_array().unwrap().clone()
    }

    /// The rows of the probe by their labels.
    fn by_label(&self) -> Vec<usize> {
        let bytes = std::fs::read(&self.probe).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let labels = tensors.tensor("labels").unwrap().data().as_chunks::<8>().0.to_vec();
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by_key(|i| i64::from_le_bytes(labels[*i]));
        order
    }
}

/// Every measure, and forms that draw for each example.
fn measures() -> Vec<String> {
    let catalogue = clino(&["measures", "--format", "json"]);
    let names = catalogue.as_array().unwrap().iter().map(|info| info["name"].as_str().unwrap().to_owned());
    names.chain(["gradient_noise:exact=true".into(), "gradient_noise:batch=3".into()]).collect()
}

/// Numbers that a reading consists of, by where they stand; those of its making are left out.
fn numbers(prefix: &str, value: &Value, into: &mut Vec<(String, f64)>) {
    match value {
        Value::Number(number) => into.push((prefix.to_owned(), number.as_f64().unwrap())),
        Value::Array(all) => {
            all.iter().enumerate().for_each(|(i, value)| numbers(&format!("{prefix}.{i}"), value, into));
        }
        Value::Object(all) => {
            // Inner eigenvalues of a run of Lanczos are told apart too little by rounding.
            let left_out = ["seconds", "work", "runs"];
            let kept = all.iter().filter(|(name, _)| !left_out.contains(&name.as_str()));
            kept.for_each(|(name, value)| numbers(&format!("{prefix}.{name}"), value, into));
        }
        _ => {}
    }
}

fn same(context: &str, before: &Value, after: &Value) {
    let measure = before["measure"].as_str().unwrap();
    let context = format!("{context}: {measure} {}", before["group"]);
    assert_eq!(
        (measure, &before["outcome"]),
        (after["measure"].as_str().unwrap(), &after["outcome"]),
        "{context}"
    );
    let (mut a, mut b) = (Vec::new(), Vec::new());
    numbers("", before, &mut a);
    numbers("", after, &mut b);
    assert_eq!(a.len(), b.len(), "{context}");
    // What is known of a value's spread carries the rounding of the values.
    let value = before["value"].as_f64().unwrap_or(0.0).abs();
    let relative = if measure.starts_with("hessian") { 1e-6 } else { 1e-9 };
    // Of a list, what is near zero carries the rounding of the others; of a tensor, that of the whole: a key's bias moves
    // no score of attention, so that its gradient is nothing but rounding.
    let largest = |path: &str| {
        let list = path.rsplit_once('.').map_or("", |(list, _)| list);
        let beside =
            a.iter().filter(|(other, _)| other.rsplit_once('.').map_or("", |(list, _)| list) == list);
        beside.fold(0.0, |most: f64, (_, number)| most.max(number.abs()))
    };
    for ((path, before), (_, after)) in a.iter().zip(&b) {
        let inner = path.split('.').count() > 2;
        let size = if inner { largest(path).max(value) } else { before.abs().max(value) };
        assert!((before - after).abs() <= relative * size, "{context}{path}: {before} then {after}");
    }
}

fn compare(context: &str, before: &[Value], after: &[Value]) {
    assert_eq!(before.len(), after.len());
    for reading in before {
        let twin = after.iter().find(|other| {
            ["measure", "group", "parameters"].iter().all(|name| other[*name] == reading[*name])
        });
        same(context, reading, twin.unwrap());
    }
}

#[test]
fn a_probe_in_any_order_gives_the_same_readings() {
    let folder = tempfile::tempdir().unwrap();
    let measures = measures();
    let measures: Vec<&str> = measures.iter().map(String::as_str).collect();
    for (name, case) in [("mlp", mlp()), ("nano", nano())] {
        let by_label = case.by_label();
        // Some examples twice: they have their own noise, and the same in any order.
        let twice: Vec<usize> = by_label.iter().chain(&by_label[..6]).copied().collect();
        let mixed: Vec<usize> = (0..twice.len()).map(|i| twice[i * 29 % twice.len()]).collect();
        let write = |order: &[usize], folder: &str| {
            let to = PathBuf::from(folder).join("probe.safetensors");
            rows(&case.probe, order, to).to_str().unwrap().to_owned()
        };
        let [first, second] = ["a", "b"].map(|part| folder.path().join(name).join(part));
        for folder in [&first, &second] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let before = case.measure(&[&write(&twice, first.to_str().unwrap())], &measures);
        let after = case.measure(&[&write(&mixed, second.to_str().unwrap())], &measures);
        compare(name, &before, &after);
    }
}

#[test]
fn groups_in_any_order_give_the_same_pooled_readings() {
    let folder = tempfile::tempdir().unwrap();
    let case = mlp();
    let write = |order: &[usize], name: &str| {
        rows(&case.probe, order, folder.path().join(name)).to_str().unwrap().to_owned()
    };
    let order = case.by_label();
    // One example is in both.
    let en = format!("en={}", write(&order[..30], "en.safetensors"));
    let de = format!("de={}", write(&order[29..], "de.safetensors"));
    let measures = ["loss", "sharpness", "gradient_noise", "gradient_noise:exact=true", "fisher_trace"];
    let before = case.measure(&[&en, &de], &measures);
    let after = case.measure(&[&de, &en], &measures);
    compare("groups", &before, &after);
}
