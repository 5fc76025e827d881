//! The example's tokenizer against rows that were tokenized by the Python reference with which the model was made.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code)]
#[path = "../examples/finetune/text.rs"]
mod text;

use sha2::{Digest, Sha256};
use std::path::Path;
use text::{Batch, Text};

/// Of the first 64 rows of the English training texts, padded to 24 tokens, as little-endian i64.
const DIGEST: &str = "48afa78ed2448bf91e7a6f6bfcd4a4cb24489fa82bb8649767d2f953c155af7b";

fn data() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data")
}

#[test]
fn texts_become_the_ids_that_the_model_was_trained_on() {
    let text = Text::open(&data().join("nano")).unwrap();
    let rows = text.rows(&data().join("emoji8/train.tsv")).unwrap();
    assert_eq!(rows.len(), 966);
    assert_eq!(rows[0].ids, [0, 519, 951, 12, 3174, 4, 1963, 4, 132, 312, 63, 1366, 63, 2]);
    // "CL button: button, CL": a piece that the vocabulary lacks is 3.
    assert_eq!(rows[5].ids, [0, 426, 3, 4953, 12, 4953, 4, 426, 3, 2]);
    let batch = Batch::of(rows[..64].iter());
    assert_eq!((batch.tokens, batch.examples()), (24, 64));
    let bytes: Vec<u8> = batch.ids.iter().flat_map(|id| i64::from(*id).to_le_bytes()).collect();
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, DIGEST);
}

#[test]
fn code_points_are_mapped_and_white_space_is_squeezed_before() {
    let text = Text::open(&data().join("nano")).unwrap();
    // A full-width comma, question and exclamation mark; a zero-width joiner counts as a space.
    assert_eq!(text.encode("a\u{ff0c} b\u{ff1f}\u{ff01}").unwrap(), text.encode("a, b?!").unwrap());
    assert_eq!(text.encode(" red \u{200d} heart\t").unwrap(), text.encode("red heart").unwrap());
}

#[test]
fn every_language_has_its_rows_and_none_is_longer_than_the_model() {
    let text = Text::open(&data().join("nano")).unwrap();
    let rows = text.rows(&data().join("emoji8/test.tsv")).unwrap();
    for language in
        ["ar", "bg", "de", "el", "en", "es", "fr", "hi", "id", "it", "ko", "pl", "ru", "sw", "th", "tr", "zh"]
    {
        assert_eq!(rows.iter().filter(|row| row.language == language).count(), 439, "{language}");
    }
    assert!(rows.iter().all(|row| row.ids.len() <= 24 && row.ids[0] == 0 && row.ids.ends_with(&[2])));
}
