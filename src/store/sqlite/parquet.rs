//! Rows on their way out to Parquet.
//!
//! Owns: row groups and the kinds of columns. May not touch: where rows come from.

use super::row_sink::{Cell, ColumnKind, RowSink};
use parquet::basic::Compression;
use parquet::column::writer::{ColumnWriter, ColumnWriterImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

/// Rows that go to the file together.
const GROUP: usize = 32_768;

/// Makes a Parquet file with these columns.
///
/// # Errors
/// If it cannot be written.
pub fn parquet(path: &Path, columns: &[(&str, ColumnKind)]) -> io::Result<Box<dyn RowSink>> {
    Ok(Box::new(Parquet::new(BufWriter::new(File::create(path)?), columns)?))
}

/// A Parquet file, compressed by Snappy. What does not fit the kind of its column is null.
struct Parquet<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    kinds: Vec<ColumnKind>,
    rows: Vec<Vec<Cell>>,
}

fn other(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    }
}

impl<W: Write + Send> Parquet<W> {
    fn new(writer: W, columns: &[(&str, ColumnKind)]) -> io::Result<Self> {
        let field = |(name, kind): &(&str, ColumnKind)| match kind {
            ColumnKind::Text => format!("optional binary {name} (UTF8);"),
            ColumnKind::Integer => format!("optional int64 {name};"),
            ColumnKind::Real => format!("optional double {name};"),
        };
        let fields: Vec<_> = columns.iter().map(field).collect();
        let schema = parse_message_type(&format!("message readings {{ {} }}", fields.join(" ")));
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let schema = Arc::new(schema.map_err(other)?);
        let writer = SerializedFileWriter::new(writer, schema, Arc::new(properties)).map_err(other)?;
        Ok(Self { writer, kinds: columns.iter().map(|(_, kind)| *kind).collect(), rows: Vec::new() })
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for place in 0..self.kinds.len() {
            let Some(mut column) = group.next_column()? else { break };
            let cells = self.rows.iter().map(|row| &row[place]);
            match column.untyped() {
                ColumnWriter::ByteArrayColumnWriter(writer) => write(writer, cells, |cell| match cell {
                    Cell::Text(text) => Some(ByteArray::from(text.as_str())),
                    _ => None,
                })?,
                ColumnWriter::Int64ColumnWriter(writer) => write(writer, cells, |cell| match cell {
                    Cell::Integer(number) => Some(*number),
                    _ => None,
                })?,
                ColumnWriter::DoubleColumnWriter(writer) => write(writer, cells, |cell| match cell {
                    Cell::Real(number) => Some(*number),
                    Cell::Integer(number) => Some(*number as f64),
                    _ => None,
                })?,
                _ => return Err(ParquetError::General("a column of an unknown kind".into())),
            }
            column.close()?;
        }
        group.close()?;
        self.rows.clear();
        Ok(())
    }
}

/// Writes a column: its levels, 1 for each value that is there and 0 for each that is not, and the values that are.
fn write<'a, T: DataType>(
    writer: &mut ColumnWriterImpl<'_, T>,
    cells: impl Iterator<Item = &'a Cell>,
    value: impl Fn(&Cell) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let found: Vec<Option<T::T>> = cells.map(value).collect();
    let levels: Vec<i16> = found.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = found.into_iter().flatten().collect();
    writer.write_batch(&values, Some(&levels), None)?;
    Ok(())
}

impl<W: Write + Send> RowSink for Parquet<W> {
    fn head(&mut self, columns: &[String]) -> io::Result<()> {
        match columns.len() == self.kinds.len() {
            true => Ok(()),
            false => Err(io::Error::other("other columns than the file has")),
        }
    }

    fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        self.rows.push(cells);
        if self.rows.len() >= GROUP { self.flush().map_err(other) } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.flush().and_then(|()| self.writer.close().map(drop)).map_err(other)
    }
}
