//! `clino bench`: how fast the engine does each part of its work on this machine, for a model, a snapshot and a probe.
//!
//! Names come line by line on stdin; each is run once and answered by one line of JSON, so that a script can interleave
//! several programs.
//!
//! Owns: its arguments, the clock and the lines. May not touch: what is run.

use super::arguments;
use super::files::TensorFile;
use crate::domain::{
    Delivery, Examiner, Fault, MeasureRequest, RunSpec, SnapshotHeader, SnapshotRef, Value, WeightKind,
};
use crate::engine::{Bench, Examination, Implementation, Work};
use clap::{Args, ValueEnum};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `clino bench`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// config.json of the model
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Parameters
    #[arg(long, value_name = "FILE")]
    snapshot: PathBuf,
    /// Labelled examples
    #[arg(long, value_name = "[GROUP=]FILE", required = true, num_args = 1.., value_parser = arguments::probe)]
    probe: Vec<(String, PathBuf)>,
    /// Arithmetic
    #[arg(long, value_enum, default_value_t = arguments::PrecisionName::F32)]
    precision: arguments::PrecisionName,
    /// Threads [default: all processors]
    #[arg(long)]
    threads: Option<usize>,
    /// Whose arithmetic runs in `forward` and `backward`
    #[arg(long, value_enum, default_value_t = NetworkName::Fused)]
    network: NetworkName,
}

/// Whose arithmetic.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum NetworkName {
    /// The engine's own
    Fused,
    /// The same networks with candle's autograd
    Candle,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    seconds: f64,
    cpu_seconds: f64,
    result: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    flops: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<f64>,
}

/// Answers every line of stdin.
///
/// # Errors
/// Bad files, an unknown name.
pub fn run(arguments: Arguments) -> Result<(), Fault> {
    let mut bench = bench(&arguments)?;
    let failed = |error: io::Error| Fault::internal(error.to_string());
    for line in io::stdin().lock().lines() {
        let line = line.map_err(failed)?;
        let name = line.trim();
        if name.is_empty() {
            continue;
        }
        let (began, cpu) = (Instant::now(), cpu_seconds());
        let Work { result, flops, bytes } = one(&mut bench, name)?;
        let (seconds, cpu_seconds) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        let answer = Line { name, seconds, cpu_seconds, result, flops, bytes };
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, &answer).map_err(|error| Fault::internal(error.to_string()))?;
        writeln!(out).and_then(|()| out.flush()).map_err(failed)?;
    }
    Ok(())
}

/// Processor time of this process.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

const NAMES: &str =
    "forward, backward, sharpness, gemm, fma, or perturb, moments or triad with a number of parameters";

fn one(bench: &mut Bench, line: &str) -> Result<Work, Fault> {
    let unknown = || Fault::invalid("stdin", format!("found {line:?}, expected {NAMES}"));
    match line.split_once(' ') {
        None => Ok(match line {
            "forward" => bench.forward(),
            "backward" => bench.backward(),
            "sharpness" => {
                Work { result: bench.reading()?.value.unwrap_or(f64::NAN), flops: None, bytes: None }
            }
            "gemm" => bench.products(),
            "fma" => bench.multiply_adds(),
            _ => return Err(unknown()),
        }),
        Some((name, count)) => {
            let n = count.trim().replace('_', "").parse().ok().filter(|n| *n > 0).ok_or_else(unknown)?;
            match name {
                "perturb" => Ok(bench.perturb(n)),
                "moments" => bench.moments(n),
                "triad" => Ok(bench.triad(n)),
                _ => Err(unknown()),
            }
        }
    }
}

fn bench(arguments: &Arguments) -> Result<Bench, Fault> {
    let config_json = std::fs::read_to_string(&arguments.config)
        .map_err(|error| Fault::invalid(arguments.config.display().to_string(), error.to_string()))?;
    let group = |(name, path): &(String, PathBuf)| TensorFile::open(path)?.probe(name);
    let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
    let sharpness = MeasureRequest {
        name: "sharpness".into(),
        parameters: [number("alpha", 0.05), number("draws", 8.0)].into(),
    };
    let spec = RunSpec {
        name: "bench".into(),
        config_json,
        groups: arguments.probe.iter().map(group).collect::<Result<_, _>>()?,
        measures: vec![sharpness],
        seed: 0,
        delivery: Delivery::Every,
        precision: arguments.precision.into(),
    };
    let header = SnapshotHeader {
        at: SnapshotRef { step: 0, attempt: 1 },
        kind: WeightKind::Live,
        initialization: false,
    };
    let snapshot = TensorFile::open(&arguments.snapshot)?.snapshot(header)?;
    let threads = arguments.threads.unwrap_or_else(super::all_processors);
    let implementation = match arguments.network {
        NetworkName::Fused => Implementation::Fused,
        NetworkName::Candle => Implementation::Autograd,
    };
    let admitted = Examination.examine(&spec)?;
    Bench::new(admitted, snapshot, threads, (&spec.config_json, implementation))
}
