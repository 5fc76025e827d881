//! Every reading of the golden cases against the float64 oracle, through the binary and its files.
//!
//! `tests/oracle/README.md` says how the cases were made. The tolerance is relative with a floor: an output or a norm
//! carries the rounding of its own size, a difference of losses that of the losses it is made of.
//! Run with `--nocapture` for the table of measure, case and largest relative difference. With `CLINO_TEST_DEVICE`
//! (`cuda:0`) the readings are made there: of the last snapshot of each case alone, as a GPU may be an interpreter. With
//! `CLINO_TEST_CASES` (`mlp-tanh,bert`) only these cases are compared.
#![allow(clippy::unwrap_used)]

mod table;
mod tolerance;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use table::{Form, forms};
use tolerance::{F32, F64, Tolerance};

/// Measures that take the most gradients.
const LONG: [&str; 3] = ["hessian_density", "hessian_trace", "pac_bayes"];

const CASES: [&str; 6] = ["mlp-relu", "mlp-tanh", "mlp-gelu", "bert", "bert-deep", "nano"];

/// Those that are compared.
fn cases() -> Vec<&'static str> {
    let Ok(wanted) = std::env::var("CLINO_TEST_CASES") else { return CASES.to_vec() };
    let known = |name: &str| CASES.into_iter().find(|case| *case == name);
    wanted.split(',').map(|name| known(name).unwrap_or_else(|| panic!("no case is named {name}"))).collect()
}

struct Case {
    name: &'static str,
    files: PathBuf,
    /// Where config.json and init.safetensors lie.
    model: PathBuf,
    expected: Value,
}

impl Case {
    fn new(name: &'static str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = root.join("tests/cases").join(name);
        let model = if name == "nano" { root.join("examples/data/nano") } else { files.clone() };
        let expected = std::fs::read_to_string(files.join("expected.json")).unwrap();
        Self { name, files, model, expected: serde_json::from_str(&expected).unwrap() }
    }

    /// Whether it has a Hessian at the scale of finite differences.
    fn smooth(&self) -> bool {
        self.name != "mlp-relu"
    }

    /// Snapshots with the one before each, where they are of one training.
    fn snapshots(&self) -> Vec<(&str, Option<&str>)> {
        let names: Vec<&str> =
            self.expected["snapshots"].as_object().unwrap().keys().map(String::as_str).collect();
        let before = |i: usize| (self.name != "nano" && i > 0).then(|| names[i - 1]);
        let first = if device().is_some() { names.len() - 1 } else { 0 };
        (first..names.len()).map(|i| (names[i], before(i))).collect()
    }

    fn forms(&self, snapshot: &str) -> Vec<Form> {
        let mut all = forms(&self.expected["snapshots"][snapshot], self.smooth());
        if device().is_some() && !self.name.starts_with("mlp") {
            // Hundreds of gradients: on an interpreter only of the small models.
            all.retain(|form| !LONG.iter().any(|name| form.request.starts_with(name)));
        }
        all
    }

    fn file(&self, name: &str) -> String {
        self.files.join(format!("{name}.safetensors")).to_str().unwrap().to_owned()
    }

    /// All forms of a snapshot.
    fn measure(&self, snapshot: &str, previous: Option<&str>, extra: &[&str]) -> Vec<Value> {
        let init = self.model.join("init.safetensors").to_str().unwrap().to_owned();
        let mut arguments: Vec<String> = ["--seed", "1234", "--init", &init].map(str::to_owned).to_vec();
        if let Some(previous) = previous {
            arguments.extend(["--previous".into(), self.file(previous)]);
        }
        arguments.push("--measure".into());
        arguments.extend(self.forms(snapshot).into_iter().map(|form| form.request));
        arguments.extend(extra.iter().map(|argument| (*argument).to_owned()));
        self.run(snapshot, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn run(&self, snapshot: &str, arguments: &[&str]) -> Vec<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
        command.args(["measure", "--format", "json", "--config"]).arg(self.model.join("config.json"));
        command.args(["--snapshot", &self.file(snapshot), "--probe", &self.file("probe")]).args(arguments);
        if let Some(device) = device() {
            command.args(["--device", &device]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        json["readings"].as_array().unwrap().clone()
    }
}

/// Where the readings are made, when it is not the CPU.
fn device() -> Option<String> {
    std::env::var("CLINO_TEST_DEVICE").ok()
}

/// Largest relative difference by measure and case.
type Table = BTreeMap<(String, &'static str), f64>;

fn compare(case: &Case, tolerance: Tolerance, table: &mut Table) {
    for (snapshot, previous) in case.snapshots() {
        let expected = &case.expected["snapshots"][snapshot];
        let loss = expected["outputs"]["loss"].as_f64().unwrap();
        let readings = case.measure(snapshot, previous, &["--precision", tolerance.name]);
        for form in case.forms(snapshot) {
            let ours: Vec<&Value> = readings.iter().filter(|reading| form.fits(reading)).collect();
            assert!(!ours.is_empty(), "{} {snapshot}: no reading of {}", case.name, form.request);
            for reading in ours {
                let context = format!("{} {snapshot} {} ({})", case.name, form.request, reading["group"]);
                let pairs = (form.pairs)(reading, expected).into_iter();
                let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{context}: {reading}"));
                let pairs: Vec<(f64, f64)> = pairs.map(|(a, b)| (number(&a), number(&b))).collect();
                let largest = pairs.iter().fold(0.0, |most: f64, (_, wanted)| most.max(wanted.abs()));
                for (found, wanted) in pairs {
                    let allowed = tolerance.allows(form.class, wanted, largest, loss);
                    let far = (found - wanted).abs();
                    assert!(far <= allowed, "{context}: found {found}, expected {wanted}");
                    let worst = table.entry((form.request.clone(), case.name)).or_default();
                    *worst = worst.max(far / wanted.abs().max(f64::MIN_POSITIVE));
                }
            }
        }
    }
}

/// Rows of measures, columns of cases.
fn shown(name: &str, table: &Table) -> String {
    let mut text = format!("{name}: largest relative difference to the oracle\n{:66}", "");
    CASES.iter().for_each(|case| write!(text, "{case:>10}").unwrap());
    let rows: std::collections::BTreeSet<&String> = table.keys().map(|(row, _)| row).collect();
    for row in rows {
        write!(text, "\n  {row:64}").unwrap();
        for case in CASES {
            let cell = table.get(&(row.clone(), case)).map_or("-".to_owned(), |worst| format!("{worst:.1e}"));
            write!(text, "{cell:>10}").unwrap();
        }
    }
    text + "\n"
}

#[test]
fn readings_agree_with_the_oracle() {
    let cases = cases();
    let all = if device().is_some() { 160 } else { 170 };
    // The smallest case has 20 rows on a device.
    let least = if cases == CASES { all } else { 19 * cases.len() };
    for tolerance in [F64, F32] {
        let mut table = Table::new();
        for &name in &cases {
            compare(&Case::new(name), tolerance, &mut table);
        }
        let text = shown(tolerance.name, &table);
        println!("{text}");
        assert!(table.len() > least, "a case or a measure is missing:\n{text}");
    }
}

#[test]
fn every_measure_is_compared() {
    let output = Command::new(env!("CARGO_BIN_EXE_clino")).args(["measures", "--format", "json"]).output();
    let catalogue: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    let case = Case::new("mlp-tanh");
    let forms = case.forms("snapshot-0060");
    for info in catalogue.as_array().unwrap() {
        let name = info["name"].as_str().unwrap();
        let of = |form: &Form| form.request.split(':').next() == Some(name);
        assert!(forms.iter().any(of), "{name} is compared with nothing");
    }
}

/// Stops on its standard error, so that over seeds it is as far off as was asked: at most twice.
#[test]
fn hessian_trace_is_as_near_as_was_asked() {
    for (name, asked) in [("mlp-tanh", 0.05), ("bert", 0.05), ("bert-deep", 0.1)] {
        let case = Case::new(name);
        let exact =
            case.expected.pointer("/snapshots/snapshot-0060/hessian/trace").unwrap().as_f64().unwrap();
        let request = format!("hessian_trace:rel_stderr={asked},max_draws=4096");
        let off = |seed: u32| {
            let readings = case.run("snapshot-0060", &["--seed", &seed.to_string(), "--measure", &request]);
            assert_eq!(readings[0]["ended"], "target");
            readings[0]["value"].as_f64().unwrap() / exact - 1.0
        };
        let errors: Vec<f64> = (0..20).map(off).collect();
        let rms = (errors.iter().map(|error| error * error).sum::<f64>() / 20.0).sqrt();
        println!("{name}: asked {asked}, root mean square {rms:.3}");
        assert!(rms <= 2.0 * asked, "{name}: {rms}");
    }
}

/// The ends of the spectrum of networks: right to a thousandth from every start.
#[test]
fn both_ends_of_the_hessian_are_right_from_five_seeds() {
    let of_nano = ["run1", "run2", "run3"].map(|run| ("nano", run, "ends"));
    let of_small =
        ["mlp-tanh", "mlp-gelu", "bert", "bert-deep"].map(|name| (name, "snapshot-0060", "hessian"));
    for (name, snapshot, key) in of_small.into_iter().chain(of_nano) {
        let case = Case::new(name);
        let exact = &case.expected["snapshots"][snapshot][key];
        for seed in ["1", "2", "3", "4", "5"] {
            let reading =
                &case.run(snapshot, &["--seed", seed, "--precision", "f64", "--measure", "hessian_top"])[0];
            assert!(reading["remark"].is_null(), "{name} {snapshot} {seed}: {reading}");
            for (part, exact) in [("top", &exact["top"][0]), ("bottom", &exact["bottom"])] {
                let (found, exact) = (reading["parts"][part].as_f64().unwrap(), exact.as_f64().unwrap());
                let context = format!("{name} {snapshot} seed {seed}: {part} {found}, exact {exact}");
                assert!((found - exact).abs() <= 1e-3 * exact.abs(), "{context}");
            }
        }
    }
}

/// On a trained encoder of 2^17 parameters: a hundredth, where Hutchinson's draws take as much for a tenth.
#[test]
fn hessian_trace_of_nano_is_within_a_hundredth() {
    let case = Case::new("nano");
    for snapshot in ["run1", "run2", "run3"] {
        let take = |seed: u32, request: &str| {
            case.run(snapshot, &["--seed", &seed.to_string(), "--measure", request])[0].clone()
        };
        let number = |reading: &Value, part: &str| reading["parts"][part].as_f64().unwrap();
        let few = "hessian_trace:method=hutchinson,rel_stderr=0.1,max_draws=4096";
        let products = |request: &str| -> (f64, Vec<Value>) {
            let readings: Vec<Value> = (0..4).map(|seed| take(seed, request)).collect();
            (readings.iter().map(|reading| number(reading, "products")).sum::<f64>() / 4.0, readings)
        };
        let (hutchinson, _) = products(few);
        let (sketched, readings) = products("hessian_trace");
        println!("{snapshot}: {sketched} products to 1 %, Hutchinson's {hutchinson} to 10 %");
        for reading in readings {
            assert_eq!(reading["ended"], "target", "{reading}");
        }
        assert!(sketched <= 2.0 * hutchinson.max(40.0), "{snapshot}: {sketched} {hutchinson}");
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
        for (name, snapshot, previous) in
            [("bert", "snapshot-0060", Some("snapshot-0040")), ("nano", "run1", None)]
        {
            let case = Case::new(name);
            let with = |threads| {
                bits(case.measure(snapshot, previous, &["--precision", precision, "--threads", threads]))
            };
            let one = with("1");
            for threads in ["1", "2", "4"] {
                let many = with(threads);
                assert_eq!(one.len(), many.len());
                for (a, b) in one.iter().zip(&many) {
                    let (measure, parameters) = (&a["measure"], &a["parameters"]);
                    assert!(a == b, "{name} in {precision} with {threads} threads: {measure} {parameters}");
                }
            }
        }
    }
}
