//! Rows of emoji8 as token ids, by the `tokenizers` library.
//!
//! Owns: how a text is framed for the model. May not touch: the model, clino.

use clino_domain::{Dtype, Tensor};
use std::error::Error;
use std::path::Path;
use tokenizers::Tokenizer;

/// Opens a text; fills a row of a batch; closes a text.
const BEGIN: u32 = 0;
const PAD: u32 = 1;
const END: u32 = 2;
/// The model has this many positions.
const MAX_TOKENS: usize = 24;

/// A labelled text.
#[derive(Debug, Clone)]
pub struct Row {
    /// Token ids, framed, not padded.
    pub ids: Vec<u32>,
    /// One of eight groups of emojis.
    pub label: u32,
}

/// All rows of a tab-separated file with the header `text label lang concept`.
pub fn rows(tokenizer: &Tokenizer, file: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let content = std::fs::read_to_string(file)?;
    let row = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [text, label, ..] = fields[..] else {
            return Err(format!("found {line:?}, expected four fields").into());
        };
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let pieces = tokenizer.encode(words, false).map_err(|error| error.to_string())?;
        let body = pieces.get_ids().iter().take(MAX_TOKENS - 2).copied();
        let ids = std::iter::once(BEGIN).chain(body).chain(std::iter::once(END)).collect();
        Ok(Row { ids, label: label.parse()? })
    };
    content.lines().skip(1).map(row).collect()
}

/// Rows of equal length: ids and mask of `examples * tokens` elements, row-major.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Token ids, padded.
    pub ids: Vec<u32>,
    /// 1 for a token, 0 for padding.
    pub mask: Vec<u32>,
    /// One a row.
    pub labels: Vec<u32>,
    /// Length of every row.
    pub tokens: usize,
}

impl Batch {
    /// Pads rows to the longest of them.
    pub fn of(rows: &[Row]) -> Self {
        let tokens = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let padded = |row: &Row, filler: u32, value: &dyn Fn(u32) -> u32| -> Vec<u32> {
            let mut values: Vec<u32> = row.ids.iter().map(|id| value(*id)).collect();
            values.resize(tokens, filler);
            values
        };
        let ids = rows.iter().flat_map(|row| padded(row, PAD, &|id| id)).collect();
        let mask = rows.iter().flat_map(|row| padded(row, 0, &|_| 1)).collect();
        Self { ids, mask, labels: rows.iter().map(|row| row.label).collect(), tokens }
    }

    /// Number of rows.
    pub fn examples(&self) -> usize {
        self.labels.len()
    }

    /// The tensors of a probe group.
    pub fn tensors(&self) -> Result<Vec<Tensor>, Box<dyn Error>> {
        let shape = [self.examples() as u64, self.tokens as u64];
        let tensor = |name: &str, shape: &[u64], values: &[u32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| i64::from(*value).to_le_bytes()).collect();
            Tensor::named(name, Dtype::I64, shape, bytes)
        };
        Ok(vec![
            tensor("input_ids", &shape, &self.ids)?,
            tensor("attention_mask", &shape, &self.mask)?,
            tensor("labels", &shape[..1], &self.labels)?,
        ])
    }
}
