//! Graphs that mean harm: a clear fault before anything is allocated for elements, and never a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use clino_domain::graph::{
    Arange, Binary, BinaryKind, Cast, Concat, Conv, Count, Dim, Expand, Full, Gather, GatherMode, MatMul,
    Operator, Pad, PadMode, Pool, PoolKind, Recurrent, RecurrentKind, Reduce, ReduceKind, Reshape, Scatter,
    Size, TensorKind, TopK, Unary, UnaryKind, Upsample, UpsampleKind, ValueType,
};
use clino_domain::{Dtype, Fault};
use clino_graph::{Data, Limits, View};
use common::{Builder, Run, cotangents};

fn fixed(list: &[i64]) -> Vec<Size> {
    list.iter().map(|size| Size::Fixed(*size)).collect()
}

/// The fault of the shapes of one operator on parameters of these shapes: nothing is computed.
fn fault(operator: Operator, shapes: &[&[usize]]) -> Fault {
    let mut b = Builder::default();
    let operands: Vec<usize> = shapes.iter().map(|shape| b.param(shape)).collect();
    let results = if matches!(operator, Operator::TopK(_) | Operator::Recurrent(_)) { 2 } else { 1 };
    let value = b.node_of(operator, operands.into_iter().map(Some).collect(), results);
    b.output(value);
    let model = b.model().unwrap();
    model.shapes(&[], &Limits::default()).expect_err("must be refused")
}

fn neg() -> Operator {
    Operator::Unary(Unary { kind: UnaryKind::Neg, parameters: Vec::new() })
}

fn pool(kernel: u64, padding: u64, dilation: u64) -> Operator {
    Operator::Pool(Pool {
        kind: PoolKind::Mean,
        kernel: vec![kernel],
        stride: vec![1],
        padding: vec![padding],
        dilation: vec![dilation],
        ceil: true,
        count_padding: true,
        divisor: 0,
        output: Vec::new(),
    })
}

fn conv(number: u64, transposed: bool) -> Operator {
    Operator::Conv(Conv {
        stride: vec![number],
        before: vec![number],
        after: vec![number],
        dilation: vec![number],
        groups: 1,
        transposed,
        output_padding: Vec::new(),
    })
}

fn padded_conv(before: u64) -> Operator {
    match conv(1, false) {
        Operator::Conv(op) => Operator::Conv(Conv { before: vec![before], ..op }),
        other => other,
    }
}

#[test]
fn sizes_that_are_too_great_are_refused() {
    let full = |shape: &[i64]| Operator::Full(Full { shape: fixed(shape), value: 1.0, of: ValueType::Work });
    let arange = |start, end, step| {
        Operator::Arange(Arange {
            start: Size::Fixed(start),
            end: Size::Fixed(end),
            step: Size::Fixed(step),
            work: true,
        })
    };
    let pad = |n| {
        Operator::Pad(Pad { mode: PadMode::Circular, value: 0.0, before: fixed(&[n]), after: fixed(&[n]) })
    };
    let up = |n| {
        let output = fixed(&[n]);
        Operator::Upsample(Upsample {
            kind: UpsampleKind::Linear,
            output,
            align_corners: false,
            scales: vec![],
        })
    };
    let cases: Vec<(Operator, Vec<&[usize]>)> = vec![
        (Operator::Expand(Expand { shape: fixed(&[1 << 30]) }), vec![&[1]]),
        (Operator::Expand(Expand { shape: fixed(&[1 << 40, 1 << 40]) }), vec![&[1]]),
        (Operator::Reshape(Reshape { shape: fixed(&[1 << 40, 1 << 40]) }), vec![&[4]]),
        (Operator::Reshape(Reshape { shape: fixed(&[i64::MIN]) }), vec![&[4]]),
        (Operator::Reshape(Reshape { shape: fixed(&[-1, 0]) }), vec![&[4]]),
        (full(&[1 << 40, 1 << 40]), vec![]),
        (full(&[i64::MAX, i64::MAX]), vec![]),
        (full(&[-1]), vec![]),
        (full(&[0, 1 << 40]), vec![]),
        (arange(i64::MIN, i64::MAX, 1), vec![]),
        (arange(0, 4, 0), vec![]),
        (pad(i64::MAX), vec![&[4]]),
        (pad(i64::MIN), vec![&[4]]),
        (pad(1 << 40), vec![&[4]]),
        (up(1 << 60), vec![&[1, 1, 4]]),
        (up(-1), vec![&[1, 1, 4]]),
        (pool(1 << 40, 1 << 39, 1), vec![&[1, 1, 4]]),
        (pool(u64::MAX, 0, 1), vec![&[1, 1, 4]]),
        (pool(2, 1, u64::MAX), vec![&[1, 1, 4]]),
        (pool(0, 0, 1), vec![&[1, 1, 4]]),
        (padded_conv(1 << 40), vec![&[1, 1, 4], &[1, 1, 3]]),
        (padded_conv(u64::MAX), vec![&[1, 1, 4], &[1, 1, 3]]),
        (conv(u64::MAX, true), vec![&[1, 1, 4], &[1, 1, 3]]),
        (conv(0, false), vec![&[1, 1, 4], &[1, 1, 3]]),
        (Operator::TopK(TopK { axis: 0, k: Size::Fixed(5), least: false }), vec![&[4]]),
        (Operator::TopK(TopK { axis: 0, k: Size::Fixed(-1), least: false }), vec![&[4]]),
        (
            Operator::Reduce(Reduce { kind: ReduceKind::Max, axes: vec![0], keep: false, parameter: 0.0 }),
            vec![&[0, 3]],
        ),
    ];
    for (operator, shapes) in cases {
        let name = operator.name();
        let fault = fault(operator, &shapes);
        assert!(fault.violations[0].field.starts_with("model.graph.nodes[0]"), "{fault}");
        assert!(fault.message.contains("found") && fault.message.contains("layer 0"), "{name}: {fault}");
    }
}

fn expand(shape: &[i64]) -> Operator {
    Operator::Expand(Expand { shape: fixed(shape) })
}

/// Places of matrices are listed where they are multiplied, and not before limits are known.
#[test]
fn a_product_of_too_many_matrices_is_refused() {
    let mut b = Builder::default();
    let one = b.param(&[1, 1, 1, 1]);
    let left = b.node(expand(&[1 << 26, 1, 1, 1]), &[one]);
    let right = b.node(expand(&[1, 1 << 26, 1, 1]), &[one]);
    let y = b.node(Operator::MatMul(MatMul {}), &[left, right]);
    b.output(y);
    let fault = b.model().unwrap().shapes(&[], &Limits::default()).unwrap_err();
    assert!(fault.violations[0].field.starts_with("model.graph.nodes[2]"), "{fault}");
}

fn window(kind: PoolKind, kernel: &[u64], padding: u64, dilation: u64) -> Operator {
    match pool(1, padding, dilation) {
        Operator::Pool(op) => Operator::Pool(Pool { kind, kernel: kernel.to_vec(), ceil: false, ..op }),
        other => other,
    }
}

#[test]
fn numbers_of_operators_that_make_no_sense_are_refused() {
    let recurrent = Operator::Recurrent(Recurrent {
        kind: RecurrentKind::Tanh,
        layers: 1,
        bidirectional: false,
        batch_first: false,
        biases: false,
    });
    let grouped = |groups| match conv(1, false) {
        Operator::Conv(op) => Operator::Conv(Conv { groups, before: vec![], after: vec![], ..op }),
        other => other,
    };
    let cubic = |scale: f64| {
        let output = fixed(&[4, 4]);
        Operator::Upsample(Upsample {
            kind: UpsampleKind::Bicubic,
            output,
            align_corners: false,
            scales: vec![scale],
        })
    };
    let cases: Vec<(Operator, Vec<&[usize]>)> = vec![
        // A list that is too long must not switch the limit of work off.
        (window(PoolKind::Mean, &[1, u64::MAX, u64::MAX], 0, 1), vec![&[0, 1, 4]]),
        // The one window has nothing under it.
        (window(PoolKind::Max, &[2], 1, 2), vec![&[1, 1, 1]]),
        (recurrent, vec![&[3, 1, 2], &[1, 1, 0], &[0, 2], &[0, 0]]),
        (grouped(1 << 63), vec![&[1, 0, 4], &[0, 0, 3]]),
        (cubic(f64::NAN), vec![&[1, 1, 4, 4]]),
        (cubic(f64::INFINITY), vec![&[1, 1, 4, 4]]),
        (cubic(-1.0), vec![&[1, 1, 4, 4]]),
    ];
    for (operator, shapes) in cases {
        let name = operator.name();
        let fault = fault(operator, &shapes);
        assert!(fault.violations[0].field.starts_with("model.graph.nodes[0]"), "{name}: {fault}");
    }
}

/// A coordinate far beyond the edge has the element of the edge.
#[test]
fn a_scale_that_goes_far_beyond_the_operand_is_computed() {
    let mut b = Builder::default();
    let x = b.param(&[1, 1, 2, 2]);
    let output = fixed(&[2, 2]);
    let scales = vec![1e-300, 1e-300];
    let up = Upsample { kind: UpsampleKind::Bicubic, output, align_corners: false, scales };
    let y = b.node(Operator::Upsample(up), &[x]);
    b.output(y);
    let mut run = Run::<f64>::new(&b, &[1.0, 2.0, 3.0, 4.0], 1).unwrap();
    assert!(run.forward(false).unwrap()[0].iter().all(|y| y.is_finite()));
}

/// What nobody needs is not computed, but its sizes are part of arithmetic all the same.
#[test]
fn sizes_of_what_nobody_needs_do_not_overflow() {
    let mut b = Builder::default();
    let x = b.param(&[1, 1, 1]);
    let wide = b.node(expand(&[1 << 40, 1 << 40, 1 << 40]), &[x]);
    let sum = Reduce { kind: ReduceKind::Sum, axes: vec![0, 1], keep: false, parameter: 0.0 };
    b.node(Operator::Reduce(sum), &[wide]);
    b.output(x);
    let fault = b.model().unwrap().shapes(&[], &Limits::default()).unwrap_err();
    assert_eq!(fault.violations[0].field, "model.graph.nodes[0].expand");
    let mut b = Builder::default();
    let x = b.param(&[1 << 30, 1 << 20]);
    b.output(x);
    let fault = b.model().unwrap().shapes(&[], &Limits::default()).unwrap_err();
    assert_eq!(fault.violations[0].field, "model.graph.tensors[0].shape");
}

/// Indices that broadcast choose more elements than any value has.
#[test]
fn too_many_chosen_elements_are_refused() {
    let mut b = Builder::default();
    let x = b.param(&[1, 1, 1]);
    let source = b.param(&[1]);
    let mut operands = vec![x, source];
    for axis in 0..3 {
        let mut shape = [1; 3];
        shape[axis] = 1 << 20;
        let zeros = Full { shape: fixed(&shape), value: 0.0, of: ValueType::I64 };
        operands.push(b.node(Operator::Full(zeros), &[]));
    }
    let y = b.node(
        Operator::Scatter(Scatter { mode: GatherMode::Points, axes: vec![0, 1, 2], add: true }),
        &operands,
    );
    b.output(y);
    let fault = b.model().unwrap().shapes(&[], &Limits::default()).unwrap_err();
    assert_eq!(fault.violations[0].field, "model.graph.nodes[3].scatter");
}

/// Owners are found once each, however long the chain of aliases is.
#[test]
fn a_chain_of_aliases_is_followed_once() {
    const COUNT: usize = 100_000;
    let mut b = Builder::default();
    for i in 0..COUNT {
        b.param(&[1]);
        b.parts.tensors[i].alias_of = i.checked_sub(1);
    }
    b.output(COUNT - 1);
    let begin = std::time::Instant::now();
    let model = b.model().unwrap();
    assert_eq!((model.total(), model.place(COUNT - 1)), (1, model.place(0)));
    // Step by step from each would be five billion steps.
    assert!(begin.elapsed().as_secs() < 2);
}

#[test]
fn tensors_and_attributes_that_do_not_fit_are_refused() {
    let field = |change: &dyn Fn(&mut Builder)| {
        let mut b = Builder::default();
        b.param(&[2]);
        b.param(&[2]);
        change(&mut b);
        b.output(0);
        b.model().expect_err("must be refused").violations[0].field.clone()
    };
    for kind in [TensorKind::Param, TensorKind::Frozen] {
        let dtype = |b: &mut Builder| {
            b.parts.tensors[0].kind = kind;
            b.parts.tensors[0].dtype = Dtype::I64;
        };
        assert_eq!(field(&dtype), "tensors[0].dtype");
    }
    let alias = |b: &mut Builder| {
        b.parts.tensors[1].alias_of = Some(0);
        b.parts.tensors[1].kind = TensorKind::Frozen;
    };
    assert_eq!(field(&alias), "tensors[1].kind");
    for mode in [GatherMode::Along, GatherMode::Points] {
        let padding = |b: &mut Builder| {
            b.input(&[1], Data::I64(vec![0]));
            b.node(Operator::Gather(Gather { mode, axes: vec![0], padding_index: Some(1) }), &[0, 2]);
        };
        assert_eq!(field(&padding), "nodes[0].gather.padding_index");
    }
}

/// No float has all integers.
#[test]
fn integers_are_clamped_as_integers() {
    const BIG: i64 = (1 << 53) + 1;
    let clamp = |bounds: [f64; 2]| {
        let mut b = Builder::default();
        let n = b.input(&[4], Data::I64(vec![BIG, -BIG, 7, i64::MAX]));
        let clamp = Unary { kind: UnaryKind::Clamp, parameters: bounds.to_vec() };
        let y = b.node(Operator::Unary(clamp), &[n]);
        b.output(y);
        let run = Run::<f64>::new(&b, &[], 1).unwrap();
        match run.evaluator.outputs(&run.prepared, run.parameters())[0].data {
            View::I64(y) => y.to_vec(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(clamp([f64::NEG_INFINITY, f64::INFINITY]), [BIG, -BIG, 7, i64::MAX]);
    assert_eq!(clamp([0.0, f64::INFINITY]), [BIG, 0, 7, i64::MAX]);
    assert_eq!(clamp([9.5, 4.0]), [4; 4]);
}

/// Sizes that are computed from sizes do not overflow unseen either.
#[test]
fn computed_sizes_are_checked() {
    let mut b = Builder::default();
    let x = b.param(&[3]);
    let big = b.constant(Dtype::I64, &[], (1i64 << 62).to_le_bytes().to_vec());
    let n = b.node(Operator::Dim(Dim { axis: 0 }), &[x]);
    let product = b.node(Operator::Binary(Binary { kind: BinaryKind::Mul }), &[big, n]);
    let y = b.node(Operator::Count(Count { bins: Size::Value(product) }), &[n]);
    b.output(y);
    let fault = b.model().unwrap().shapes(&[], &Limits::default()).unwrap_err();
    assert!(fault.violations[0].field.starts_with("model.graph.nodes[2].count"), "{fault}");
    // A size from elements has no number before they are computed.
    let mut b = Builder::default();
    let x = b.param(&[]);
    let n = b.node(Operator::Cast(Cast { to: ValueType::I64 }), &[x]);
    let y = b.node(Operator::Count(Count { bins: Size::Value(n) }), &[n]);
    b.output(y);
    let fault = b.model().unwrap().shapes(&[], &Limits::default()).unwrap_err();
    assert_eq!(fault.violations[0].field, "model.graph.nodes[1].count.bins");
    assert!(fault.message.contains("depends on elements"), "{fault}");
}

#[test]
fn a_chain_of_twenty_thousand_is_computed() {
    let mut b = Builder::default();
    let mut value = b.param(&[2]);
    for _ in 0..20_000 {
        value = b.node(neg(), &[value]);
    }
    b.output(value);
    let mut run = Run::<f64>::new(&b, &[1.0, 2.0], 1).unwrap();
    assert_eq!(run.forward(true).unwrap(), [[1.0, 2.0]]);
    let d = cotangents(&run, &mut common::Chance(1));
    assert_eq!(run.backward(&d).unwrap(), d[0].clone().unwrap());
}

#[test]
fn a_chain_that_doubles_is_refused() {
    let mut b = Builder::default();
    let mut value = b.param(&[2]);
    for _ in 0..100 {
        value = b.node(Operator::Concat(Concat { axis: 0 }), &[value, value]);
    }
    b.output(value);
    let fault = b.model().unwrap().shapes(&[], &Limits::default()).unwrap_err();
    assert_eq!(fault.violations[0].field, "model.graph.nodes[28].concat");
}

#[test]
fn many_values_or_much_work_are_refused() {
    let mut b = Builder::default();
    let x = b.param(&[1]);
    for _ in 0..300 {
        let value = b.node(Operator::Expand(Expand { shape: fixed(&[1 << 29]) }), &[x]);
        b.output(value);
    }
    b.parts.outputs.truncate(200);
    let fault = b.model().unwrap().shapes(&[], &Limits::default()).unwrap_err();
    assert!(fault.message.contains("of all values together"), "{fault}");
    let mut b = Builder::default();
    let x = b.param(&[1 << 14, 1 << 14]);
    let mut value = x;
    for _ in 0..1100 {
        value = b.node(Operator::Linear(clino_domain::graph::Linear {}), &[value, x]);
    }
    b.output(value);
    let limits = Limits { all_elements: usize::MAX, ..Limits::default() };
    let fault = b.model().unwrap().shapes(&[], &limits).unwrap_err();
    assert!(fault.message.contains("operations"), "{fault}");
}

/// An index that was computed and points nowhere: a fault that names the node, in the first pass.
#[test]
fn a_computed_index_out_of_range_is_a_fault() {
    for (index, fits) in
        [(2.0, true), (-3.0, true), (3.0, false), (-4.0, false), (f64::NAN, true), (1e300, false)]
    {
        for mode in GatherMode::ALL {
            let mut b = Builder::default();
            let x = b.param(&[3]);
            let at = b.param(&[1]);
            let at = b.node(Operator::Cast(Cast { to: ValueType::I64 }), &[at]);
            let op = Operator::Gather(Gather { mode: *mode, axes: vec![0], padding_index: None });
            let y = b.node(op, &[x, at]);
            b.output(y);
            let mut run = Run::<f64>::new(&b, &[5.0, 6.0, 7.0, index], 1).unwrap();
            match run.forward(true) {
                Ok(_) => assert!(fits, "{index}"),
                Err(fault) => {
                    assert!(!fits, "{fault}");
                    assert_eq!(fault.violations[0].field, "model.graph.nodes[1].operands[1]");
                    assert!(
                        fault.message.contains("found index") && fault.message.contains("layer 1"),
                        "{fault}"
                    );
                }
            }
        }
    }
}

#[test]
fn integers_are_not_divided_by_zero() {
    let mut b = Builder::default();
    let n = b.input(&[2], Data::I64(vec![1, i64::MIN]));
    let by = b.input(&[2], Data::I64(vec![0, -1]));
    let y = b.node(Operator::Binary(Binary { kind: BinaryKind::FloorDiv }), &[n, by]);
    b.output(y);
    let fault = Run::<f64>::new(&b, &[], 1).err().unwrap();
    assert_eq!(fault.violations[0].field, "model.graph.nodes[0].operands[1]");
    b.inputs[1].1 = Data::I64(vec![2, -1]);
    assert!(Run::<f64>::new(&b, &[], 1).is_ok());
}

/// A graph holds for the sizes that it names.
#[test]
fn inputs_fit_their_axes() {
    let mut b = Builder::default();
    let x = b.input(&[2, 3], Data::Work(vec![0.0; 6]));
    b.parts.inputs[0].shape[1] = clino_domain::graph::Axis::Symbol(0);
    b.output(x);
    let model = b.model().unwrap();
    let fault = |shape: &[usize]| model.shapes(&[shape.to_vec()], &Limits::default()).unwrap_err().message;
    assert!(fault(&[2, 3]).contains("found 3 as axis 1, expected 2"));
    assert!(fault(&[2]).contains("expected 2 axes"));
    assert!(model.shapes(&[], &Limits::default()).is_err());
    assert!(model.shapes(&[vec![3, 3]], &Limits::default()).is_ok());
    assert!(fault(&[1 << 40, 1 << 40]).contains("elements"));
    b.parts.symbols[0].least = 4;
    let model = b.model().unwrap();
    assert!(model.shapes(&[vec![3, 3]], &Limits::default()).unwrap_err().message.contains("expected 4"));
}
