//! The stand-in for NVIDIA's driver, as processes find it, and what it counted.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Names under which the libraries are looked for.
const NAMES: [&str; 5] =
    ["libcuda.so.1", "libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10", "libnvrtc.so.13"];

/// A folder in which all of NVIDIA's libraries are the stand-in.
pub struct StandIn {
    folder: tempfile::TempDir,
}

impl StandIn {
    pub fn new() -> Self {
        // Beside the tests: `cargo build -p cuda-sim` puts it two folders above them.
        let tests = std::env::current_exe().unwrap();
        let library = tests.ancestors().nth(2).unwrap().join("libcuda_sim.so");
        assert!(library.is_file(), "{}: make it with `cargo build --release -p cuda-sim`", library.display());
        let folder = tempfile::tempdir().unwrap();
        NAMES.iter().for_each(|name| {
            std::os::unix::fs::symlink(&library, folder.path().join(name)).unwrap();
        });
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A command of clino's that finds the stand-in.
    pub fn clino(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
        command.args(arguments).env("CLINO_CUDA_LIB_DIR", self.path()).envs(environment.iter().copied());
        command
    }

    /// Its answer, and what the stand-in counted.
    pub fn counted(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (String, Value) {
        let report =
            self.path().join(format!("{:?}.json", std::time::Instant::now()).replace([' ', ':'], ""));
        let output = self.clino(arguments, environment).env("CUDA_SIM_REPORT", &report).output().unwrap();
        let answer = told(&output);
        let report = std::fs::read_to_string(report).unwrap();
        (answer, serde_json::from_str(&report).unwrap())
    }
}

/// What a command that had to succeed wrote.
pub fn told(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Arguments of `clino measure` on a golden case.
pub fn case(name: &str, device: &str, more: &[&str]) -> Vec<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name);
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut all: Vec<String> =
        ["measure", "--format", "json", "--seed", "1234", "--device", device].map(str::to_owned).to_vec();
    all.extend([
        "--config".into(),
        file("config.json"),
        "--snapshot".into(),
        file("snapshot-0060.safetensors"),
    ]);
    all.extend(["--probe".into(), file("probe.safetensors")]);
    all.extend(more.iter().map(|argument| (*argument).to_owned()));
    all
}

/// The readings in an answer, without their times.
pub fn readings(answer: &str) -> Vec<Value> {
    let answer: Value = serde_json::from_str(answer).unwrap();
    let strip = |mut reading: Value| {
        reading.as_object_mut().unwrap().remove("seconds");
        reading
    };
    answer["readings"].as_array().unwrap().iter().cloned().map(strip).collect()
}
