//! The `clino` binary.

fn main() -> std::process::ExitCode {
    clino::cli::main()
}
