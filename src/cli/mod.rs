//! temporary
mod arguments; mod files; mod measure; mod table;
use clap::Parser;
#[derive(Parser)] struct Cli { #[command(subcommand)] command: Command }
#[derive(clap::Subcommand)] enum Command { Measure(Box<measure::Arguments>) }
fn all_processors() -> usize { std::thread::available_parallelism().map_or(1, |n| n.get()) }
/// temporary
pub fn main() -> std::process::ExitCode { let Command::Measure(a) = Cli::parse().command; match measure::run(*a) { Ok(()) => 0.into(), Err(f) => { eprintln!("clino: {f}"); 2.into() } } }
