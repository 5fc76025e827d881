//! What benches of a daemon share: one that is killed when it drops, and tensors.

use clino_domain::{Dtype, Tensor, TensorSpec};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

pub struct BenchDaemon {
    pub child: Child,
    pub socket: String,
    line: String,
    _directory: tempfile::TempDir,
}

impl Drop for BenchDaemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl BenchDaemon {
    /// With a socket in a directory of its own, and a history there if one is kept.
    pub fn start(flags: &[&str], data: bool) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_clino"));
        command.args(["serve", "--log", "warn"]).args(flags);
        command.arg("--socket").arg(directory.path().join("clino.sock"));
        if data {
            command.arg("--data").arg(directory.path().join("data"));
        }
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no standard output")?).read_line(&mut line)?;
        let mut daemon = Self { child, socket: String::new(), line, _directory: directory };
        daemon.socket = format!("unix://{}", daemon.address("unix://")?);
        Ok(daemon)
    }

    /// What it says that it listens to, without how that begins.
    pub fn address(&self, prefix: &str) -> Outcome<String> {
        let found = self.line.split_whitespace().find_map(|word| word.strip_prefix(prefix));
        found.map(str::to_owned).ok_or_else(|| format!("no {prefix} in {:?}", self.line).into())
    }

    /// MiB of an entry of the process, such as `VmHWM`.
    #[allow(dead_code, reason = "one bench does not tell it")]
    pub fn memory(&self, entry: &str) -> Outcome<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with(entry)).ok_or("no such entry")?;
        Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse::<f64>()? / 1024.0)
    }
}

pub fn tensor(name: &str, dtype: Dtype, shape: &[u64], data: Vec<u8>) -> Outcome<Tensor> {
    Ok(Tensor::new(TensorSpec { name: name.into(), dtype, shape: shape.to_vec() }, data.into())?)
}
