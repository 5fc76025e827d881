//! `clino measure`: the engine offline, on files.
//!
//! Owns: its arguments, the JSON and the table on stdout. May not touch: how a measure is computed.

use super::arguments;
use super::files::TensorFile;
use super::model::{HEADER, Model};
use crate::domain::{
    Admitted, Examiner, Fault, InMemory, MeasureRequest, ParameterSource, Planned, Reading, References, Work,
};
use crate::engine::{Arrived, Examination, Stop};
use crate::pipeline::{self, Memory};
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
    /// Arithmetic: auto is f64 up to 1,048,576 parameters, f32 above
    #[arg(long, value_enum, default_value_t = arguments::PrecisionName::Auto)]
    precision: arguments::PrecisionName,
    /// Measures so many times, as snapshots of one run would be: searches begin where the last one ended, and the plan is
    /// what was counted and timed before; the last readings are given
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Seconds that all measures may take; what does not fit is skipped and said to be
    #[arg(long, value_name = "SECONDS")]
    budget: Option<f64>,
    /// Of the readings on stdout
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// What scripts read on stdout.
#[derive(Serialize)]
struct Answer {
    readings: Vec<Reading>,
    /// What was predicted of each measure, cheapest first.
    plan: Vec<Line>,
    seconds: f64,
}

/// A measure and what it was predicted to do on one group, and to take on all of them.
#[derive(Serialize)]
struct Line {
    measure: String,
    work: Work,
    seconds: Option<f64>,
}

/// Measures and prints.
///
/// # Errors
/// Bad files or parameters; nothing is printed on stdout then.
pub fn run(arguments: Arguments) -> Result<(), Fault> {
    let answer = answer(&arguments)?;
    let printed = match arguments.format {
        Format::Json => print_json(&answer),
        Format::Table => writeln!(io::stdout().lock(), "{}", super::table::readings(&answer.readings)),
    };
    printed.map_err(|error| Fault::internal(format!("stdout: {error}")))
}

fn print_json(answer: &Answer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    writeln!(out)
}

fn answer(arguments: &Arguments) -> Result<Answer, Fault> {
    let begun = Instant::now();
    let model = &arguments.model;
    let mut spec =
        model.specification(arguments.measure.clone(), arguments.seed, arguments.precision.into())?;
    spec.budget = arguments.budget;
    let admitted = Examination.examine(&spec).map_err(in_words)?;
    let references = References {
        init: reference(arguments.init.as_deref(), &admitted)?,
        previous: reference(arguments.previous.as_deref(), &admitted)?,
    };
    let mut snapshot = Some(model.snapshot()?);
    let engine = model.engine()?;
    let (mut memory, mut plan, mut readings) = (Memory::default(), admitted.plan.clone(), Vec::new());
    for left in (0..arguments.repeat).rev() {
        // The last time its bytes are freed as they are read.
        let Some(snapshot) = (if left > 0 { snapshot.clone() } else { snapshot.take() }) else { break };
        let arrived = Arrived { snapshot, references: references.clone(), statistics: None };
        let session = engine.take(&admitted, arguments.seed, arrived);
        let mut session = session.map_err(|fault| at(&model.snapshot, fault))?;
        readings.clear();
        let mut keep = |reading| readings.push(reading);
        let costs = pipeline::evaluate(&mut session, &mut memory, spec.budget, &Stop::default(), &mut keep)?;
        if left > 0 {
            plan.iter_mut().zip(costs).for_each(|(line, cost)| *line = cost.unwrap_or(*line));
        }
    }
    let line = |(measure, planned): (&MeasureRequest, &Planned)| Line {
        measure: measure.name.clone(),
        work: planned.work,
        seconds: planned.seconds,
    };
    let plan = admitted.measures.iter().zip(&plan).map(line).collect();
    Ok(Answer { readings, plan, seconds: begun.elapsed().as_secs_f64() })
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
