//! The `clino` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    clino::cli::main(std::env::args_os())
}
