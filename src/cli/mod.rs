//! The command line: one file a command.
//!
//! Owns: commands, exit codes. May not touch: how anything is computed or sent.

mod arguments;
mod bench;
mod catalogue;
mod codes;
mod compare;
mod connect;
mod decide;
mod decision;
mod doctor;
mod doctor_view;
mod doctor_way;
mod files;
mod fleet;
mod fleet_view;
mod given;
mod grid;
mod history;
mod interrupt;
mod kinds;
mod listing;
mod measure;
mod measures;
mod model;
mod open;
mod out;
mod plan;
mod policy;
mod progress;
mod push;
mod row;
mod rules;
mod runs;
#[cfg(test)]
mod screens_tests;
mod selection;
mod selftest;
mod serve;
mod table;
mod token;
mod trace;
mod view;
mod watch;
mod which;
mod words;

use clap::{Parser, Subcommand};
use clino_domain::text::{harmless, harmless_lines};
use clino_domain::{Devices, EnginePlace, Fault, FaultKind};
use clino_engine::Engine;
use std::ffi::OsString;
use std::process::ExitCode;

/// Exit code when something failed.
pub const FAILED: u8 = 1;
/// Exit code when a file or value is not valid.
pub const INPUT: u8 = 2;
/// Exit code when the command line or configuration is not valid (EX_USAGE).
pub const USAGE: u8 = 64;
/// Exit code when the history was made by a newer clino (EX_DATAERR).
pub const DATA: u8 = 65;
/// Exit code when another daemon uses the socket or directory (EX_TEMPFAIL).
pub const OCCUPIED: u8 = 75;

/// A training-time daemon: parameter snapshots in, generalization measures with error bars out.
#[derive(Debug, Parser)]
#[command(name = "clino", version, long_version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("BUILD_COMMIT"), ")"))]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: receive snapshots over gRPC and measure them.
    Serve(Box<serve::ServeArguments>),
    /// Open a run and print its id.
    Open(Box<open::Open>),
    /// Send a safetensors file to a run, as the parameters at one step.
    Push(push::Push),
    /// Show readings as they are measured, until the run is closed.
    Watch(watch::Watch),
    /// List the runs of a daemon.
    Runs(runs::Runs),
    /// Compare runs by any reading, best first.
    Compare(Box<compare::Compare>),
    /// Show the runs of many daemons in one live table.
    Fleet(fleet::WatchFleet),
    /// Say what is wrong with a daemon, or with the way to it, and what to do.
    Doctor(doctor::DoctorArguments),
    /// Show the decision of a run's policy.
    Decision(decision::Ask),
    /// Override a STOP, with a reason.
    Override(decision::Override),
    /// Close a run: waiting snapshots are still measured, then its watchers end.
    Close(open::Close),
    /// Measure a snapshot in a file, without a daemon.
    Measure(Box<measure::MeasureArguments>),
    /// Predict what measures will cost on this machine.
    Plan(Box<plan::PlanArguments>),
    /// List all measures: formulas, parameters and defaults, cost, needs, invariance, source.
    Measures(catalogue::CatalogueArguments),
    /// Query a history with SQL.
    Query(history::Query),
    /// Write the readings of a history to a Parquet, CSV or JSON file.
    Export(history::Export),
    /// List the rules of policies: parameters and defaults, source.
    Rules(catalogue::CatalogueArguments),
    /// Replay a policy over a history: where would it have stopped?
    Decide(decide::DecideArguments),
    /// Create a token and its entry for the tokens file.
    Token(token::TokenArguments),
    /// Test a GPU against the CPU: kernels, whole measures, bandwidth. For a first run on a machine, and for bug reports.
    Selftest(selftest::SelftestArguments),
    /// Time parts of the engine: names on standard input, one line of JSON for each.
    Bench(Box<bench::BenchArguments>),
}

/// Number of processors that this process may use.
fn all_processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Prints a warning about a request on standard error.
fn warn(sentence: &str) {
    complain(&format!("warning: {sentence}"));
}

/// An engine on some devices; warns if it falls back to the CPU because no GPU can be used.
///
/// # Errors
/// If a GPU that was named cannot be used.
fn engine_at(threads: usize, devices: &Devices) -> Result<Engine, Fault> {
    let place = EnginePlace { threads, devices: devices.clone(), libraries: crate::config::cuda_libraries() };
    let (engine, instead) = Engine::open(&place)?;
    if let Some(reason) = instead {
        out::say(&format!("clino: no GPU, computing on the CPU: {}", harmless(&reason)));
    }
    Ok(engine)
}

/// Runs a command; the answer is the exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::Open(open) => talk(open.run()),
        Command::Push(push) => talk(push.run()),
        Command::Watch(watch) => talk(watch.run()),
        Command::Runs(runs) => talk(runs.run()),
        Command::Compare(compare) => talk(compare.run()),
        Command::Fleet(fleet) => talk(fleet.run()),
        Command::Doctor(arguments) => answered(arguments.run()),
        Command::Decision(ask) => answered(ask.run()),
        Command::Override(command) => talk(command.run()),
        Command::Close(close) => talk(close.run()),
        Command::Measure(arguments) => coded(measure::run(*arguments)),
        Command::Plan(arguments) => told(plan::run(&arguments)),
        Command::Measures(arguments) => told(measures::run(&arguments)),
        Command::Query(arguments) => told(history::ask(&arguments)),
        Command::Export(arguments) => told(history::write(&arguments)),
        Command::Rules(arguments) => told(rules::run(&arguments)),
        Command::Decide(arguments) => told(decide::run(arguments)),
        Command::Token(arguments) => told(token::run(arguments)),
        Command::Selftest(arguments) => told(selftest::run(arguments)),
        Command::Bench(arguments) => told(bench::run(*arguments)),
    }
}

/// Runs a command that talks to a daemon.
fn talk(command: impl Future<Output = Result<(), Fault>>) -> ExitCode {
    answered(async { command.await.map(|()| 0) })
}

/// Runs a command that talks to a daemon and whose answer is the exit code.
fn answered(command: impl Future<Output = Result<u8, Fault>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime
        .map_err(|error| Fault::internal(error.to_string()))
        .and_then(|runtime| runtime.block_on(command));
    coded(done)
}

/// The exit code that a command ends with.
fn coded(result: Result<u8, Fault>) -> ExitCode {
    match result {
        Ok(code) => code.into(),
        Err(fault) => told(Err(fault)),
    }
}

/// Longest error message in bytes: texts from files and daemons can have any length.
const COMPLAINT: usize = 16 << 10;

/// Prints a line on standard error, with hidden characters escaped and of bounded length.
fn complain(message: &str) {
    let short = &message[..message.floor_char_boundary(COMPLAINT)];
    let more = if short.len() < message.len() { "…" } else { "" };
    out::say(&format!("clino: {}{more}", harmless_lines(short)));
}

/// Prints a failure on standard error, every wrong field once, and returns its exit code.
fn told(result: Result<(), Fault>) -> ExitCode {
    let Err(fault) = result else { return ExitCode::SUCCESS };
    complain(&fault.message);
    let lines = fault.violations.iter().skip(1).map(|v| format!("{}: {}", v.field, v.description));
    lines.filter(|line| !fault.message.contains(line.as_str())).for_each(|line| complain(&line));
    match fault.kind {
        FaultKind::Invalid => INPUT.into(),
        _ => FAILED.into(),
    }
}
