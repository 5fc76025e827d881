//! Identifiers. The daemon makes them; names that people choose are data beside them, never identity.
//!
//! Owns: the id types and the rule for names. May not touch: where ids are stored.

use super::Fault;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};

/// Identifies a run: made by the daemon, a UUID in text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunId(pub String);

/// Identifies one received snapshot: made by the daemon, a UUID in text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SnapshotId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Longest accepted name of a run or a probe group, in bytes.
pub const MAX_NAME: usize = 128;

const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];

/// Checks a name that people chose: 1 to [`MAX_NAME`] bytes of letters and digits of any script, space and `._:-`,
/// beginning with a letter or digit, and none that a file system reserves.
///
/// # Errors
/// [`super::FaultKind::Invalid`] naming `field`.
pub fn check_name(field: &str, name: &str) -> Result<(), Fault> {
    let wrong =
        |expected: String| Err(Fault::invalid(field, format!("found {}, expected {expected}", quoted(name))));
    if name.is_empty() || name.len() > MAX_NAME {
        return wrong(format!("1 to {MAX_NAME} bytes"));
    }
    let plain = |c: char| c.is_alphanumeric() || " ._:-".contains(c);
    if !name.starts_with(char::is_alphanumeric) || !name.chars().all(plain) {
        return wrong("letters, digits, space and ._:- after a first letter or digit".into());
    }
    if RESERVED.contains(&name.to_lowercase().as_str()) {
        return wrong("a name that no file system reserves".into());
    }
    Ok(())
}

/// Bytes as digests and tokens are written: lower-case hexadecimal.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `text` escaped and shortened for a message.
pub fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(64).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

/// What no terminal or page should show as it is: controls, and characters that turn the direction of writing.
pub fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` with what is hidden in it escaped.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hidden(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_32_what_is_hidden_is_shown_escaped() {
        assert_eq!(shown("a\x1b[2J\u{202e}b\n日本 'é'"), "a\\u{1b}[2J\\u{202e}b\\n日本 'é'");
    }

    #[test]
    fn names_are_plain() {
        for good in ["en", "run 1", "zh-Hans", "日本語", "lr:1e-3_x".replace('_', ".").as_str()] {
            assert!(check_name("name", good).is_ok(), "{good}");
        }
        let long = "x".repeat(10_000);
        for bad in ["", "../../etc/x", "a\0b", "CON", long.as_str(), "a\u{202e}b", "a\x1b[31m", "a\nb", "a/b"]
        {
            let fault = check_name("name", bad).expect_err(bad);
            assert_eq!(fault.violations[0].field, "name");
            assert!(fault.message.len() < 300, "the message repeats a hostile name in full");
        }
    }
}
