//! Text to token ids: rows of the emoji8 files, the nano tokenizer, padded batches.
//!
//! Owns: how a text is framed for the model. May not touch: the model, clino.

use super::unigram::Unigram;
use clino_domain::{Dtype, Tensor};
use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

/// Opens a text.
const BEGIN: u32 = 0;
/// Fills a row of a batch.
const PAD: u32 = 1;
/// Closes a text.
const END: u32 = 2;
/// The model has this many positions.
const MAX_TOKENS: usize = 24;

/// A labelled text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledText {
    /// Token ids, framed, not padded.
    pub ids: Vec<u32>,
    /// One of eight groups of emojis.
    pub label: u32,
    /// Such as `en`.
    pub language: String,
}

/// The nano tokenizer with the map of code points that comes before it.
pub struct Text {
    unigram: Unigram,
    replacements: HashMap<char, String>,
}

impl Text {
    /// Reads `tokenizer.json` and `normalize.json` in `directory`.
    pub fn open(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let unigram = Unigram::open(&directory.join("tokenizer.json"))?;
        let map: HashMap<String, String> =
            serde_json::from_str(&std::fs::read_to_string(directory.join("normalize.json"))?)?;
        let mut replacements = HashMap::new();
        for (point, text) in map {
            let point: u32 = point.parse()?;
            let from = char::from_u32(point).ok_or_else(|| format!("{point} is no code point"))?;
            replacements.insert(from, text);
        }
        Ok(Self { unigram, replacements })
    }

    /// A text as the tokenizer takes it: code points replaced, white space squeezed.
    pub fn normalized(&self, text: &str) -> String {
        let mapped: String = text
            .chars()
            .map(|c| self.replacements.get(&c).cloned().unwrap_or_else(|| c.to_string()))
            .collect();
        mapped.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Token ids of a text, framed and cut to what the model can hold.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let pieces = self.unigram.encode(&self.normalized(text));
        let body = pieces.into_iter().take(MAX_TOKENS - 2);
        std::iter::once(BEGIN).chain(body).chain(std::iter::once(END)).collect()
    }

    /// All rows of a tab-separated file with the header `text label lang concept`.
    pub fn rows(&self, file: &Path) -> Result<Vec<LabelledText>, Box<dyn Error>> {
        let content = std::fs::read_to_string(file)?;
        let wrong = |line: usize| format!("{}: line {}: expected four fields", file.display(), line + 1);
        let row = |(i, line): (usize, &str)| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [text, label, language, _concept] = fields[..] else { return Err(wrong(i).into()) };
            Ok(LabelledText { ids: self.encode(text), label: label.parse()?, language: language.to_owned() })
        };
        content.lines().enumerate().skip(1).map(row).collect()
    }
}

/// Rows of equal length: ids and mask of `examples * tokens` elements, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextBatch {
    /// Token ids, padded.
    pub ids: Vec<u32>,
    /// 1 for a token, 0 for padding.
    pub mask: Vec<u32>,
    /// One a row.
    pub labels: Vec<u32>,
    /// Length of every row.
    pub tokens: usize,
}

impl TextBatch {
    /// Pads `rows` to the longest of them.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a LabelledText> + Clone) -> Self {
        let tokens = rows.clone().into_iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let mut batch = Self { ids: Vec::new(), mask: Vec::new(), labels: Vec::new(), tokens };
        for row in rows {
            let padding = tokens - row.ids.len();
            batch.ids.extend(row.ids.iter().copied().chain(std::iter::repeat_n(PAD, padding)));
            batch.mask.extend(row.ids.iter().map(|_| 1).chain(std::iter::repeat_n(0, padding)));
            batch.labels.push(row.label);
        }
        batch
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
