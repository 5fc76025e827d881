//! The Rust example's parts: its tokenizer against rows that the Python reference tokenized, its network against the
//! oracle, and its training step.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code)]
#[path = "../examples/finetune/network.rs"]
mod network;
#[allow(dead_code)]
#[path = "../examples/finetune/text.rs"]
mod text;
#[allow(dead_code)]
#[path = "../examples/finetune/train.rs"]
mod train;

use network::Network;
use sha2::{Digest, Sha256};
use std::path::Path;
use text::{Batch, Row, Text};
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

fn train_rows() -> Vec<Row> {
    Text::open(&data().join("nano")).unwrap().rows(&data().join("emoji8/train.tsv")).unwrap()
}

#[test]
fn the_network_is_the_one_of_the_oracle() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/nano");
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(case.join("expected.json")).unwrap()).unwrap();
    for run in ["run1", "run2", "run3"] {
        let network = Network::open(&case.join(format!("{run}.safetensors")), 2, 2).unwrap();
        let loss = network.loss(&Batch::of(train_rows()[..64].iter())).unwrap().to_scalar::<f32>().unwrap();
        let oracle = expected["snapshots"][run]["outputs"]["loss"].as_f64().unwrap();
        assert!((f64::from(loss) - oracle).abs() < 2e-6 * (1.0 + oracle), "{run}: {loss} against {oracle}");
    }
}

#[test]
fn a_step_moves_every_parameter_and_the_same_seed_moves_them_alike() {
    let rows = train_rows();
    let weights = data().join("nano/init.safetensors");
    let trained = |seed: u64| {
        let mut training = Training::new(Network::open(&weights, 2, 2).unwrap()).unwrap();
        for batch in &train::epoch(&rows, seed)[..3] {
            training.step(batch).unwrap();
        }
        let flat = |variable: &candle_core::Var| variable.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        training.network().parameters().values().map(flat).collect::<Vec<_>>()
    };
    let (once, again, other) = (trained(1), trained(1), trained(2));
    assert!(once == again && once != other);
    let before = Network::open(&weights, 2, 2).unwrap();
    for ((name, variable), after) in before.parameters().iter().zip(&once) {
        assert!(after.iter().all(|value| value.is_finite()), "{name}");
        assert!(
            *after != variable.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            "{name} stayed where it was"
        );
    }
}

#[test]
fn an_epoch_has_every_row_once() {
    let rows = train_rows();
    let batches = train::epoch(&rows, 3);
    assert_eq!(batches.len(), 31);
    let labels = |batches: &[Batch]| {
        let mut counts = [0; 8];
        batches.iter().flat_map(|batch| &batch.labels).for_each(|label| counts[*label as usize] += 1);
        counts
    };
    assert_eq!(labels(&batches), labels(&[Batch::of(rows.iter())]));
    assert_ne!(batches[0], Batch::of(rows[..32].iter()));
}
