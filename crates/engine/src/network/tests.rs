//! Every architecture: its gradient against finite differences, and that batching and padding change nothing.
#![allow(clippy::unwrap_used)]

use super::batch::{Batch, Inputs, Tokens};
use super::targets::Targets;
use super::*;
use clino_domain::{Dtype, Tensor, TensorSpec};
use proptest::prelude::*;

fn tensor(name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> Tensor {
    let shape = shape.iter().map(|axis| *axis as u64).collect();
    Tensor::new(TensorSpec { name: name.into(), dtype, shape }, bytes.into()).unwrap()
}

fn integers(name: &str, shape: &[usize], values: &[i64]) -> Tensor {
    tensor(name, Dtype::I64, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn floats(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
    tensor(name, Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn group(tensors: Vec<Tensor>) -> ProbeGroup {
    ProbeGroup { name: "en".into(), tensors: Arc::new(tensors) }
}

static NOISE: std::sync::OnceLock<Vec<f64>> = std::sync::OnceLock::new();

/// A repeatable number in (-1, 1).
fn noise(i: usize) -> f64 {
    let draw =
        crate::device::noise::Draw { seed: 3, index: 0, purpose: crate::device::noise::Purpose::Uniform };
    NOISE.get_or_init(|| draw.vector(0, 1 << 17))[i % (1 << 17)]
}

fn mlp(activation: &str) -> (Arc<dyn Network>, ProbeGroup) {
    let config = format!(r#"{{"model_type":"mlp","sizes":[3,5,4],"hidden_act":"{activation}"}}"#);
    let inputs: Vec<f32> = (0..21).map(|i| noise(900 + i) as f32).collect();
    let probe =
        group(vec![floats("inputs", &[7, 3], &inputs), integers("labels", &[7], &[0, 1, 2, 3, 0, 1, 2])]);
    (build(&config).unwrap().0, probe)
}

fn encoder(kind: &str, activation: &str) -> Arc<dyn Network> {
    let config = format!(
        r#"{{"model_type":"{kind}","vocab_size":13,"hidden_size":6,"num_hidden_layers":2,"num_attention_heads":3,
        "intermediate_size":7,"max_position_embeddings":9,"type_vocab_size":2,"hidden_act":"{activation}",
        "layer_norm_eps":1e-5,"pad_token_id":1,"id2label":{{"0":"a","1":"b","2":"c"}}}}"#
    );
    build(&config).unwrap().0
}

#[test]
fn padding_is_one_of_the_models_ids() {
    let refused = |kind: &str, id: &str| {
        let config = format!(
            r#"{{"model_type":"{kind}","vocab_size":13,"hidden_size":6,"num_hidden_layers":1,"num_attention_heads":3,
            "intermediate_size":7,"max_position_embeddings":9,"pad_token_id":{id}}}"#
        );
        build(&config).err().map(|fault| fault.to_string())
    };
    for (kind, id) in [("bert", "12"), ("bert", "null"), ("roberta", "8"), ("xlm-roberta", "1")] {
        assert_eq!(refused(kind, id), None, "{kind} {id}");
    }
    // RoBERTa counts positions from there, of which there are 9.
    for (kind, id) in [("bert", "13"), ("bert", "99999999999"), ("roberta", "9"), ("xlm-roberta", "13")] {
        let said = refused(kind, id).unwrap();
        assert!(said.contains("config_json.pad_token_id") && said.contains(id), "{said}");
    }
    assert!(refused("bert", "-1").unwrap().contains("config_json"));
}

/// Rows of different lengths, the third without its first token, the fourth without any.
const MASKS: [[i64; 5]; 4] = [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]];

fn sentences(width: usize) -> ProbeGroup {
    rows(width, &MASKS)
}

fn rows(width: usize, masks: &[[i64; 5]]) -> ProbeGroup {
    let mut ids = Vec::new();
    let mut mask = Vec::new();
    let mut types = Vec::new();
    for (row, kept) in masks.iter().enumerate() {
        for column in 0..width {
            let real = kept.get(column).copied().unwrap_or(0);
            mask.push(real);
            ids.push(if real == 1 { 2 + ((row * 5 + column * 3) % 11) as i64 } else { 1 });
            types.push(if column > 1 { real } else { 0 });
        }
    }
    let count = masks.len();
    let shape = [masks.len(), width];
    group(vec![
        integers("input_ids", &shape, &ids),
        integers("attention_mask", &shape, &mask),
        integers("token_type_ids", &shape, &types),
        integers("labels", &[count], &[0, 2, 1, 2][..count]),
    ])
}

fn weights(network: &dyn Network) -> Vec<f64> {
    (0..network.layout().total()).map(|i| 0.8 * noise(i)).collect()
}

/// Σ_i c_i logit_i over all batches, with fixed coefficients, and its gradient.
fn objective(network: &dyn Network, w: &[f64], batches: &[Batch], gradient: Option<&mut [f64]>) -> f64 {
    let mut pass = network.pass_f64(1);
    let mut total = 0.0;
    let mut first = 0;
    let mut gradient = gradient;
    for batch in batches {
        let n = batch.units() * network.unit_width();
        let coefficients: Vec<f64> = (first..first + n).map(|i| noise(5000 + i)).collect();
        let logits = pass.forward(PassInput::unstopped(w, &[batch]), gradient.is_some()).unwrap();
        total += logits.iter().zip(&coefficients).map(|(z, c)| z * c).sum::<f64>();
        if let Some(gradient) = gradient.as_deref_mut() {
            pass.backward(PassInput::unstopped(w, &[batch]), &coefficients, gradient).unwrap();
        }
        first += n;
    }
    total
}

fn gradient_agrees(network: &dyn Network, probe: &ProbeGroup) {
    let w = weights(network);
    let batches = network.batches(probe).unwrap();
    let mut gradient = vec![0.0; w.len()];
    objective(network, &w, &batches, Some(&mut gradient));
    // Small enough that no unit of a ReLU turns on or off on the way.
    let h = 3e-7;
    for i in 0..w.len() {
        let at = |x: f64| {
            let mut moved = w.clone();
            moved[i] += x;
            objective(network, &moved, &batches, None)
        };
        let difference = (at(h) - at(-h)) / (2.0 * h);
        assert!((gradient[i] - difference).abs() < 1e-7, "parameter {i}: {} and {difference}", gradient[i]);
    }
}

#[test]
fn gradients_are_derivatives() {
    for activation in ["relu", "gelu", "tanh", "silu"] {
        let (network, probe) = mlp(activation);
        gradient_agrees(&*network, &probe);
    }
    // Without the row of padding alone: its scores drown in what masks them, so differences do not see them.
    for (kind, activation) in [("bert", "gelu"), ("roberta", "gelu_new"), ("xlm-roberta", "relu")] {
        gradient_agrees(&*encoder(kind, activation), &rows(5, &MASKS[..3]));
    }
}

#[test]
fn every_parameter_of_a_read_row_gets_a_gradient() {
    let network = encoder("bert", "gelu");
    let w = weights(&*network);
    let batches = network.batches(&sentences(5)).unwrap();
    let mut gradient = vec![0.0; w.len()];
    objective(&*network, &w, &batches, Some(&mut gradient));
    for slot in network.layout().slots() {
        // A key's bias shifts all scores of a row alike, which softmax does not see.
        let blind = slot.name.ends_with("key.bias");
        let moved = gradient[slot.range()].iter().any(|g| g.abs() > 1e-12);
        assert_eq!(moved, !blind, "{}", slot.name);
    }
}

#[test]
fn more_padding_changes_no_bit() {
    for kind in ["bert", "roberta"] {
        let network = encoder(kind, "gelu");
        let w = weights(&*network);
        // Rows without a first token read their padding, so only the others are compared.
        let logits = |width| {
            let batches = network.batches(&sentences(width)).unwrap();
            network.pass_f64(1).forward(PassInput::unstopped(&w, &[&batches[0]]), false).unwrap()
                [..2 * network.unit_width()]
                .to_vec()
        };
        assert_eq!(logits(5), logits(7), "{kind}");
    }
}

fn one_by_one(tokens: &Tokens, labels: &[usize]) -> Vec<Batch> {
    let cut = |(sequence, label): (&super::batch::Sequence, &usize)| {
        let range = sequence.start..sequence.start + sequence.len;
        let tokens = Tokens {
            ids: tokens.ids[range.clone()].to_vec(),
            types: tokens.types[range.clone()].to_vec(),
            positions: tokens.positions[range].to_vec(),
            sequences: vec![super::batch::Sequence { start: 0, ..sequence.clone() }],
        };
        Batch { inputs: Inputs::Tokens(tokens), targets: Targets::Classes(vec![*label]) }
    };
    tokens.sequences.iter().zip(labels).map(cut).collect()
}

#[test]
fn examples_do_not_see_each_other() {
    let network = encoder("bert", "gelu");
    let w = weights(&*network);
    let batches = network.batches(&sentences(6)).unwrap();
    let Inputs::Tokens(tokens) = &batches[0].inputs else { panic!("tokens") };
    let together =
        network.pass_f64(1).forward(PassInput::unstopped(&w, &[&batches[0]]), false).unwrap().to_vec();
    let mut pass = network.pass_f64(1);
    let alone: Vec<f64> = one_by_one(tokens, batches[0].targets.classes())
        .iter()
        .flat_map(|batch| pass.forward(PassInput::unstopped(&w, &[batch]), false).unwrap().to_vec())
        .collect();
    for (a, b) in together.iter().zip(&alone) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
}

/// Logits and gradient of all batches, as many side by side as the threads allow.
fn side_by_side(network: &dyn Network, batches: &[Batch], threads: usize) -> (Vec<f64>, Vec<f64>) {
    let w = weights(network);
    let mut pass = network.pass_f64(threads);
    let mut logits = Vec::new();
    let mut gradient = vec![0.0; w.len()];
    for group in batches.chunks(pass.width()) {
        let group: Vec<&Batch> = group.iter().collect();
        let found = pass.forward(PassInput::unstopped(&w, &group), true).unwrap().to_vec();
        let slopes: Vec<f64> = found.iter().map(|z| 0.3 * z - 0.1).collect();
        pass.backward(PassInput::unstopped(&w, &group), &slopes, &mut gradient).unwrap();
        logits.extend(found);
    }
    (logits, gradient)
}

#[test]
fn batches_side_by_side_change_no_bit() {
    let network = encoder("bert", "gelu");
    let whole = network.batches(&sentences(5)).unwrap();
    let Inputs::Tokens(tokens) = &whole[0].inputs else { panic!("tokens") };
    let sentences = one_by_one(tokens, whole[0].targets.classes());
    let (mlp, probe) = mlp("silu");
    let rows = mlp.batches(&probe).unwrap();
    let rows: Vec<Batch> = (0..5).flat_map(|_| rows.clone()).collect();
    for (network, batches) in [(network, sentences), (mlp, rows)] {
        let alone = side_by_side(&*network, &batches, 1);
        for threads in [2, 3, 8] {
            assert!(alone == side_by_side(&*network, &batches, threads), "{threads} threads");
        }
    }
}

#[test]
fn a_worker_forgets_the_batch_before() {
    let network = encoder("bert", "gelu");
    let w = weights(&*network);
    let long = network.batches(&sentences(8)).unwrap();
    let short = network.batches(&sentences(3)).unwrap();
    let fresh = network.pass_f64(1).forward(PassInput::unstopped(&w, &[&short[0]]), true).unwrap().to_vec();
    let mut used = network.pass_f64(1);
    used.forward(PassInput::unstopped(&w, &[&long[0]]), true).unwrap();
    used.forward(PassInput::unstopped(&w, &[&long[0]]), false).unwrap();
    assert_eq!(used.forward(PassInput::unstopped(&w, &[&short[0]]), true).unwrap(), fresh);
}

#[test]
fn bad_probes_are_refused_by_name() {
    let network = encoder("bert", "gelu");
    let good = sentences(5);
    let field = |at: usize, with: Option<Tensor>| {
        let mut tensors = good.tensors.to_vec();
        match with {
            Some(tensor) => tensors[at] = tensor,
            None => drop(tensors.remove(at)),
        }
        network.batches(&group(tensors)).unwrap_err().violations[0].field.clone()
    };
    assert_eq!(field(0, None), "input_ids");
    assert_eq!(field(3, None), "labels");
    assert_eq!(field(3, Some(integers("labels", &[4], &[0, 1, 2, 3]))), "labels");
    assert_eq!(field(3, Some(integers("labels", &[0], &[]))), "labels");
    assert_eq!(field(0, Some(integers("input_ids", &[4, 1], &[13, 0, 0, 0]))), "input_ids");
    assert_eq!(field(0, Some(integers("input_ids", &[4, 1], &[-1, 0, 0, 0]))), "input_ids");
    assert_eq!(field(1, Some(integers("attention_mask", &[4, 1], &[1; 4]))), "attention_mask");
    assert_eq!(field(1, Some(floats("attention_mask", &[4, 5], &[1.0; 20]))), "attention_mask");
    assert_eq!(field(2, Some(floats("token_type_ids", &[4, 5], &[0.0; 20]))), "token_type_ids");
    let (mlp, _) = mlp("relu");
    let nan = group(vec![floats("inputs", &[1, 3], &[0.0, f32::NAN, 0.0]), integers("labels", &[1], &[0])]);
    assert_eq!(mlp.batches(&nan).unwrap_err().violations[0].field, "inputs");
    let long = group(vec![
        integers("input_ids", &[1, 10], &[2; 10]),
        integers("attention_mask", &[1, 10], &[1; 10]),
        integers("labels", &[1], &[0]),
    ]);
    assert_eq!(network.batches(&long).unwrap_err().violations[0].field, "input_ids");
}

proptest! {
    #[test]
    fn no_configuration_panics(text in "\\PC{0,80}", sizes in proptest::collection::vec(any::<usize>(), 0..4)) {
        let _ = build(&text);
        let _ = build(&serde_json::json!({"model_type": "mlp", "sizes": sizes}).to_string());
    }

    #[test]
    fn f32_follows_f64(seed in 0usize..1000) {
        let network = encoder("bert", "gelu");
        let w: Vec<f64> = (0..network.layout().total()).map(|i| f64::from((0.8 * noise(i + 7919 * seed)) as f32)).collect();
        let narrow: Vec<f32> = w.iter().map(|x| *x as f32).collect();
        let batches = network.batches(&sentences(5)).unwrap();
        let wide = network.pass_f64(1).forward(PassInput::unstopped(&w, &[&batches[0]]), false).unwrap().to_vec();
        for (a, b) in network.pass_f32(1).forward(PassInput::unstopped(&narrow, &[&batches[0]]), false).unwrap().iter().zip(wide) {
            prop_assert!((f64::from(*a) - b).abs() < 1e-5, "{a} {b}");
        }
    }
}
