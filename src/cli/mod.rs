//! The command line: one file a command.
//!
//! Owns: commands, exit codes. May not touch: how anything is computed or sent.

mod arguments;
mod files;
mod measure;
mod serve;
mod table;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// Something failed.
pub const FAILED: u8 = 1;
/// The command line or the configuration cannot be used (EX_USAGE).
pub const USAGE: u8 = 64;
/// Another daemon is in the way (EX_TEMPFAIL).
pub const OCCUPIED: u8 = 75;

/// A training-time daemon: parameter snapshots in, generalization measures with error bars out.
#[derive(Debug, Parser)]
#[command(name = "clino", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take snapshots over gRPC and measure them.
    Serve(serve::Arguments),
    /// Measure a snapshot in a file, without a daemon.
    Measure(Box<measure::Arguments>),
}

/// All processors that this process may use.
fn all_processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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
        Command::Serve(arguments) => serve::run(arguments),
        Command::Measure(arguments) => told(measure::run(*arguments)),
    }
}

/// A failure on standard error, and its exit code.
fn told(result: Result<(), crate::domain::Fault>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("clino: {fault}");
            FAILED.into()
        }
    }
}
