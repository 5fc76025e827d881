//! The lines of a recording, as `tests/fixtures/releases/record.py` writes them.

use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// One line.
#[derive(Debug, Deserialize)]
pub struct Entry {
    pub call: usize,
    #[serde(flatten)]
    pub what: What,
    /// Its number in the file.
    #[serde(skip)]
    pub line: usize,
}

/// What passed.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The client began a call.
    Begin { method: String, metadata: HashMap<String, String> },
    /// It sent a message.
    Request { bytes: Hex },
    /// It sent no more.
    HalfClose,
    /// It got a message.
    Response { bytes: Hex },
    /// The daemon ended the call.
    End { code: i32, message: String, details: Hex },
    /// The client gave it up.
    Cancel,
}

/// Bytes in hexadecimal.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Hex(pub Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let pairs = text.as_bytes().chunks(2).map(|pair| {
            let digits = std::str::from_utf8(pair).ok().filter(|digits| digits.len() == 2);
            digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())
        });
        pairs.collect::<Option<_>>().map(Self).ok_or_else(|| format!("no hexadecimal: {text}"))
    }
}

/// All lines, in their order.
pub fn read(path: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(path).unwrap();
    let entry = |(index, line)| {
        let found: Result<Entry, _> = serde_json::from_str(line);
        Entry { line: index + 1, ..found.unwrap_or_else(|error| panic!("line {}: {error}", index + 1)) }
    };
    text.lines().enumerate().map(entry).collect()
}
