//! `clino query` and `clino export`: a history from outside, also beside its daemon.
//!
//! Owns: their flags, tables for the terminal, files that are written. May not touch: what is in the history.

use super::grid::{Column, Grid};
use super::out::{columns, out, print};
use super::which;
use crate::store::sqlite::{self, COLUMNS, Cell, Csv, JsonLines, RowSink, export, parquet, query, schema};
use clap::{Args, ValueEnum};
use clino_domain::Fault;
use clino_domain::text::{harmless_lines, shown};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Arguments of `clino query`.
#[derive(Debug, Args)]
pub struct Query {
    /// Directory of the history (--data of `clino serve`), or a copy of its database
    #[arg(long, value_name = "DIRECTORY", required_unless_present = "schema")]
    data: Option<PathBuf>,
    /// One SELECT statement; --schema lists tables and views
    #[arg(long, value_name = "SELECT", required_unless_present = "schema")]
    sql: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = QueryFormat::Table)]
    format: QueryFormat,
    /// Only print the tables and views, with the meaning of each column
    #[arg(long)]
    schema: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum QueryFormat {
    /// A table for the terminal; the whole result is held in memory
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object per line
    Jsonl,
}

/// Arguments of `clino export`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("form").required(true).args(["parquet", "csv", "jsonl"])))]
pub struct Export {
    /// Directory of the history (--data of `clino serve`), or a copy of its database
    #[arg(long, value_name = "DIRECTORY")]
    data: PathBuf,
    /// Write a Parquet file
    #[arg(long, value_name = "FILE")]
    parquet: Option<PathBuf>,
    /// Write comma-separated values; - is standard output
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write one JSON object per line; - is standard output
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
    /// Only this run: its id, the start of its id, its name, or latest
    #[arg(long)]
    run: Option<String>,
    /// Only runs of this project
    #[arg(long)]
    project: Option<String>,
}

/// Runs one SELECT and prints the rows.
///
/// # Errors
/// [`clino_domain::FaultKind::Invalid`] for a statement that writes or that SQLite refuses.
pub fn ask(arguments: &Query) -> Result<(), Fault> {
    let stdout = || BufWriter::new(out());
    let (Some(data), Some(sql), false) = (&arguments.data, &arguments.sql, arguments.schema) else {
        return print(&schema());
    };
    let sink: Box<dyn RowSink> = match arguments.format {
        QueryFormat::Table => Box::new(Terminal::default()),
        QueryFormat::Csv if io::stdout().is_terminal() => Box::new(Visible(Csv::new(stdout()))),
        QueryFormat::Csv => Box::new(Csv::new(stdout())),
        QueryFormat::Jsonl => Box::new(JsonLines::new(stdout())),
    };
    query(data, sql, sink)
}

/// Writes the readings to a file.
///
/// # Errors
/// [`clino_domain::FaultKind::NotFound`] without the history or the run; [`clino_domain::FaultKind::Invalid`] when the
/// file cannot be made.
pub fn write(arguments: &Export) -> Result<(), Fault> {
    let run = arguments.run.as_deref().map(|run| {
        let list = format!("`clino runs --data {}`", arguments.data.display());
        which::choose(run, &sqlite::runs(&arguments.data)?, &list)
    });
    let run = run.transpose()?;
    let run = run.as_ref().map(|run| run.0.as_str());
    let sink: Box<dyn RowSink> = match (&arguments.parquet, &arguments.csv, &arguments.jsonl) {
        (Some(path), _, _) => parquet(path, &COLUMNS).map_err(|error| unwritable(path, &error))?,
        (_, Some(path), _) if path == Path::new("-") && io::stdout().is_terminal() => {
            Box::new(Visible(Csv::new(output(path)?)))
        }
        (_, Some(path), _) => Box::new(Csv::new(output(path)?)),
        (_, _, Some(path)) => Box::new(JsonLines::new(output(path)?)),
        _ => return Err(Fault::invalid("form", "found none, expected --parquet, --csv or --jsonl")),
    };
    export(&arguments.data, run, arguments.project.as_deref(), sink)
}

fn unwritable(path: &Path, error: &io::Error) -> Fault {
    Fault::invalid("FILE", format!("{}: {error}", path.display()))
}

fn output(path: &Path) -> Result<Box<dyn Write>, Fault> {
    match path == Path::new("-") {
        true => Ok(Box::new(BufWriter::new(out()))),
        false => {
            let file = File::create(path).map_err(|error| unwritable(path, &error))?;
            Ok(Box::new(BufWriter::new(file)))
        }
    }
}

/// Values on a terminal, which no program reads: what is hidden in them is escaped.
struct Visible<S>(S);

impl<S: RowSink> RowSink for Visible<S> {
    fn head(&mut self, columns: &[String]) -> io::Result<()> {
        let columns: Vec<_> = columns.iter().map(|column| shown(column)).collect();
        self.0.head(&columns)
    }

    fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        let visible = |cell| match cell {
            Cell::Text(text) => Cell::Text(harmless_lines(&text)),
            cell => cell,
        };
        self.0.row(cells.into_iter().map(visible).collect())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Box::new(self.0).finish()
    }
}

/// A table that is printed when it is complete, because widths depend on all rows.
#[derive(Default)]
struct Terminal {
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl RowSink for Terminal {
    fn head(&mut self, columns: &[String]) -> io::Result<()> {
        self.columns = columns.to_vec();
        Ok(())
    }

    fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        self.rows.push(cells);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        out().write_all(self.table().render(columns()).as_bytes())
    }
}

impl Terminal {
    fn table(&self) -> Grid {
        let texts = |place: usize| self.rows.iter().any(|row| matches!(row.get(place), Some(Cell::Text(_))));
        let column = |(place, title): (usize, &String)| match texts(place) {
            true => Column::name(&shown(title)).always(),
            false => Column::number(&shown(title)).always(),
        };
        let mut table = Grid::new(1, self.columns.iter().enumerate().map(column));
        // Names that people chose may hold anything; a terminal must not obey them.
        self.rows.iter().for_each(|row| table.row(row.iter().map(|cell| shown(&cell.to_string()))));
        table
    }
}

/// A table for tests of how it looks.
#[cfg(test)]
pub(super) fn screen(room: Option<usize>) -> String {
    let cells = |name: &str, step: i64, value: Cell| {
        let detail = r#"{"mean":0.012239,"draws":[0.0121,0.0123],"ended":"draws"}"#;
        vec![Cell::Text(name.into()), Cell::Integer(step), value, Cell::Text(detail.into())]
    };
    let columns = ["run_name", "step", "value", "detail"].map(str::to_owned).into();
    let rows = vec![
        cells("bert-large-uncased-mnli-lr-1e-3", 120_300, Cell::Real(0.012_239_456_789_012_345)),
        cells("two\nlines", 7, Cell::Null),
    ];
    Terminal { columns, rows }.table().render(room)
}
