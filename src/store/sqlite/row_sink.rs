//! Rows on their way out: to CSV, to lines of JSON.
//!
//! Owns: how cells are written in each form. May not touch: where rows come from.

use super::json::JsonNumber;
use clino_domain::id::hex;
use clino_domain::text::shown_json;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value};
use std::io::{self, Write};

/// One value of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A cell without a value.
    Null,
    /// A signed integer of 64 bits.
    Integer(i64),
    /// A floating-point number of 64 bits.
    Real(f64),
    /// A text in UTF-8.
    Text(String),
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(number) => Self::Real(number),
            ValueRef::Text(text) => Self::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Self::Text(hex(bytes)),
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Integer(number) => write!(f, "{number}"),
            // The shortest text that reads back as the same number.
            Self::Real(number) => write!(f, "{number:?}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Whoever takes rows, one by one.
pub trait RowSink {
    /// The names of the columns come first.
    ///
    /// # Errors
    /// Those of writing.
    fn head(&mut self, columns: &[String]) -> io::Result<()>;

    /// A row: as many cells as there are columns.
    ///
    /// # Errors
    /// Those of writing.
    fn row(&mut self, cells: Vec<Cell>) -> io::Result<()>;

    /// No more rows.
    ///
    /// # Errors
    /// Those of writing.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Whoever opens comma-separated values in a spreadsheet gets a text that begins like a formula evaluated, and people
/// choose names: an apostrophe before it makes it a text, as spreadsheets themselves do.
fn inert(cell: &Cell) -> String {
    let text = cell.to_string();
    match cell {
        Cell::Text(_) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        _ => text,
    }
}

/// Comma-separated values with a head (RFC 4180: cells with commas, quotes or line ends are quoted). Texts that a
/// spreadsheet would take for formulas have an apostrophe before them.
pub struct Csv<W: Write>(csv::Writer<W>);

impl<W: Write> Csv<W> {
    /// Writes CSV to this writer.
    pub fn new(writer: W) -> Self {
        Self(csv::Writer::from_writer(writer))
    }
}

impl<W: Write> RowSink for Csv<W> {
    fn head(&mut self, columns: &[String]) -> io::Result<()> {
        Ok(self.0.write_record(columns)?)
    }

    fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        Ok(self.0.write_record(cells.iter().map(inert))?)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}

/// One JSON object a line. Numbers that JSON does not have are texts: `"inf"`, `"-inf"`, `"nan"`.
pub struct JsonLines<W: Write> {
    writer: W,
    columns: Vec<String>,
}

impl<W: Write> JsonLines<W> {
    /// Writes JSON lines to this writer.
    pub fn new(writer: W) -> Self {
        Self { writer, columns: Vec::new() }
    }
}

impl<W: Write> RowSink for JsonLines<W> {
    fn head(&mut self, columns: &[String]) -> io::Result<()> {
        self.columns = columns.to_vec();
        Ok(())
    }

    fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        let value = |cell| match cell {
            Cell::Null => Value::Null,
            Cell::Integer(number) => number.into(),
            Cell::Real(number) => serde_json::to_value(JsonNumber(number)).unwrap_or_default(),
            Cell::Text(text) => text.into(),
        };
        let object: Map<_, _> = self.columns.iter().cloned().zip(cells.into_iter().map(value)).collect();
        writeln!(self.writer, "{}", shown_json(&serde_json::to_string(&object)?))
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.writer.flush()
    }
}

/// What a column holds, for forms that declare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// Text encoded as UTF-8.
    Text,
    /// Signed integers of 64 bits.
    Integer,
    /// Floating-point numbers of 64 bits.
    Real,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn csv(cells: Vec<Cell>) -> String {
        let mut out = Vec::new();
        let mut sink = Box::new(Csv::new(&mut out));
        sink.row(cells).unwrap();
        sink.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_that_look_like_formulas_are_texts_and_numbers_stay_numbers() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"] {
            assert_eq!(csv(vec![Cell::Text(text.into()), Cell::Null]), format!("'{text},\n"));
        }
        assert_eq!(csv(vec![Cell::Text("\r=1".into()), Cell::Null]), "\"'\r=1\",\n");
        assert_eq!(csv(vec![Cell::Real(-1.5), Cell::Integer(-2), Cell::Real(1e-7)]), "-1.5,-2,1e-7\n");
        assert_eq!(csv(vec![Cell::Text("a=1".into()), Cell::Text("lr 1e-3".into())]), "a=1,lr 1e-3\n");
    }

    #[test]
    fn cells_come_back_whatever_is_in_them() {
        let texts = ["a,b", "{\"alphas\":[0.1,0.2]}", "two\nlines", "say \"x\"", "", " blank ", "日本, é"];
        let row = csv(texts.iter().map(|text| Cell::Text((*text).into())).collect());
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(row.as_bytes());
        let read = reader.records().next().unwrap().unwrap();
        assert_eq!(read.iter().collect::<Vec<_>>(), texts);
    }
}
