//! `clino measure`: the engine offline, on files.
//!
//! Owns: its arguments, the JSON and the table on stdout. May not touch: how a measure is computed.

use super::arguments;
use super::files::TensorFile;
use super::model::{HEADER, Model};
use crate::domain::{
    Admitted, Examiner, Fault, InMemory, MeasureRequest, ParameterSource, Reading, References,
};
use crate::engine::{Arrived, Engine, Examination, Hints, Stop};
use crate::pipeline;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Arguments of `clino measure`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    model: Model,
    /// Parameters at initialization
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Parameters of the snapshot before
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// What to measure; lists go on after commas [default: the standard set]
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", num_args = 1.., value_parser = arguments::measure)]
    measure: Vec<MeasureRequest>,
    /// Of all noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
    /// Arithmetic: auto is f64 up to 1,048,576 parameters, f32 above
    #[arg(long, value_enum, default_value_t = arguments::PrecisionName::Auto)]
    precision: arguments::PrecisionName,
    /// Of the readings on stdout
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Where to compute.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Device {
    Cpu,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// What scripts read on stdout.
#[derive(Serialize)]
struct Answer<'a> {
    readings: &'a [Reading],
    seconds: f64,
}

/// Measures and prints.
///
/// # Errors
/// Bad files or parameters; nothing is printed on stdout then.
pub fn run(arguments: Arguments) -> Result<(), Fault> {
    let begun = Instant::now();
    let readings = readings(&arguments)?;
    let seconds = begun.elapsed().as_secs_f64();
    let printed = match arguments.format {
        Format::Json => print_json(&readings, seconds),
        Format::Table => writeln!(io::stdout().lock(), "{}", super::table::readings(&readings)),
    };
    printed.map_err(|error| Fault::internal(format!("stdout: {error}")))
}

fn print_json(readings: &[Reading], seconds: f64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &Answer { readings, seconds })?;
    writeln!(out)
}

fn readings(arguments: &Arguments) -> Result<Vec<Reading>, Fault> {
    let Device::Cpu = arguments.device;
    let model = &arguments.model;
    let spec = model.specification(arguments.measure.clone(), arguments.seed, arguments.precision.into())?;
    let admitted = Examination.examine(&spec).map_err(in_words)?;
    let references = References {
        init: reference(arguments.init.as_deref(), &admitted)?,
        previous: reference(arguments.previous.as_deref(), &admitted)?,
    };
    let snapshot = model.snapshot()?;
    let engine = Engine::new(model.threads())?;
    let arrived = Arrived { snapshot, references, statistics: None };
    let session = engine.take(&admitted, arguments.seed, arrived);
    let mut session = session.map_err(|fault| at(&model.snapshot, fault))?;
    let mut readings = Vec::new();
    pipeline::evaluate(&mut session, &mut Hints::default(), &Stop::default(), &mut |reading| {
        readings.push(reading)
    })?;
    Ok(readings)
}

fn reference(path: Option<&Path>, admitted: &Admitted) -> Result<Option<Arc<dyn ParameterSource>>, Fault> {
    let Some(path) = path else { return Ok(None) };
    let snapshot = TensorFile::open(path)?.snapshot(HEADER)?;
    let held = InMemory::new(snapshot, &*admitted.layout).map_err(|fault| at(path, fault))?;
    Ok(Some(Arc::new(held)))
}

fn at(path: &Path, fault: Fault) -> Fault {
    Fault { message: format!("{}: {}", path.display(), in_words(fault.clone()).message), ..fault }
}

/// All violations in the message: a terminal has no details beside it.
fn in_words(fault: Fault) -> Fault {
    if fault.violations.len() < 2 {
        return fault;
    }
    let lines: Vec<String> =
        fault.violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
    Fault { message: lines.join("\n  "), ..fault }
}
