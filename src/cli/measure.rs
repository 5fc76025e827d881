//! `clino measure`: the engine offline, on files.
//!
//! Owns: its arguments, the JSON and the lines on stdout. May not touch: how a measure is computed.

use super::arguments;
use super::files::TensorFiles;
use super::interrupt::Interrupt;
use super::listing::Listing;
use super::model::{HEADER, ModelArguments};
use super::out::{columns, print, say};
use super::progress::{Now, ProgressLine};
use super::words::count;
use crate::pipeline::{self, ReadingListener, RunMemory};
use clap::{Args, ValueEnum};
use clino_domain::text::{listed, shown};
use clino_domain::{
    Fault, FaultKind, InMemory, MeasureRequest, ParameterSource, Planned, Reading, References, RunSpec,
    RunValidator, Snapshot, Stop, ValidatedRun, Work,
};
use clino_engine::{Arrived, Limits, Session, Task, Validator};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Most names of parameters in a warning.
const MOST_NAMED: usize = 6;

/// What is measured, of what: what `clino measure` and `clino plan` are told alike.
#[derive(Debug, Args)]
pub struct Measured {
    #[command(flatten)]
    pub model: ModelArguments,
    /// Parameters at initialization; for a fine-tuned model the pretrained one, whose head may differ or be missing
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// Parameters of the previous snapshot
    #[arg(long, value_name = "FILE")]
    pub previous: Option<PathBuf>,
    /// Measures to take, with parameters; commas continue a list [default: the standard set]
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", num_args = 1.., value_parser = arguments::measure)]
    measure: Vec<MeasureRequest>,
    /// Seed of all noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Precision: auto is f64 up to 1,048,576 parameters, f32 above
    #[arg(long, value_enum, default_value_t = arguments::PrecisionName::Auto)]
    precision: arguments::PrecisionName,
    /// Seconds that all measures together may take; measures that do not fit are reported as skipped
    #[arg(long, value_name = "SECONDS")]
    pub budget: Option<f64>,
}

impl Measured {
    /// As a run, checked.
    ///
    /// # Errors
    /// Files that cannot be read; [`FaultKind::Invalid`] with every wrong field in the message.
    pub fn validated(&self) -> Result<(RunSpec, ValidatedRun), Fault> {
        let mut spec = self.model.specification(self.measure.clone(), self.seed, self.precision.into())?;
        spec.budget = self.budget;
        let validated = Validator.validate(&spec).map_err(in_words)?;
        Ok((spec, validated))
    }
}

/// Arguments of `clino measure`.
#[derive(Debug, Args)]
pub struct MeasureArguments {
    #[command(flatten)]
    measured: Measured,
    /// Measure this many times, like snapshots of one run: searches start where the last one ended, and the plan is
    /// what was counted and timed before; the last readings are printed
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Output format
    #[arg(long, value_enum, default_value_t = MeasureFormat::Table)]
    format: MeasureFormat,
}

/// Output format of `clino measure` and `clino plan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MeasureFormat {
    /// A table for people
    Table,
    /// One JSON object for scripts
    Json,
}

/// What scripts read on stdout.
#[derive(Serialize)]
struct MeasureAnswer {
    readings: Vec<Reading>,
    /// What was predicted of each measure, cheapest first.
    plan: Vec<MeasureLine>,
    /// Warnings about the files: what may differ from what their author expects.
    warnings: Vec<String>,
    seconds: f64,
    /// Why there are no more readings.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// A measure and what it was predicted to do on one group, and to take on all of them.
#[derive(Serialize)]
struct MeasureLine {
    measure: String,
    work: Work,
    seconds: Option<f64>,
}

/// Measures, and prints readings as they come; the answer is the exit code. Ended by a signal, it prints what it has.
///
/// # Errors
/// Bad files or parameters; nothing is printed on stdout then.
pub fn run(arguments: MeasureArguments) -> Result<u8, Fault> {
    let begun = Instant::now();
    let (spec, validated) = arguments.measured.validated()?;
    let mut measuring = MeasureLoop::new(&arguments, &validated);
    let note = measuring.passes(&validated, spec.seed)?;
    let code = if note.is_some() { measuring.interrupt.as_ref().and_then(Interrupt::code) } else { None };
    if arguments.format == MeasureFormat::Json {
        let line = |(measure, planned): (&MeasureRequest, &Planned)| MeasureLine {
            measure: measure.name.clone(),
            work: planned.work,
            seconds: planned.seconds,
        };
        let plan = validated.measures.iter().zip(&measuring.plan).map(line).collect();
        let readings = measuring.newest.readings();
        let warnings = measuring.warnings;
        print_json(&MeasureAnswer {
            readings,
            plan,
            warnings,
            seconds: begun.elapsed().as_secs_f64(),
            note,
        })?;
    }
    Ok(code.unwrap_or(0))
}

/// Prints an answer as one line of JSON.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_json(answer: &impl Serialize) -> Result<(), Fault> {
    let line = serde_json::to_string(answer).map_err(|error| Fault::internal(error.to_string()))?;
    super::out::print_json(&line)
}

/// Readings as they were made last: those of the pass that is under way, then of the one before.
#[derive(Default)]
struct Newest {
    before: Vec<Reading>,
    now: Vec<Reading>,
}

impl Newest {
    fn begin(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    /// Those of the pass before that the one under way has not made again: readings come in the same order in each.
    fn older(&self) -> &[Reading] {
        self.before.get(self.now.len()..).unwrap_or_default()
    }

    fn readings(&self) -> Vec<Reading> {
        self.now.iter().chain(self.older()).cloned().collect()
    }
}

/// Where passes are made and readings printed.
struct MeasureLoop<'a> {
    arguments: &'a MeasureArguments,
    /// What each measure is known to cost.
    plan: Vec<Planned>,
    memory: RunMemory,
    newest: Newest,
    stop: Stop,
    interrupt: Option<Interrupt>,
    /// Warnings about the files: what may differ from what their author expects.
    warnings: Vec<String>,
    /// How readings are printed, if they are.
    listing: Option<Listing>,
    /// Whether the pass under way is printed.
    printing: bool,
}

impl<'a> MeasureLoop<'a> {
    fn new(arguments: &'a MeasureArguments, validated: &ValidatedRun) -> Self {
        Self {
            arguments,
            plan: validated.plan.clone(),
            memory: RunMemory::default(),
            newest: Newest::default(),
            stop: Stop::default(),
            interrupt: None,
            warnings: Vec::new(),
            listing: None,
            printing: false,
        }
    }

    /// All passes; what is said where a signal ended them early.
    fn passes(&mut self, validated: &ValidatedRun, seed: u64) -> Result<Option<String>, Fault> {
        let measured = &self.arguments.measured;
        let layout = &*validated.layout;
        let init =
            reference(measured.init.as_deref(), |snapshot| InMemory::initialization(snapshot, layout))?;
        let previous = reference(measured.previous.as_deref(), |snapshot| InMemory::new(snapshot, layout))?;
        let mut snapshot = Some(measured.model.snapshot()?);
        self.warnings = snapshot.iter().flat_map(|held| warnings(validated, held)).collect();
        self.warnings.extend(init.iter().filter_map(|init| lacking(&**init, validated)));
        self.warnings.iter().for_each(|warning| super::warn(warning));
        let references = References { init, previous };
        let engine = measured.model.engine()?;
        self.interrupt = Some(Interrupt::hear(self.stop.clone())?);
        for left in (0..self.arguments.repeat).rev() {
            // The last time its bytes are freed as they are read.
            let Some(snapshot) = (if left > 0 { snapshot.clone() } else { snapshot.take() }) else { break };
            let arrived = Arrived { snapshot, references: references.clone(), statistics: None };
            let session = engine.take(validated, seed, arrived);
            let mut session = session.map_err(|fault| at(&measured.model.snapshot, fault))?;
            match self.pass(&mut session, left) {
                Ok(costs) if left > 0 => {
                    let lines = self.plan.iter_mut().zip(costs);
                    lines.for_each(|(line, cost)| *line = cost.unwrap_or(*line));
                }
                Ok(_) => {}
                Err(fault) if fault.kind == FaultKind::Cancelled => {
                    return self.cut_short(session.tasks().len()).map(Some);
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(None)
    }

    /// One pass, with the number of passes left after it; the last one is printed as it goes.
    fn pass(&mut self, session: &mut Session<'_>, left: u32) -> Result<Vec<Option<Planned>>, Fault> {
        let tasks = session.tasks();
        if self.arguments.format == MeasureFormat::Table {
            self.listing = Some(Listing::new(&tasks, columns()));
        }
        let listing = self.listing.as_ref().filter(|_| left == 0);
        self.printing = listing.is_some();
        listing.map_or(Ok(()), |listing| print(&listing.head()))?;
        self.newest.begin();
        let repeat = self.arguments.repeat;
        let pass = if repeat > 1 { format!(" (pass {} of {repeat})", repeat - left) } else { String::new() };
        let made = &mut self.newest.now;
        let progress = ProgressLine::begin();
        let mut teller = Teller { listing, made, of: tasks.len(), pass, progress, failed: None };
        let budget = self.arguments.measured.budget;
        let began = Instant::now();
        let limits = Limits { stop: &self.stop, clock: &|| began.elapsed().as_secs_f64() };
        let costs = pipeline::evaluate(session, &mut self.memory, budget, limits, &mut teller);
        teller.failed.map_or(costs, Err)
    }

    /// What is said of a command that was ended early; prints what has not been printed.
    fn cut_short(&self, tasks: usize) -> Result<String, Fault> {
        let older = self.newest.older();
        let made = count(tasks as u64, "reading");
        let mut note = format!("interrupted: {} of {made} made", self.newest.now.len());
        if !older.is_empty() {
            note += &format!(" in this pass, {} are of the one before", older.len());
        }
        if let Some(listing) = &self.listing {
            let head = if self.printing { String::new() } else { listing.head() };
            let rows = if self.printing { older.to_vec() } else { self.newest.readings() };
            let lines: String = rows.iter().map(|reading| listing.reading(reading)).collect();
            print(&(head + &lines))?;
            say(&format!("clino: {note}"));
        }
        Ok(note)
    }
}

/// Tells what is measured now on standard error, and prints what was measured.
struct Teller<'a> {
    listing: Option<&'a Listing>,
    made: &'a mut Vec<Reading>,
    of: usize,
    pass: String,
    progress: ProgressLine,
    /// Why a line could not be printed.
    failed: Option<Fault>,
}

impl ReadingListener for Teller<'_> {
    fn begins(&mut self, task: &Task, left: &dyn Fn() -> Option<f64>) {
        let on = task.group.as_ref().map(|group| format!(" on {}", shown(group))).unwrap_or_default();
        let what = format!("{}{on}{}", task.measure.name, self.pass);
        let number = self.made.len() + 1;
        self.progress.tell(Now { what, number, of: self.of, left: left(), since: Instant::now() });
    }

    fn made(&mut self, reading: Reading) {
        if let Some(listing) = self.listing {
            let line = listing.reading(&reading);
            let printed = self.progress.aside(|| print(&line));
            self.failed = self.failed.take().or(printed.err());
        }
        self.made.push(reading);
    }
}

/// Warnings about a run and its snapshot: what may differ from what their author expects.
pub fn warnings(validated: &ValidatedRun, snapshot: &Snapshot) -> Vec<String> {
    validated.warnings.iter().cloned().chain(validated.layout.remarks(snapshot.manifest())).collect()
}

/// What a snapshot is compared with, from the file where it is.
fn reference(
    path: Option<&Path>,
    hold: impl FnOnce(Snapshot) -> Result<InMemory, Fault>,
) -> Result<Option<Arc<dyn ParameterSource>>, Fault> {
    let Some(path) = path else { return Ok(None) };
    let snapshot = TensorFiles::model(path)?.snapshot(HEADER)?;
    let held = hold(snapshot).map_err(|fault| at(path, fault))?;
    Ok(Some(Arc::new(held)))
}

/// What is said of an initialization that lacks the head.
fn lacking(init: &dyn ParameterSource, validated: &ValidatedRun) -> Option<String> {
    let parameters = validated.layout.parameters().iter().enumerate();
    let lacking = parameters.filter(|(index, _)| !init.has(*index));
    let names: Vec<String> = lacking.map(|(_, spec)| format!("{} {:?}", spec.name, spec.shape)).collect();
    (!names.is_empty()).then(|| {
        let compared = validated.measures.iter().zip(&validated.needs);
        let compared = compared.filter(|(_, needs)| needs.init || needs.init_if_given);
        let measures: Vec<&str> = compared.map(|(measure, _)| measure.name.as_str()).collect();
        format!(
            "the initialization lacks {}: the measures that compare with it ({}) leave them out, or are \
            unavailable if they need all of it",
            listed(names.into_iter(), MOST_NAMED),
            measures.join(", ")
        )
    })
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
