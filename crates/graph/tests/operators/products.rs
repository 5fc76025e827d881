//! LINEAR, MATMUL, GROUPED_MATMUL, ATTENTION, RECURRENT.

use super::{Case, case, of};
use clino_domain::graph::{Attention, GroupedMatMul, Linear, MatMul, Operator, Recurrent, RecurrentKind};
use clino_graph::Data;

fn products() -> Vec<Case> {
    let linear = || Operator::Linear(Linear {});
    let matmul = |name: &str, a: &[usize], b: &[usize]| of(name, Operator::MatMul(MatMul {}), &[a, b]);
    vec![
        of("linear", linear(), &[&[2, 3, 4], &[5, 4], &[5]]),
        of("linear without bias", linear(), &[&[4], &[5, 4]]),
        case("one weight twice", |b| {
            let x = b.param(&[2, 3]);
            let w = b.param(&[3, 3]);
            let y = b.node(linear(), &[x, w]);
            b.node(linear(), &[y, w]);
        }),
        matmul("matmul", &[3, 4], &[4, 2]),
        matmul("matmul by batches", &[2, 3, 4], &[2, 4, 2]),
        matmul("matmul with a shared right", &[2, 3, 4], &[4, 2]),
        matmul("matmul with a shared left", &[3, 4], &[5, 4, 2]),
        matmul("matmul with batches that broadcast", &[2, 1, 3, 2], &[3, 2, 2]),
        matmul("matmul with a vector left", &[4], &[2, 4, 3]),
        matmul("matmul with a vector right", &[2, 3, 4], &[4]),
        matmul("matmul of vectors", &[4], &[4]),
        case("grouped matmul", |b| {
            let x = b.param(&[7, 3]);
            let w = b.param(&[4, 3, 2]);
            let ends = b.input(&[4], Data::I64(vec![2, 2, 5, 6]));
            b.node(Operator::GroupedMatMul(GroupedMatMul {}), &[x, w, ends]);
        }),
    ]
}

fn attention(causal: bool, scale: Option<f64>) -> Operator {
    Operator::Attention(Attention { causal, scale })
}

fn attentions() -> Vec<Case> {
    let masked = |name: &str, shape: &[usize], seen: Vec<bool>| {
        case(name, |b| {
            let q = b.param(&[2, 4, 3, 2]);
            let k = b.param(&[2, 2, 5, 2]);
            let v = b.param(&[2, 2, 5, 3]);
            let mask = b.input(shape, Data::Bool(seen));
            b.node(attention(false, Some(0.7)), &[q, k, v, mask]);
        })
    };
    let mut seen = vec![true; 2 * 3 * 5];
    seen[4] = false;
    // A row that sees nothing.
    seen[15..20].fill(false);
    vec![
        of("attention", attention(false, None), &[&[2, 2, 3, 4], &[2, 2, 5, 4], &[2, 2, 5, 3]]),
        of("attention of matrices", attention(false, Some(1.3)), &[&[3, 4], &[5, 4], &[5, 3]]),
        of("attention over a past", attention(true, None), &[&[2, 5, 4], &[2, 5, 4], &[2, 5, 3]]),
        of("attention over a shorter past", attention(true, None), &[&[2, 4, 4], &[2, 2, 4], &[2, 2, 3]]),
        of("attention over many blocks", attention(true, None), &[&[1, 150, 2], &[1, 150, 2], &[1, 150, 1]]),
        of(
            "attention with shared keys",
            attention(true, None),
            &[&[1, 6, 3, 2], &[1, 2, 3, 2], &[1, 2, 3, 2]],
        ),
        of(
            "attention with an added mask",
            attention(false, None),
            &[&[2, 2, 3, 2], &[2, 1, 4, 2], &[2, 1, 4, 2], &[2, 3, 4]],
        ),
        of(
            "attention with a mask for all",
            attention(true, None),
            &[&[2, 3, 2], &[2, 3, 2], &[2, 3, 2], &[1, 3]],
        ),
        masked("attention with a mask of keys", &[2, 1, 1, 5], [true, true, true, false, false].repeat(2)),
        masked("attention with a general mask", &[2, 1, 3, 5], seen),
        case("attention to itself", |b| {
            let x = b.param(&[2, 3, 2]);
            b.node(attention(false, None), &[x, x, x]);
        }),
    ]
}

fn recurrent(
    kind: RecurrentKind,
    layers: usize,
    bidirectional: bool,
    biases: bool,
    batch_first: bool,
) -> Case {
    let lstm = kind == RecurrentKind::Lstm;
    let gates = match kind {
        RecurrentKind::Lstm => 4,
        RecurrentKind::Gru => 3,
        _ => 1,
    };
    let (time, batch, features, hidden) = (3, 2, 3, 2);
    case(format!("recurrent {} {layers} {bidirectional} {biases} {batch_first}", kind.name()), |b| {
        let directions = 1 + usize::from(bidirectional);
        let x =
            if batch_first { b.param(&[batch, time, features]) } else { b.param(&[time, batch, features]) };
        let state = [layers * directions, batch, hidden];
        // Without biases the states are left out, too.
        let mut operands = vec![Some(x), biases.then(|| b.param(&state))];
        if lstm {
            operands.push(biases.then(|| b.param(&state)));
        }
        for layer in 0..layers {
            for _ in 0..directions {
                let width = if layer == 0 { features } else { hidden * directions };
                operands.push(Some(b.param(&[gates * hidden, width])));
                operands.push(Some(b.param(&[gates * hidden, hidden])));
                if biases {
                    operands.push(Some(b.param(&[gates * hidden])));
                    operands.push(Some(b.param(&[gates * hidden])));
                }
            }
        }
        let results = if lstm { 3 } else { 2 };
        let operator = Operator::Recurrent(Recurrent { kind, layers, bidirectional, biases, batch_first });
        let first = b.node_of(operator, operands, results);
        (0..results).for_each(|i| b.output(first + i));
    })
}

pub fn cases() -> Vec<Case> {
    let mut cases = products();
    cases.extend(attentions());
    for kind in RecurrentKind::ALL {
        cases.push(recurrent(*kind, 1, false, true, false));
        cases.push(recurrent(*kind, 2, true, true, true));
        cases.push(recurrent(*kind, 1, true, false, true));
    }
    cases
}
