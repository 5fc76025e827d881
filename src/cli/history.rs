//! `clino query` and `clino export`: a history from outside, also beside its daemon.
//!
//! Owns: their flags, tables for the terminal, files that are written. May not touch: what is in the history.

use crate::domain::Fault;
use crate::publish::history::{COLUMNS, Cell, Csv, JsonLines, Parquet, Sheet, export, query, schema};
use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets::UTF8_HORIZONTAL_ONLY};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Arguments of `clino query`.
#[derive(Debug, Args)]
pub struct Query {
    /// Directory of the history: what `clino serve` was given as --data
    #[arg(long, value_name = "DIRECTORY", required_unless_present = "schema")]
    data: Option<PathBuf>,
    /// One SELECT; --schema tells of tables and views
    #[arg(long, value_name = "SELECT", required_unless_present = "schema")]
    sql: Option<String>,
    /// Of the answer on stdout
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Print the tables and views with what each column means, and nothing else
    #[arg(long)]
    schema: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For the terminal; the whole answer is held in memory
    Table,
    /// With a head
    Csv,
    /// One JSON object a line
    Jsonl,
}

/// Arguments of `clino export`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("form").required(true).args(["parquet", "csv", "jsonl"])))]
pub struct Export {
    /// Directory of the history: what `clino serve` was given as --data
    #[arg(long, value_name = "DIRECTORY")]
    data: PathBuf,
    /// Write a Parquet file
    #[arg(long, value_name = "FILE")]
    parquet: Option<PathBuf>,
    /// Write comma-separated values; - is stdout
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write lines of JSON; - is stdout
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
    /// Only this run
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Only runs of this project
    #[arg(long)]
    project: Option<String>,
}

/// Answers one question.
///
/// # Errors
/// [`crate::domain::FaultKind::Invalid`] for a statement that writes or that SQLite refuses.
pub fn ask(arguments: &Query) -> Result<(), Fault> {
    let stdout = || BufWriter::new(io::stdout());
    let (Some(data), Some(sql), false) = (&arguments.data, &arguments.sql, arguments.schema) else {
        let written = io::stdout().lock().write_all(schema().as_bytes());
        return written.map_err(|error| Fault::internal(format!("stdout: {error}")));
    };
    let sheet: Box<dyn Sheet> = match arguments.format {
        Format::Table => Box::new(Terminal::default()),
        Format::Csv => Box::new(Csv::new(stdout())),
        Format::Jsonl => Box::new(JsonLines::new(stdout())),
    };
    query(data, sql, sheet)
}

/// Writes the readings to a file.
///
/// # Errors
/// [`crate::domain::FaultKind::NotFound`] without the history or the run; [`crate::domain::FaultKind::Invalid`] when the
/// file cannot be made.
pub fn write(arguments: &Export) -> Result<(), Fault> {
    let chosen = (arguments.run.as_deref(), arguments.project.as_deref());
    let sheet: Box<dyn Sheet> = match (&arguments.parquet, &arguments.csv, &arguments.jsonl) {
        (Some(path), _, _) => {
            let file = File::create(path).map_err(|error| unwritable(path, &error))?;
            let parquet = Parquet::new(BufWriter::new(file), &COLUMNS);
            Box::new(parquet.map_err(|error| unwritable(path, &error))?)
        }
        (_, Some(path), _) => Box::new(Csv::new(output(path)?)),
        (_, _, Some(path)) => Box::new(JsonLines::new(output(path)?)),
        _ => return Err(Fault::invalid("form", "found none, expected --parquet, --csv or --jsonl")),
    };
    export(&arguments.data, chosen, sheet)
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::invalid("FILE", format!("{}: {error}", path.display()))
}

fn output(path: &Path) -> Result<Box<dyn Write>, Fault> {
    match path == Path::new("-") {
        true => Ok(Box::new(BufWriter::new(io::stdout()))),
        false => {
            let file = File::create(path).map_err(|error| unwritable(path, &error))?;
            Ok(Box::new(BufWriter::new(file)))
        }
    }
}

/// A table that is printed when it is complete, because widths depend on all rows.
#[derive(Default)]
struct Terminal(Table);

impl Sheet for Terminal {
    fn head(&mut self, columns: &[String]) -> io::Result<()> {
        self.0.load_style(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        self.0.set_header(columns);
        Ok(())
    }

    fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        // Names that people chose may hold anything; a terminal must not obey them.
        let shown = |cell: &Cell| cell.to_string().replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
        self.0.add_row(cells.iter().map(shown));
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{}", self.0)
    }
}
