//! Columns of every dtype, and what is said where one cannot be used.
#![allow(clippy::unwrap_used)]

use crate::network::{Network, autograd, build};
use clino_domain::run::COLUMNS;
use clino_domain::{Dtype, Fault, ProbeGroup, Tensor, TensorSpec};
use std::sync::Arc;

const BERT: &str = r#"{"model_type":"bert","vocab_size":9,"hidden_size":4,"num_hidden_layers":1,"num_attention_heads":2,
    "intermediate_size":8,"max_position_embeddings":5,"id2label":{"0":"a","1":"b","2":"c"}}"#;
const MLP: &str = r#"{"model_type":"mlp","sizes":[2,4,3]}"#;
const WIDTHS: [Dtype; 7] =
    [Dtype::I64, Dtype::I32, Dtype::Bool, Dtype::U8, Dtype::I8, Dtype::I16, Dtype::U16];

fn network(config: &str) -> Arc<dyn Network> {
    build(config).unwrap().0
}

fn tensor(name: &str, dtype: Dtype, shape: &[u64], data: Vec<u8>) -> Tensor {
    Tensor::new(TensorSpec { name: name.into(), dtype, shape: shape.to_vec() }, data.into()).unwrap()
}

/// The low bytes of each value, as little-endian integers have them.
fn integers(name: &str, dtype: Dtype, shape: &[u64], values: &[i64]) -> Tensor {
    let size = dtype.size() as usize;
    let data = values.iter().flat_map(|value| value.to_le_bytes()[..size].to_vec()).collect();
    tensor(name, dtype, shape, data)
}

fn floats(name: &str, shape: &[u64], values: &[f32]) -> Tensor {
    tensor(name, Dtype::F32, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// Two rows of three tokens, every column in one dtype; all values fit a boolean.
fn text(dtype: Dtype) -> Vec<Tensor> {
    vec![
        integers("input_ids", dtype, &[2, 3], &[1, 1, 0, 1, 1, 1]),
        integers("attention_mask", dtype, &[2, 3], &[1, 1, 0, 1, 1, 1]),
        integers("token_type_ids", dtype, &[2, 3], &[0, 1, 0, 0, 0, 1]),
        integers("labels", dtype, &[2], &[1, 0]),
    ]
}

fn group(tensors: Vec<Tensor>) -> ProbeGroup {
    ProbeGroup { name: "en".into(), tensors: Arc::new(tensors) }
}

/// `text` with one column in the place of the one of its name.
fn with(column: Tensor) -> ProbeGroup {
    let mut tensors = text(Dtype::I64);
    tensors.retain(|tensor| tensor.spec.name != column.spec.name);
    tensors.push(column);
    group(tensors)
}

fn refused(network: &dyn Network, group: &ProbeGroup) -> String {
    let fault: Fault = network.batches(group).unwrap_err();
    fault.message
}

#[test]
fn every_width_of_integers_is_read_and_none_is_dropped() {
    for network in [network(BERT), autograd::build(BERT).unwrap()] {
        let wide = network.batches(&group(text(Dtype::I64))).unwrap();
        for dtype in WIDTHS {
            assert_eq!(network.batches(&group(text(dtype))).unwrap(), wide, "{dtype:?}");
        }
        let without: Vec<_> =
            text(Dtype::U8).into_iter().filter(|tensor| tensor.spec.name != "token_type_ids").collect();
        assert_ne!(network.batches(&group(without)).unwrap(), wide, "types matter");
    }
}

#[test]
fn a_column_that_is_not_read_changes_nothing_and_a_known_one_comes_once() {
    for (config, plain) in [
        (BERT, text(Dtype::I64)),
        (
            MLP,
            vec![
                floats("inputs", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
                integers("labels", Dtype::U8, &[2, 1], &[2, 0]),
            ],
        ),
    ] {
        let network = network(config);
        assert!(network.columns().iter().all(|column| COLUMNS.contains(column)));
        let mut more = plain.clone();
        more.push(floats("idx", &[7], &[0.0; 7]));
        more.push(floats("idx", &[7], &[1.0; 7]));
        let batches = network.batches(&group(plain.clone())).unwrap();
        assert_eq!(network.batches(&group(more)).unwrap(), batches);
        let twice = [plain.clone(), vec![plain[1].clone()]].concat();
        let name = &plain[1].spec.name;
        let expected = format!("{name}: found 2 tensors of this name, expected one");
        assert_eq!(refused(&*network, &group(twice)), expected);
    }
}

#[test]
fn labels_that_name_no_class_say_what_to_do() {
    let network = network(BERT);
    let labels = |values: &[i64; 2]| refused(&*network, &with(integers("labels", Dtype::I64, &[2], values)));
    assert_eq!(
        labels(&[-100, -100]),
        "labels: found -100 for all 2 examples, expected the class of each, 0 to 2: a split without labels cannot be \
        measured, use one with labels"
    );
    assert_eq!(
        labels(&[0, -100]),
        "labels: found -100 at element 1, expected 0 to 2: a label below 0 marks an example without one: leave these \
        examples out"
    );
    assert_eq!(
        labels(&[1, 3]),
        "labels: found 3 at element 1, expected 0 to 2: the configuration has 3 classes (id2label or num_labels of a \
         transformer, the last of an mlp's sizes)"
    );
    assert_eq!(
        refused(&*network, &with(floats("labels", &[2], &[0.5, 1.5]))),
        "labels: found dtype F32, expected integers from 0 to 2, the class of each example: floats mean regression \
        or several labels per example, which clino does not measure; send classes as integers"
    );
    assert_eq!(
        refused(&*network, &with(integers("labels", Dtype::I64, &[2, 3], &[1, 0, 0, 0, 1, 0]))),
        "labels: found shape [2, 3], expected [examples], one class per example: send the argmax of one-hot rows; \
        clino does not measure several labels per example"
    );
    assert_eq!(
        refused(&*network, &with(integers("labels", Dtype::I64, &[0], &[]))),
        "labels: found no examples, expected at least one"
    );
}

#[test]
fn tokens_that_cannot_be_read_say_what_to_do() {
    let network = network(BERT);
    let refused = |column| refused(&*network, &with(column));
    assert_eq!(
        refused(floats("attention_mask", &[2, 3], &[1.0; 6])),
        "attention_mask: found dtype F32, expected integers (BOOL, U8, I8, I16, U16, I32 or I64): convert it, in \
         PyTorch with .long()"
    );
    assert_eq!(
        refused(integers("token_type_ids", Dtype::U8, &[2, 3], &[0, 0, 7, 0, 0, 0])),
        "token_type_ids: found 7 at element 2, expected 0 to 1"
    );
    assert_eq!(
        refused(integers("token_type_ids", Dtype::I8, &[2, 3], &[0, 0, 0, 0, 0, -1])),
        "token_type_ids: found -1 at element 5, expected 0 to 1"
    );
    assert_eq!(
        refused(integers("labels", Dtype::Bool, &[2], &[0, 2])),
        "labels: found byte 2 at element 1, expected 0 or 1 in a BOOL"
    );
    let mut bare = text(Dtype::I64);
    bare.remove(1);
    assert_eq!(
        network.batches(&group(bare)).unwrap_err().message,
        "attention_mask: missing from the probe, which has \"input_ids\", \"token_type_ids\", \"labels\"; expected \
         integers [2, tokens]: 1 for a token, 0 for padding"
    );
}

#[test]
fn features_that_cannot_be_read_say_what_to_do() {
    let network = network(MLP);
    let refused =
        |inputs| refused(&*network, &group(vec![inputs, integers("labels", Dtype::I64, &[2], &[0, 1])]));
    assert_eq!(
        refused(integers("inputs", Dtype::U8, &[2, 2], &[0, 128, 255, 3])),
        "inputs: found dtype U8, expected a float: convert and scale the features as for training"
    );
    assert_eq!(
        refused(floats("inputs", &[2, 1, 2], &[0.0; 4])),
        "inputs: found shape [2, 1, 2], expected [2, 2]: a row for each of the 2 labels, as wide as the first of the \
         configuration's sizes; flatten images"
    );
}

#[test]
fn a_model_with_one_label_or_another_task_is_no_classifier() {
    let message = |config: &str| build(config).err().unwrap().message;
    let one = "found 1 label, expected at least 2: a model with one output is a regression, and its loss is not \
              cross-entropy; clino measures only classifiers so far. Train a yes-or-no question with two labels";
    assert_eq!(message(r#"{"model_type":"mlp","sizes":[4,8,1]}"#), format!("config_json.sizes[2]: {one}"));
    let bert = |labels: &str| BERT.replace(r#""id2label":{"0":"a","1":"b","2":"c"}"#, labels);
    assert_eq!(message(&bert(r#""id2label":{"0":"a"}"#)), format!("config_json.id2label: {one}"));
    assert_eq!(message(&bert(r#""num_labels":1"#)), format!("config_json.num_labels: {one}"));
    for (task, why) in [
        ("regression", "clino does not measure regression yet, only classifiers with one label per example"),
        (
            "multi_label_classification",
            "clino does not measure several labels per example yet, only classifiers with one",
        ),
        ("classification", "leave it out, or name the task as Hugging Face does"),
    ] {
        let field = format!(r#""problem_type":"{task}""#);
        let expected = format!(
            "config_json.problem_type: found {task:?}, expected \"single_label_classification\": {why}"
        );
        assert_eq!(message(&bert(&field)), expected);
        assert_eq!(message(&format!(r#"{{"model_type":"mlp","sizes":[4,3],{field}}}"#)), expected);
    }
}
