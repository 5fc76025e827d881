//! Identifiers. The daemon makes them; names that people choose are data beside them, never identity.
//!
//! Owns: the id types. May not touch: where ids are stored; names, which are [`super::text`].

pub use super::text::{MAX_NAME, check_name, is_hidden, quoted, shown};
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

/// Whether it is SHA-256 in lower-case hexadecimal, as [`hex`] writes it.
pub fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Bytes as digests and tokens are written: lower-case hexadecimal.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// How alike two words are, at least, that are taken for the same one misspelled; 1 is equal.
const NEAR: f64 = 0.6;

/// The known word that `found` was probably meant to be; `None` where none is near. A word that was cut short counts:
/// `hessian` for `hessian_top`.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found: String = found.chars().take(MAX_NAME).flat_map(char::to_lowercase).collect();
    let alike = |word: &'a str| {
        let cut = found.len() > 2 && (word.starts_with(&found) || found.starts_with(word));
        let alike = strsim::normalized_damerau_levenshtein(&found, word);
        (if cut { alike.max(NEAR) } else { alike }, word)
    };
    let near = known.into_iter().map(alike).filter(|(alike, _)| *alike >= NEAR);
    near.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, word)| word)
}

/// What follows an unknown word in a message, before long lists that may be cut: ` (did you mean loss?)`, or nothing where
/// no known word is near.
pub fn suggestion<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(found, known).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_nearly_known_is_suggested() {
        let known = ["loss", "sharpness", "sharpness_profile", "hessian_top", "hessian_trace"];
        let near = |found: &str| nearest(found, known);
        assert_eq!(near("sharpnes"), Some("sharpness"));
        assert_eq!(near("Losss"), Some("loss"));
        assert_eq!(near("hessian-trace"), Some("hessian_trace"));
        assert_eq!(near("sharpness_profle"), Some("sharpness_profile"));
        assert!(near("hessian").is_some_and(|near| near.starts_with("hessian_")));
        assert_eq!((near("perplexity"), near(""), near("x")), (None, None, None));
        assert_eq!(suggestion("los", known), " (did you mean loss?)");
        assert_eq!(suggestion(&"é".repeat(1 << 20), known), "");
    }
}
