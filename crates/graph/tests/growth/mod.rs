//! Graphs by chance: node after node, of which those that do not fit are dropped again.

use crate::common::{Builder, Chance};
use clino_domain::Dtype;
use clino_domain::graph::*;
use clino_graph::{Data, Limits};

/// A graph, or nothing where not even the sources fit.
pub fn grow(chance: &mut Chance, limits: &Limits) -> Option<Builder> {
    let mut builder = sources(chance);
    for _ in 0..chance.below(14) + 2 {
        let mut next = builder.clone();
        add(chance, &mut next);
        let mut tried = next.clone();
        let last = tried.values() - 1;
        tried.output(last);
        // A fault is an answer; it must name a node, or the graph.
        match tried.model().and_then(|model| model.shapes(&tried.shapes(), limits).map(|_| ())) {
            Ok(()) => builder = next,
            Err(fault) => assert!(!fault.violations.is_empty() && !fault.message.is_empty(), "{fault:?}"),
        }
    }
    for _ in 0..1 + chance.below(2) {
        let value = builder.values() - 1 - chance.below(3.min(builder.values()));
        builder.output(value);
    }
    builder.output(builder.values() - 1);
    builder.model().and_then(|model| model.shapes(&builder.shapes(), limits)).ok().map(|_| builder)
}

fn shape(chance: &mut Chance) -> Vec<usize> {
    let sizes = [1, 2, 3, 4, 2, 3, 0, 5];
    let known = if chance.below(8) == 0 { sizes.len() } else { 6 };
    (0..chance.below(5)).map(|_| sizes[chance.below(known)]).collect()
}

fn sources(chance: &mut Chance) -> Builder {
    let mut b = Builder::default();
    for _ in 0..1 + chance.below(4) {
        let kind =
            [TensorKind::Param, TensorKind::Param, TensorKind::Frozen, TensorKind::Buffer][chance.below(4)];
        let shape = shape(chance);
        b.tensor(kind, &shape);
    }
    for _ in 0..chance.below(4) {
        let shape = shape(chance);
        let n = shape.iter().product();
        let data = match chance.below(3) {
            0 => Data::Work((0..n).map(|_| chance.number()).collect()),
            1 => Data::I64((0..n).map(|_| chance.below(7) as i64 - 2).collect()),
            _ => Data::Bool((0..n).map(|_| chance.below(2) == 0).collect()),
        };
        b.input(&shape, data);
    }
    if chance.below(2) == 0 {
        b.constant(Dtype::I64, &[], (chance.below(6) as i64).to_le_bytes().to_vec());
    }
    b
}

fn size(chance: &mut Chance, b: &Builder) -> Size {
    match chance.below(16) {
        0 => Size::Value(chance.below(b.values())),
        1 => Size::Fixed(-1),
        2 => Size::Fixed([i64::MIN, i64::MAX, -2, 1 << 40][chance.below(4)]),
        _ => Size::Fixed(chance.below(6) as i64),
    }
}

fn sizes(chance: &mut Chance, b: &Builder) -> Vec<Size> {
    (0..chance.below(5)).map(|_| size(chance, b)).collect()
}

fn axes(chance: &mut Chance) -> Vec<usize> {
    let mut axes: Vec<usize> = (0..4).filter(|_| chance.below(2) == 0).collect();
    if chance.below(3) == 0 {
        axes.reverse();
    }
    axes
}

fn numbers(chance: &mut Chance) -> Vec<u64> {
    (0..chance.below(4))
        .map(|_| if chance.below(30) == 0 { u64::MAX } else { chance.below(4) as u64 })
        .collect()
}

fn one<K: Copy>(chance: &mut Chance, all: &[K]) -> K {
    all[chance.below(all.len())]
}

fn flag(chance: &mut Chance) -> bool {
    chance.below(2) == 0
}

fn add(chance: &mut Chance, b: &mut Builder) {
    let operator = if flag(chance) { simple(chance, b) } else { structured(chance, b) };
    let most = match &operator {
        Operator::Concat(_) => 1 + chance.below(3),
        Operator::Arange(_) => 0,
        Operator::Full(_) => chance.below(2),
        Operator::Linear(_) | Operator::Conv(_) => 2 + chance.below(2),
        Operator::MatMul(_) | Operator::Binary(_) | Operator::Compare(_) => 2,
        Operator::Where(_) | Operator::GroupedMatMul(_) => 3,
        Operator::Attention(_) => 3 + chance.below(2),
        Operator::LayerNorm(_) | Operator::GroupNorm(_) => 1 + chance.below(3),
        Operator::RmsNorm(_) => 1 + chance.below(2),
        Operator::BatchNorm(_) => 3 + chance.below(3),
        Operator::Gather(op) => 1 + op.axes.len(),
        Operator::Scatter(op) => 2 + op.axes.len(),
        Operator::Recurrent(op) => {
            let states = if op.kind == RecurrentKind::Lstm { 3 } else { 2 };
            states + op.layers * (1 + usize::from(op.bidirectional)) * if op.biases { 4 } else { 2 }
        }
        _ => 1,
    };
    let results = match &operator {
        Operator::Sort(_) | Operator::TopK(_) => 2,
        Operator::Pool(op) if op.kind == PoolKind::Max => 1 + chance.below(2),
        Operator::Recurrent(op) => {
            if op.kind == RecurrentKind::Lstm {
                3
            } else {
                2
            }
        }
        _ => 1,
    };
    let values = b.values();
    let operand = |chance: &mut Chance| match chance.below(20) {
        0 => None,
        _ if flag(chance) => Some(values - 1 - chance.below(4.min(values))),
        _ => Some(chance.below(values)),
    };
    let operands = (0..most).map(|_| operand(chance)).collect();
    b.node_of(operator, operands, results);
}

fn simple(chance: &mut Chance, b: &Builder) -> Operator {
    match chance.below(14) {
        0 | 1 => {
            let kind = one(chance, UnaryKind::ALL);
            let n = match kind {
                UnaryKind::Softplus | UnaryKind::Clamp | UnaryKind::Hardtanh => 2,
                UnaryKind::Elu | UnaryKind::NanToNum => 3,
                UnaryKind::LeakyRelu => 1,
                _ => 0,
            };
            Operator::Unary(Unary { kind, parameters: (0..n).map(|_| chance.number()).collect() })
        }
        2 | 3 => Operator::Binary(Binary { kind: one(chance, BinaryKind::ALL) }),
        4 => Operator::Compare(Compare { kind: one(chance, CompareKind::ALL) }),
        5 => Operator::Where(Where {}),
        6 => Operator::Cast(Cast { to: one(chance, ValueType::ALL) }),
        7 => Operator::Dim(Dim { axis: chance.below(4) }),
        8 => Operator::Permute(Permute {
            axes: one(chance, &[&[1usize, 0][..], &[0], &[0, 2, 1], &[2, 0, 1], &[0, 2, 1, 3]]).to_vec(),
        }),
        9 => Operator::Reshape(Reshape { shape: sizes(chance, b) }),
        10 => Operator::Expand(Expand { shape: sizes(chance, b) }),
        11 => Operator::MatMul(MatMul {}),
        12 => Operator::Linear(Linear {}),
        _ => Operator::Reduce(Reduce {
            kind: one(chance, ReduceKind::ALL),
            axes: axes(chance),
            keep: flag(chance),
            parameter: one(chance, &[0.0, 1.0, 2.0, 3.0, f64::INFINITY]),
        }),
    }
}

fn structured(chance: &mut Chance, b: &Builder) -> Operator {
    let axis = chance.below(4);
    let mode = one(chance, GatherMode::ALL);
    let chosen = if mode == GatherMode::Points { axes(chance) } else { vec![axis] };
    let epsilon = 1e-3;
    match chance.below(22) {
        0 => {
            let (start, end) = (size(chance, b), flag(chance).then(|| size(chance, b)));
            Operator::Slice(Slice { axis, start, end, step: one(chance, &[1, 1, 2, 3, u64::MAX]) })
        }
        1 => Operator::Flip(Flip { axes: axes(chance) }),
        2 => Operator::Concat(Concat { axis }),
        3 => Operator::Pad(Pad {
            mode: one(chance, PadMode::ALL),
            value: 1.0,
            before: sizes(chance, b),
            after: sizes(chance, b),
        }),
        4 => Operator::Gather(Gather {
            mode,
            axes: chosen,
            padding_index: flag(chance).then(|| one(chance, &[0, -1, i64::MIN, 3])),
        }),
        5 => Operator::Scatter(Scatter { mode, axes: chosen, add: flag(chance) }),
        6 => Operator::GroupedMatMul(GroupedMatMul {}),
        7 => Operator::Attention(Attention { causal: flag(chance), scale: flag(chance).then_some(0.5) }),
        8 => Operator::LayerNorm(LayerNorm { axes: chance.below(3), epsilon }),
        9 => Operator::RmsNorm(RmsNorm { axes: chance.below(3), epsilon }),
        10 => Operator::BatchNorm(BatchNorm { epsilon }),
        11 => Operator::GroupNorm(GroupNorm { groups: chance.below(4) as u64, epsilon }),
        12 => Operator::Softmax(Softmax { axis, log: flag(chance) }),
        13 => Operator::Cumulate(Cumulate { axis, product: flag(chance) }),
        14 => Operator::TopK(TopK { axis, k: size(chance, b), least: flag(chance) }),
        15 => Operator::Sort(Sort { axis, falling: flag(chance) }),
        16 => Operator::Count(Count { bins: size(chance, b) }),
        17 => {
            let (start, end, step) = (size(chance, b), size(chance, b), size(chance, b));
            Operator::Arange(Arange { start, end, step, work: flag(chance) })
        }
        18 => Operator::Full(Full { shape: sizes(chance, b), value: 2.0, of: one(chance, ValueType::ALL) }),
        19 => Operator::Upsample(Upsample {
            kind: one(chance, UpsampleKind::ALL),
            output: sizes(chance, b),
            align_corners: flag(chance),
            scales: if flag(chance) { vec![] } else { vec![chance.number() * 3.0] },
        }),
        20 => Operator::Recurrent(Recurrent {
            kind: one(chance, RecurrentKind::ALL),
            layers: 1,
            bidirectional: false,
            biases: false,
            batch_first: flag(chance),
        }),
        _ => windows(chance, b),
    }
}

fn windows(chance: &mut Chance, b: &Builder) -> Operator {
    if flag(chance) {
        return Operator::Conv(Conv {
            stride: numbers(chance),
            before: numbers(chance),
            after: numbers(chance),
            dilation: numbers(chance),
            groups: one(chance, &[1, 1, 2, u64::MAX]),
            transposed: flag(chance),
            output_padding: numbers(chance),
        });
    }
    Operator::Pool(Pool {
        kind: one(chance, PoolKind::ALL),
        kernel: numbers(chance),
        stride: numbers(chance),
        padding: numbers(chance),
        dilation: numbers(chance),
        ceil: flag(chance),
        count_padding: flag(chance),
        divisor: chance.below(3) as u64,
        output: sizes(chance, b),
    })
}
