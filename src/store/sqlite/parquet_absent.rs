//! What a build without the feature `parquet` says instead of writing Parquet.
//!
//! Owns: that answer. May not touch: rows.

use super::row_sink::{ColumnKind, RowSink};
use std::io;
use std::path::Path;

/// Refuses.
///
/// # Errors
/// Always: what to do instead.
pub fn parquet(_: &Path, _: &[(&str, ColumnKind)]) -> io::Result<Box<dyn RowSink>> {
    Err(io::Error::other(
        "this build of clino has no Parquet: export with --csv or --jsonl, or build with --features parquet",
    ))
}
