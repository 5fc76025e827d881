//! What a pass takes is what its plan says: never more, and hardly less.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;
mod counting;

use clino_domain::graph::{
    Attention, BatchNorm, Binary, BinaryKind, Cast, Compare, CompareKind, Conv, LayerNorm, Linear, Operator,
    Permute, Pool, PoolKind, Recurrent, RecurrentKind, Reduce, ReduceKind, Reshape, Size, TensorKind, Unary,
    UnaryKind, ValueType,
};
use clino_graph::{Data, Limits, Real};
use common::{Builder, Run};
use counting::peak;

fn fixed(list: &[i64]) -> Vec<Size> {
    list.iter().map(|size| Size::Fixed(*size)).collect()
}

fn unary(kind: UnaryKind) -> Operator {
    Operator::Unary(Unary { kind, parameters: Vec::new() })
}

fn input(b: &mut Builder, shape: &[usize]) -> usize {
    let n: usize = shape.iter().product();
    b.input(shape, Data::Work((0..n).map(|i| (i as f64 * 0.37).sin()).collect()))
}

/// Two layers of an encoder: 16 x 128 tokens, width 128, 4 heads.
fn encoder() -> Builder {
    let mut b = Builder::default();
    let mut layers = Vec::new();
    for _ in 0..2 {
        let w: Vec<usize> = (0..4).map(|_| b.param(&[128, 128])).collect();
        let norm = [b.param(&[128]), b.param(&[128])];
        let wide = [b.param(&[512, 128]), b.param(&[512]), b.param(&[128, 512])];
        layers.push((w, norm, wide));
    }
    let mut x = input(&mut b, &[16, 128, 128]);
    for (w, norm, wide) in layers {
        let head = |b: &mut Builder, i: usize| {
            let y = b.node(Operator::Linear(Linear {}), &[x, w[i]]);
            let y = b.node(Operator::Reshape(Reshape { shape: fixed(&[16, 128, 4, 32]) }), &[y]);
            b.node(Operator::Permute(Permute { axes: vec![0, 2, 1, 3] }), &[y])
        };
        let qkv = [head(&mut b, 0), head(&mut b, 1), head(&mut b, 2)];
        let y = b.node(Operator::Attention(Attention { causal: false, scale: None }), &qkv);
        let y = b.node(Operator::Permute(Permute { axes: vec![0, 2, 1, 3] }), &[y]);
        let y = b.node(Operator::Reshape(Reshape { shape: fixed(&[16, 128, 128]) }), &[y]);
        let y = b.node(Operator::Linear(Linear {}), &[y, w[3]]);
        let y = b.node(Operator::Binary(Binary { kind: BinaryKind::Add }), &[x, y]);
        let y = b.node(Operator::LayerNorm(LayerNorm { axes: 1, epsilon: 1e-5 }), &[y, norm[0], norm[1]]);
        let z = b.node(Operator::Linear(Linear {}), &[y, wide[0], wide[1]]);
        let z = b.node(unary(UnaryKind::Gelu), &[z]);
        let z = b.node(Operator::Linear(Linear {}), &[z, wide[2]]);
        x = b.node(Operator::Binary(Binary { kind: BinaryKind::Add }), &[y, z]);
    }
    b.output(x);
    b
}

/// A convolution, a norm and a pool over images of 48 x 48.
fn images() -> Builder {
    let mut b = Builder::default();
    let w = b.param(&[24, 8, 3, 3]);
    let norm = [b.tensor(TensorKind::Buffer, &[24]), b.tensor(TensorKind::Buffer, &[24])];
    let x = input(&mut b, &[6, 8, 48, 48]);
    let conv = Conv {
        stride: vec![1],
        before: vec![1],
        after: vec![1],
        dilation: vec![1],
        groups: 1,
        transposed: false,
        output_padding: Vec::new(),
    };
    let y = b.node(Operator::Conv(conv), &[x, w]);
    let y = b.node(Operator::BatchNorm(BatchNorm { epsilon: 1e-5 }), &[y, norm[0], norm[1]]);
    let y = b.node(unary(UnaryKind::Relu), &[y]);
    let pool = Pool {
        kind: PoolKind::Mean,
        kernel: vec![2],
        stride: vec![2],
        padding: vec![0],
        dilation: vec![1],
        ceil: false,
        count_padding: false,
        divisor: 0,
        output: Vec::new(),
    };
    let y = b.node(Operator::Pool(pool), &[y]);
    b.output(y);
    b
}

fn recurrent(kind: RecurrentKind) -> Builder {
    let mut b = Builder::default();
    let (gates, results) = if kind == RecurrentKind::Lstm { (4, 3) } else { (3, 2) };
    let mut weights = Vec::new();
    for width in [48, 128] {
        for _ in 0..2 {
            weights.push(Some(b.param(&[gates * 64, width])));
            weights.push(Some(b.param(&[gates * 64, 64])));
        }
    }
    let x = input(&mut b, &[16, 40, 48]);
    let mut operands = vec![Some(x), None];
    operands.extend((kind == RecurrentKind::Lstm).then_some(None));
    operands.extend(weights);
    let op = Recurrent { kind, layers: 2, bidirectional: true, biases: false, batch_first: true };
    let y = b.node_of(Operator::Recurrent(op), operands, results);
    b.output(y);
    b
}

/// Products of large values of one shape, one of them a parameter.
fn products() -> Builder {
    let mut b = Builder::default();
    let w = b.param(&[512, 1024]);
    let x = input(&mut b, &[512, 1024]);
    let y = b.node(Operator::Binary(Binary { kind: BinaryKind::Mul }), &[w, x]);
    let y = b.node(Operator::Binary(Binary { kind: BinaryKind::Mul }), &[y, x]);
    b.output(y);
    b
}

/// How many of many truth values hold, weighed by a parameter.
fn counts() -> Builder {
    let mut b = Builder::default();
    let w = b.param(&[1024]);
    let x = b.input(&[1024, 1024], Data::Work((0..1 << 20).map(|i| (i as f64 * 0.37).sin()).collect()));
    // Of the parameter, so that it is part of the pass.
    let held = b.node(Operator::Compare(Compare { kind: CompareKind::Gt }), &[x, w]);
    let sum = Reduce { kind: ReduceKind::Sum, axes: vec![0], keep: false, parameter: 0.0 };
    let n = b.node(Operator::Reduce(sum), &[held]);
    let n = b.node(Operator::Cast(Cast { to: ValueType::Work }), &[n]);
    let y = b.node(Operator::Binary(Binary { kind: BinaryKind::Mul }), &[n, w]);
    b.output(y);
    b
}

/// Attention whose keys are a parameter.
fn keys() -> Builder {
    let mut b = Builder::default();
    let k = b.param(&[4, 4, 512, 64]);
    let q = input(&mut b, &[4, 4, 512, 64]);
    let y = b.node(Operator::Attention(Attention { causal: false, scale: None }), &[q, k, q]);
    b.output(y);
    b
}

/// Attention of one value to itself: the derivatives along queries, keys and values are made apart.
fn own_keys() -> Builder {
    let mut b = Builder::default();
    let w = b.param(&[64]);
    let x = input(&mut b, &[4, 4, 512, 64]);
    let x = b.node(Operator::Binary(Binary { kind: BinaryKind::Mul }), &[x, w]);
    let y = b.node(Operator::Attention(Attention { causal: true, scale: None }), &[x, x, x]);
    b.output(y);
    b
}

/// Outputs along which derivatives go straight into the gradient, or nowhere.
fn direct() -> Builder {
    let mut b = Builder::default();
    let w = b.param(&[512, 1024]);
    let y = b.node(Operator::Unary(Unary { kind: UnaryKind::Sign, parameters: Vec::new() }), &[w]);
    b.output(w);
    b.output(y);
    b.output(y);
    b
}

/// The greatest elements of windows that have many.
fn windows() -> Builder {
    let mut b = Builder::default();
    let w = b.param(&[1, 1, 256, 256]);
    let pool = Pool {
        kind: PoolKind::Max,
        kernel: vec![256],
        stride: vec![1],
        padding: vec![0],
        dilation: vec![1],
        ceil: false,
        count_padding: false,
        divisor: 0,
        output: Vec::new(),
    };
    let y = b.node(Operator::Pool(pool), &[w]);
    b.output(y);
    b
}

/// Bytes that a plan may say too much: mostly what small products lay by, of which only the greatest size is known.
const SLACK: usize = 384 << 10;

fn check<T: Real>(name: &str, builder: &Builder) {
    let model = builder.model().unwrap();
    let plan = model.shapes(&builder.shapes(), &Limits::default()).unwrap();
    let params: Vec<f64> = (0..model.total()).map(|i| 0.1 * (i as f64 * 0.73).cos()).collect();
    let mut run = Run::<T>::new(builder, &params, 1).unwrap();
    let size = size_of::<T>();
    let (_, light) = peak(|| run.pass(false).unwrap());
    let planned = plan.memory(&model, false, size, 1) as usize;
    assert!(light <= planned, "{name}: {light} > {planned}");
    assert!(planned as f64 <= 1.05 * light as f64 + SLACK as f64, "{name}: {planned} is far above {light}");
    run.evaluator.clear();
    let (gradient, both) = peak(|| {
        run.pass(true).unwrap();
        let d = run.evaluator.outputs(&run.prepared, run.parameters());
        let d: Vec<Option<Vec<T>>> =
            d.iter().map(|output| Some(vec![T::of(0.5); output.data.len()])).collect();
        run.reverse(d).unwrap()
    });
    // The gradient is not the evaluator's.
    let both = both - gradient.len() * size;
    let planned = plan.memory(&model, true, size, 1) as usize;
    assert!(both <= planned, "{name}: {both} > {planned}");
    assert!(planned as f64 <= 1.05 * both as f64 + SLACK as f64, "{name}: {planned} is far above {both}");
}

#[test]
fn a_pass_takes_what_its_plan_says() {
    clino_graph::gemm::warm();
    let cases = [
        ("encoder", encoder()),
        ("products", products()),
        ("counts", counts()),
        ("keys", keys()),
        ("own keys", own_keys()),
        ("direct", direct()),
        ("windows", windows()),
        ("images", images()),
        ("lstm", recurrent(RecurrentKind::Lstm)),
        ("gru", recurrent(RecurrentKind::Gru)),
    ];
    for (name, builder) in cases {
        check::<f32>(name, &builder);
        check::<f64>(name, &builder);
    }
}
