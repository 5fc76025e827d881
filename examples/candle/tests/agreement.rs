//! The trainer in candle against the oracle, and the example's own trainer (`examples/finetune`) against candle and `tokenizers`.
#![allow(clippy::unwrap_used, missing_docs)]

use candle_core::Var;
use clino_domain::{Dtype, ProbeGroup, Snapshot, SnapshotHeader, Tensor};
use clino_engine::Gradients;
use clino_example_candle::network::Network;
use clino_example_candle::text::{LabelledText, Text, TextBatch};
use clino_example_candle::train::Training;
use clino_example_candle::unigram::Unigram;
use std::path::{Path, PathBuf};
use tokenizers::Tokenizer;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn data(name: &str) -> PathBuf {
    root().join("examples/data").join(name)
}

fn english() -> Vec<LabelledText> {
    Text::open(&data("nano")).unwrap().rows(&data("emoji8/train.tsv")).unwrap()
}

fn flat(variable: &Var) -> Vec<f32> {
    variable.flatten_all().unwrap().to_vec1::<f32>().unwrap()
}

#[test]
fn the_examples_own_tokenizer_cuts_every_text_as_the_library_does() {
    let library = Tokenizer::from_file(data("nano/tokenizer.json")).unwrap();
    let own = Text::open(&data("nano")).unwrap();
    let unigram = Unigram::open(&data("nano/tokenizer.json")).unwrap();
    let mut texts = 0;
    for file in ["train", "dev", "test"] {
        let content = std::fs::read_to_string(data(&format!("emoji8/{file}.tsv"))).unwrap();
        for line in content.lines().skip(1) {
            let words = own.normalized(line.split('\t').next().unwrap());
            let expected = library.encode(words.as_str(), false).unwrap();
            assert_eq!(unigram.encode(&words), expected.get_ids(), "{words}");
            texts += 1;
        }
    }
    assert_eq!(texts, 966 + 160 + 17 * 439);
    for odd in ["", "ΩΩ Ωa", "a\u{2581}b", "\u{10ffff}\u{10ffff}"] {
        let expected = library.encode(odd, false).unwrap();
        assert_eq!(unigram.encode(odd), expected.get_ids(), "{odd:?}");
    }
}

#[test]
fn the_network_is_the_one_of_the_oracle() {
    let case = root().join("tests/cases/nano");
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(case.join("expected.json")).unwrap()).unwrap();
    for run in ["run1", "run2", "run3"] {
        let network = Network::open(&case.join(format!("{run}.safetensors")), 2, 2).unwrap();
        let loss = network.loss(&TextBatch::of(&english()[..64])).unwrap().to_scalar::<f32>().unwrap();
        let oracle = expected["snapshots"][run]["outputs"]["loss"].as_f64().unwrap();
        assert!((f64::from(loss) - oracle).abs() < 2e-6 * (1.0 + oracle), "{run}: {loss} against {oracle}");
    }
}

#[test]
fn a_step_moves_every_parameter() {
    let weights = data("nano/init.safetensors");
    let mut training = Training::new(Network::open(&weights, 2, 2).unwrap()).unwrap();
    for rows in english().chunks(32).take(3) {
        training.step(&TextBatch::of(rows)).unwrap();
    }
    let before = Network::open(&weights, 2, 2).unwrap();
    for (name, after) in training.network().parameters() {
        assert!(flat(after).iter().all(|value| value.is_finite()), "{name}");
        assert_ne!(flat(&before.parameters()[name]), flat(after), "{name} stayed where it was");
    }
}

#[test]
fn the_engines_gradient_is_that_of_candle() {
    let batch = TextBatch::of(&english()[..32]);
    let network = Network::open(&data("nano/init.safetensors"), 2, 2).unwrap();
    let loss = network.loss(&batch).unwrap();
    let gradients = loss.backward().unwrap();

    let tensors = network.parameters().iter().map(|(name, variable)| {
        let shape: Vec<u64> = variable.dims().iter().map(|axis| *axis as u64).collect();
        let bytes: Vec<u8> = flat(variable).iter().flat_map(|x| x.to_le_bytes()).collect();
        Tensor::named(name, Dtype::F32, &shape, bytes).unwrap()
    });
    let snapshot = Snapshot::of(SnapshotHeader::live(0), tensors.collect()).unwrap();
    let config = std::fs::read_to_string(data("nano/config.json")).unwrap();
    let mut model = Gradients::new(&config, snapshot, 2).unwrap();
    let examples = ProbeGroup::new("batch", batch.tensors().unwrap());
    let own = model.of(&examples).unwrap();
    assert!((own - f64::from(loss.to_scalar::<f32>().unwrap())).abs() < 1e-5, "{own} {loss}");
    // A small step down the engine's gradient lowers the loss by what candle's gradient says.
    let (parameters, gradient) = model.elements();
    let square: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum();
    let found: f64 = network
        .parameters()
        .values()
        .map(|variable| {
            let gradient = gradients.get(variable).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>()
        })
        .sum();
    assert!((square / found - 1.0).abs() < 1e-4, "{square} {found}");
    let step = 1e-3 / square;
    parameters.iter_mut().zip(gradient).for_each(|(w, g)| *w -= (step * f64::from(*g)) as f32);
    let lower = model.of(&examples).unwrap();
    assert!(((own - lower) / 1e-3 - 1.0).abs() < 0.05, "{own} {lower}");
}
