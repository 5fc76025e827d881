//! The head by itself gives what the whole model gives, block by block.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use clino_domain::Dtype;
use clino_domain::graph::{Binary, BinaryKind, Gather, GatherMode, Linear, Operator, Unary, UnaryKind};
use clino_graph::{BatchTensors, Data, Evaluator, EvaluatorInput, Limits, Parameters, Prepared};
use common::{Builder, Chance, Run, Unstopped};
use std::sync::Arc;

const WIDTH: usize = 6;
const WORDS: usize = 11;

fn unary(kind: UnaryKind) -> Operator {
    Operator::Unary(Unary { kind, parameters: Vec::new() })
}

/// Embeddings, a layer, a tied head with two biases and a soft cap.
fn decoder(examples: usize, tokens: usize) -> Builder {
    let mut b = Builder::default();
    let table = b.param(&[WORDS, WIDTH]);
    let layer = b.param(&[WIDTH, WIDTH]);
    let bias = b.param(&[WORDS]);
    let more = b.tensor(clino_domain::graph::TensorKind::Frozen, &[1, WORDS]);
    let ids = (0..examples * tokens).map(|i| (i * 7 % WORDS) as i64).collect();
    let ids = b.input(&[examples, tokens], Data::I64(ids));
    let cap = b.constant(Dtype::F64, &[], 3f64.to_le_bytes().to_vec());
    let x = b.node(
        Operator::Gather(Gather { mode: GatherMode::Take, axes: vec![0], padding_index: None }),
        &[table, ids],
    );
    let x = b.node(Operator::Linear(Linear {}), &[x, layer]);
    let x = b.node(unary(UnaryKind::Silu), &[x]);
    let y = b.node(Operator::Linear(Linear {}), &[x, table, bias]);
    let y = b.node(Operator::Binary(Binary { kind: BinaryKind::Add }), &[y, more]);
    let y = b.node(Operator::Binary(Binary { kind: BinaryKind::Div }), &[y, cap]);
    let y = b.node(unary(UnaryKind::Tanh), &[y]);
    let y = b.node(Operator::Binary(Binary { kind: BinaryKind::Mul }), &[cap, y]);
    b.output(y);
    b
}

#[test]
fn the_head_by_blocks_is_the_whole_model() {
    let builder = decoder(2, 4);
    let mut chance = Chance(5);
    let params: Vec<f64> = (0..builder.model().unwrap().total()).map(|_| chance.number()).collect();
    let mut whole = Run::<f64>::new(&builder, &params, 1).unwrap();
    let logits = whole.forward(true).unwrap().remove(0);
    let d: Vec<f64> = logits.iter().map(|_| chance.number()).collect();
    let expected = whole.backward(&[Some(d.clone())]).unwrap();

    let split = whole.model.split_head(0).unwrap();
    assert_eq!(split.width, WIDTH);
    let [body, head] = [Arc::new(split.body), Arc::new(split.head)];
    assert_eq!(body.slots(), head.slots());
    let limits = Limits::default();
    let parameters = Parameters::split(&params, body.trained());
    let plan = Arc::new(body.shapes(&builder.shapes(), &limits).unwrap());
    let inputs = builder.inputs.iter().map(|(_, data)| data.clone()).collect();
    let batch = BatchTensors { buffers: Arc::default(), inputs };
    let prepared = Prepared::new(&body, &plan, batch, 1, &Unstopped).unwrap();
    let mut evaluator = Evaluator::new(body.clone(), plan, 1);
    let input = EvaluatorInput { prepared: &prepared, params: parameters, stop: &Unstopped };
    evaluator.forward(input, true).unwrap();
    let hidden = evaluator.outputs(&prepared, parameters)[0].data.to_work().to_vec();

    let mut gradient = vec![0.0; body.trained()];
    let mut d_hidden = Vec::new();
    for (block, rows) in hidden.chunks(3 * WIDTH).enumerate() {
        let n = rows.len() / WIDTH;
        let plan = Arc::new(head.shapes(&[vec![n, WIDTH]], &limits).unwrap());
        let batch = BatchTensors { buffers: Arc::default(), inputs: vec![Data::Work(rows.to_vec())] };
        let prepared = Prepared::new(&head, &plan, batch, 1, &Unstopped).unwrap();
        let mut evaluator = Evaluator::new(head.clone(), plan, 1);
        let input = EvaluatorInput { prepared: &prepared, params: parameters, stop: &Unstopped };
        evaluator.forward(input, true).unwrap();
        let at = block * 3 * WORDS..block * 3 * WORDS + n * WORDS;
        let part = evaluator.outputs(&prepared, parameters)[0].data.to_work().to_vec();
        assert!(part.iter().zip(&logits[at.clone()]).all(|(a, b)| (a - b).abs() < 1e-14));
        evaluator.backward(input, vec![Some(d[at].to_vec())], &mut gradient).unwrap();
        d_hidden.extend(evaluator.take_input_derivative(0).unwrap());
    }
    evaluator.backward(input, vec![Some(d_hidden)], &mut gradient).unwrap();
    assert!(gradient.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-13), "{gradient:?} {expected:?}");
}

#[test]
fn only_a_head_is_cut_off() {
    let mut b = decoder(1, 2);
    // Something else reads the scores.
    let y = b.parts.outputs[0].value;
    let z = b.node(unary(UnaryKind::Neg), &[y]);
    b.output(z);
    assert!(b.model().unwrap().split_head(0).is_none());
    assert!(b.model().unwrap().split_head(7).is_none());
    let mut b = Builder::default();
    let x = b.param(&[2, 3]);
    let y = b.node(unary(UnaryKind::Neg), &[x]);
    b.output(y);
    assert!(b.model().unwrap().split_head(0).is_none());
}

/// 8 x 512 tokens of 128 k words: the body and a block of 64 rows, where all scores would be 4 GiB.
#[test]
fn a_great_vocabulary_fits() {
    let mut b = Builder::default();
    let (words, width) = (131_072, 256);
    let table = b.param(&[words, width]);
    let ids = b.input(&[8, 512], Data::I64(Vec::new()));
    let x = b.node(
        Operator::Gather(Gather { mode: GatherMode::Take, axes: vec![0], padding_index: None }),
        &[table, ids],
    );
    let y = b.node(Operator::Linear(Linear {}), &[x, table]);
    b.output(y);
    let model = b.model().unwrap();
    let limits = Limits::default();
    let split = model.split_head(0).unwrap();
    let body = split.body.shapes(&[vec![8, 512]], &limits).unwrap();
    let head = split.head.shapes(&[vec![64, width]], &limits).unwrap();
    let sum = body.memory(&split.body, true, 8, 2) + head.memory(&split.head, true, 8, 2);
    let [kept, _] = head.prepared_memory(&split.head, 8, 2);
    assert!(sum + kept < 1 << 30, "{sum}");
    let whole = model.shapes(&[vec![8, 512]], &limits).unwrap();
    assert!(whole.memory(&model, true, 8, 2) > 8 << 30);
}
