//! The Rust example's parts: its tokenizer against rows that the Python reference tokenized, and its training step. (Against the
//! tokenizers library and candle they are held in `examples/candle`.)
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code)]
#[path = "../examples/finetune/text.rs"]
mod text;
#[allow(dead_code)]
#[path = "../examples/finetune/train.rs"]
mod train;
#[allow(dead_code)]
#[path = "../examples/finetune/unigram.rs"]
mod unigram;

use sha2::{Digest, Sha256};
use std::path::Path;
use text::{LabelledText, Text, TextBatch};
use train::Training;

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
    let batch = TextBatch::of(rows[..64].iter());
    assert_eq!((batch.tokens, batch.examples()), (24, 64));
    let bytes: Vec<u8> = batch.ids.iter().flat_map(|id| i64::from(*id).to_le_bytes()).collect();
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, DIGEST);
}

#[test]
fn code_points_are_mapped_and_white_space_is_squeezed_before() {
    let text = Text::open(&data().join("nano")).unwrap();
    // A full-width comma, question and exclamation mark; a zero-width joiner counts as a space.
    assert_eq!(text.encode("a\u{ff0c} b\u{ff1f}\u{ff01}"), text.encode("a, b?!"));
    assert_eq!(text.encode(" red \u{200d} heart\t"), text.encode("red heart"));
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

fn train_rows() -> Vec<LabelledText> {
    Text::open(&data().join("nano")).unwrap().rows(&data().join("emoji8/train.tsv")).unwrap()
}

#[test]
fn a_step_moves_every_parameter_and_the_same_seed_moves_them_alike() {
    let rows = train_rows();
    let nano = data().join("nano");
    let config = std::fs::read_to_string(nano.join("config.json")).unwrap();
    let begun = || Training::new(&config, &nano.join("init.safetensors")).unwrap();
    let trained = |seed: u64| {
        let mut training = begun();
        for batch in &train::epoch(&rows, seed)[..3] {
            training.step(batch).unwrap();
        }
        training.host_copy().unwrap()
    };
    let (once, again, other) = (trained(1), trained(1), trained(2));
    assert!(once == again && once != other);
    for (before, after) in begun().host_copy().unwrap().iter().zip(&once) {
        let name = &after.spec.name;
        let values = after.data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        assert!(values.clone().count() > 0 && values.clone().all(f32::is_finite), "{name}");
        assert!(before.data != after.data, "{name} stayed where it was");
    }
}

#[test]
fn an_epoch_of_training_lowers_the_loss() {
    let nano = data().join("nano");
    let config = std::fs::read_to_string(nano.join("config.json")).unwrap();
    let mut training = Training::new(&config, &nano.join("init.safetensors")).unwrap();
    let mut losses = Vec::new();
    for epoch in 0..2 {
        losses.extend(train::epoch(&train_rows(), epoch).iter().map(|batch| training.step(batch).unwrap()));
    }
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..8]), mean(&losses[54..]));
    assert!(last < 0.8 * first, "{first} {last}");
}

#[test]
fn an_epoch_has_every_row_once() {
    let rows = train_rows();
    let batches = train::epoch(&rows, 3);
    assert_eq!(batches.len(), 31);
    let labels = |batches: &[TextBatch]| {
        let mut counts = [0; 8];
        batches.iter().flat_map(|batch| &batch.labels).for_each(|label| counts[*label as usize] += 1);
        counts
    };
    assert_eq!(labels(&batches), labels(&[TextBatch::of(rows.iter())]));
    assert_ne!(batches[0], TextBatch::of(rows[..32].iter()));
}
