//! `clino bench`: how fast the engine does each part of its work on this machine, for a model, a snapshot and a probe.
//!
//! Names come line by line on stdin; each is run once and answered by one line of JSON, so that a script can interleave
//! several programs.
//!
//! Owns: its arguments, the clock and the lines. May not touch: what is run.

use super::arguments;
use super::model::ModelArguments;
use clap::{Args, ValueEnum};
use clino_domain::{Fault, MeasureRequest, RunValidator, Value};
use clino_engine::{Bench, Done, Implementation, Validator};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::io::{self, BufRead};
use std::time::Instant;

/// Arguments of `clino bench`.
#[derive(Debug, Args)]
pub struct BenchArguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Precision
    #[arg(long, value_enum, default_value_t = arguments::PrecisionName::F32)]
    precision: arguments::PrecisionName,
    /// Which implementation runs in `forward` and `backward`
    #[arg(long, value_enum, default_value_t = NetworkName::Fused)]
    network: NetworkName,
}

/// Implementation of the network.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum NetworkName {
    /// The engine's own implementation
    Fused,
    /// The same networks with candle's autograd
    Candle,
}

#[derive(Serialize)]
struct BenchLine<'a> {
    name: &'a str,
    seconds: f64,
    cpu_seconds: f64,
    result: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    flops: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<f64>,
}

/// Answers each line of standard input with one line of JSON.
///
/// # Errors
/// If a file is bad or a name is unknown.
pub fn run(arguments: BenchArguments) -> Result<(), Fault> {
    let mut bench = bench(&arguments)?;
    let failed = |error: io::Error| Fault::internal(error.to_string());
    for line in io::stdin().lock().lines() {
        let line = line.map_err(failed)?;
        let name = line.trim();
        if name.is_empty() {
            continue;
        }
        let began = Instant::now();
        let cpu = cpu_seconds();
        let Done { result, flops, bytes } = one(&mut bench, name)?;
        let seconds = began.elapsed().as_secs_f64();
        let cpu_seconds = cpu_seconds() - cpu;
        let answer = BenchLine { name, seconds, cpu_seconds, result, flops, bytes };
        let line = serde_json::to_string(&answer).map_err(|error| Fault::internal(error.to_string()))?;
        super::out::print(&format!("{line}\n"))?;
    }
    Ok(())
}

/// CPU time of this process, in seconds.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

const NAMES: &str =
    "forward, backward, sharpness, gemm, fma, or perturb, moments or triad with a number of parameters";

fn one(bench: &mut Bench, line: &str) -> Result<Done, Fault> {
    let unknown = || Fault::invalid("stdin", format!("found {line:?}, expected {NAMES}"));
    match line.split_once(' ') {
        None => Ok(match line {
            "forward" => bench.forward()?,
            "backward" => bench.backward()?,
            "sharpness" => {
                Done { result: bench.reading()?.value.unwrap_or(f64::NAN), flops: None, bytes: None }
            }
            "gemm" => bench.products(),
            "fma" => bench.multiply_adds(),
            _ => return Err(unknown()),
        }),
        Some((name, count)) => {
            let n = count.trim().replace('_', "").parse().ok().filter(|n| *n > 0).ok_or_else(unknown)?;
            match name {
                "perturb" => bench.perturb(n),
                "moments" => bench.moments(n),
                "triad" => bench.triad(n),
                _ => Err(unknown()),
            }
        }
    }
}

fn bench(arguments: &BenchArguments) -> Result<Bench, Fault> {
    let number = |name: &str, value: f64| (name.to_owned(), Value::Number(value));
    let sharpness = MeasureRequest {
        name: "sharpness".into(),
        parameters: [number("alpha", 0.05), number("draws", 8.0)].into(),
    };
    let model = &arguments.model;
    let spec = model.specification(vec![sharpness], 0, arguments.precision.into())?;
    let implementation = match arguments.network {
        NetworkName::Fused => Implementation::Fused,
        NetworkName::Candle => Implementation::Autograd,
    };
    let snapshot = model.snapshot()?;
    let validated = Validator.validate(&spec)?;
    Bench::new(validated, snapshot, model.threads(), &spec.config_json, implementation)
}
