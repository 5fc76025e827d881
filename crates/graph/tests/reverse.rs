//! Every reverse rule against central differences in f64, on random points away from kinks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;
mod operators;

use common::{Chance, Run, cotangents};
use operators::{Case, cases};

/// The derivative of Σ d·outputs along the parameters by central differences, with Richardson's extrapolation.
fn differences(case: &Case, params: &[f64], d: &[Option<Vec<f64>>]) -> Vec<f64> {
    let mut run = Run::<f64>::new(&case.builder, params, 1).unwrap();
    let loss = |run: &mut Run<f64>| -> f64 {
        let outputs = run.forward(false).unwrap();
        let sums = outputs.iter().zip(d).map(|(y, d)| match d {
            Some(d) => y.iter().zip(d).map(|(y, d)| y * d).sum(),
            None => 0.0,
        });
        sums.sum()
    };
    let mut slope = |i: usize, h: f64| {
        run.params[i] = params[i] + h;
        let above = loss(&mut run);
        run.params[i] = params[i] - h;
        let below = loss(&mut run);
        run.params[i] = params[i];
        (above - below) / (2.0 * h)
    };
    (0..params.len()).map(|i| (4.0 * slope(i, 5e-4) - slope(i, 1e-3)) / 3.0).collect()
}

#[test]
fn reverse_rules_are_derivatives() {
    let mut failed = Vec::new();
    for (n, case) in cases().into_iter().enumerate().filter(|(_, case)| !case.stops) {
        let name = &case.name;
        let model = case.builder.model().unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let mut chance = Chance(n as u64 + 1);
        let params: Vec<f64> = (0..model.total()).map(|i| case.point(i, &mut chance)).collect();
        let mut run =
            Run::<f64>::new(&case.builder, &params, 1).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        run.forward(true).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let d = cotangents(&run, &mut chance);
        let gradient = run.backward(&d).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let expected = differences(&case, &params, &d);
        let norm = expected.iter().map(|x| x * x).sum::<f64>().sqrt().max(1.0);
        let worst = gradient.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        if worst.is_nan() || worst > 2e-8 * norm {
            failed.push(format!("{name}: off by {worst:.1e} of {norm:.1e}\n  {gradient:?}\n  {expected:?}"));
        }
        let some = expected.iter().any(|x| x.abs() > 1e-3);
        if !some && !case.flat {
            failed.push(format!("{name}: the derivative is 0, so that the case shows nothing"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// What stops a gradient on purpose: DETACH, and the row of padding.
#[test]
fn what_stops_a_gradient_stops_it() {
    for case in cases().into_iter().filter(|case| case.stops) {
        let n = case.builder.model().unwrap().total();
        let params: Vec<f64> = (0..n).map(|i| 0.5 + i as f64).collect();
        let mut run = Run::<f64>::new(&case.builder, &params, 1).unwrap();
        let ones = run.forward(true).unwrap()[0].iter().map(|_| 1.0).collect();
        let gradient = run.backward(&[Some(ones)]).unwrap();
        match case.name.as_str() {
            "unary DETACH" => assert!(gradient.iter().all(|x| *x == 0.0)),
            // Rows 0 and 1 twice, 2 never since it is the padding, 3 once.
            _ => assert_eq!(gradient, [2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
        }
    }
}

/// What a model makes of NaN is NaN, as in torch: no function that compares loses it.
#[test]
fn a_nan_goes_through() {
    use clino_domain::graph::{
        Binary, BinaryKind, Operator, Recurrent, RecurrentKind, Reduce, ReduceKind, Softmax, Unary, UnaryKind,
    };
    let x = [1.0, f64::NAN, -3.0, 0.5];
    let none = |kind| Operator::Unary(Unary { kind, parameters: Vec::new() });
    let within = |kind| Operator::Unary(Unary { kind, parameters: vec![-1.0, 1.0] });
    let reduce = |kind, parameter| Operator::Reduce(Reduce { kind, axes: vec![1], keep: false, parameter });
    let along = [
        none(UnaryKind::Relu),
        none(UnaryKind::Hardsigmoid),
        none(UnaryKind::Hardswish),
        none(UnaryKind::LogSigmoid),
        within(UnaryKind::Clamp),
        within(UnaryKind::Hardtanh),
        within(UnaryKind::Softplus),
        Operator::Unary(Unary { kind: UnaryKind::LeakyRelu, parameters: vec![0.1] }),
        Operator::Unary(Unary { kind: UnaryKind::Elu, parameters: vec![1.0; 3] }),
        reduce(ReduceKind::Max, 0.0),
        reduce(ReduceKind::Min, 0.0),
        reduce(ReduceKind::Logsumexp, 0.0),
        reduce(ReduceKind::Norm, f64::INFINITY),
        Operator::Softmax(Softmax { axis: 1, log: false }),
    ];
    for operator in along {
        let mut b = common::Builder::default();
        let value = b.param(&[1, 4]);
        let y = b.node(operator.clone(), &[value]);
        b.output(y);
        let y = Run::<f64>::new(&b, &x, 1).unwrap().forward(false).unwrap().remove(0);
        assert!(y[y.len().min(2) - 1].is_nan(), "{operator:?}: {y:?}");
    }
    for kind in [BinaryKind::Maximum, BinaryKind::Minimum] {
        for operands in [[0, 1], [1, 0]] {
            let mut b = common::Builder::default();
            b.param(&[4]);
            b.param(&[]);
            let y = b.node(Operator::Binary(Binary { kind }), &operands);
            b.output(y);
            let mut run = Run::<f64>::new(&b, &[x.as_slice(), &[0.0]].concat(), 1).unwrap();
            let y = run.forward(true).unwrap().remove(0);
            assert!(y[1].is_nan() && !y[0].is_nan(), "{kind:?}: {y:?}");
            // Torch lets the derivative through to both.
            assert_eq!(run.backward(&[Some(vec![0.0, 1.0, 0.0, 0.0])]).unwrap(), [0.0, 1.0, 0.0, 0.0, 1.0]);
        }
    }
    let mut b = common::Builder::default();
    let operands = [&[1, 1, 1][..], &[1, 1], &[1, 1]].map(|shape| Some(b.param(shape)));
    let kind = RecurrentKind::Relu;
    let op = Recurrent { kind, layers: 1, bidirectional: false, batch_first: false, biases: false };
    let [value, input, state] = operands;
    let y = b.node_of(Operator::Recurrent(op), vec![value, None, input, state], 2);
    b.output(y);
    assert!(Run::<f64>::new(&b, &[f64::NAN, 1.0, 1.0], 1).unwrap().forward(false).unwrap()[0][0].is_nan());
}

/// Running products of elements of which some are 0, against the definition: d_i times all x up to i but x_j.
#[test]
fn running_products_of_zeros_are_differentiated() {
    use clino_domain::graph::{Cumulate, Operator};
    let x = [2.0, 0.0, 3.0, 0.0, 5.0, -1.0];
    let d = [1.0, -2.0, 0.5, 4.0, 3.0, 7.0];
    for x in [x, x.map(|x| x + 1.0), x.map(|x| if x == 3.0 { 0.0 } else { x + 0.5 })] {
        let mut b = common::Builder::default();
        let value = b.param(&[6]);
        let y = b.node(Operator::Cumulate(Cumulate { axis: 0, product: true }), &[value]);
        b.output(y);
        let mut run = Run::<f64>::new(&b, &x, 1).unwrap();
        run.forward(true).unwrap();
        let others = |i: usize, j: usize| (0..=i).filter(|k| *k != j).map(|k| x[k]).product::<f64>();
        let expected: Vec<f64> = (0..6).map(|j| (j..6).map(|i| d[i] * others(i, j)).sum()).collect();
        assert_eq!(run.backward(&[Some(d.to_vec())]).unwrap(), expected, "{x:?}");
    }
}

#[test]
fn every_operator_and_kind_is_differentiated() {
    use clino_domain::graph::{
        BinaryKind, GatherMode, Operator, PadMode, PoolKind, RecurrentKind, ReduceKind, UnaryKind,
        UpsampleKind,
    };
    let cases = cases();
    let nodes = || cases.iter().flat_map(|case| &case.builder.parts.nodes);
    for name in Operator::NAMES {
        assert!(nodes().any(|node| node.operator.name() == *name), "{name} has no case");
    }
    macro_rules! kinds {
        ($kind:ident, $($operator:ident . $field:ident),+) => {
            for kind in $kind::ALL {
                let found = nodes().any(|node| match &node.operator {
                    $(Operator::$operator(op) => op.$field == *kind,)+
                    _ => false,
                });
                assert!(found, "{} has no case", kind.name());
            }
        };
    }
    kinds!(UnaryKind, Unary.kind);
    kinds!(BinaryKind, Binary.kind);
    kinds!(ReduceKind, Reduce.kind);
    kinds!(PadMode, Pad.mode);
    kinds!(PoolKind, Pool.kind);
    kinds!(UpsampleKind, Upsample.kind);
    kinds!(RecurrentKind, Recurrent.kind);
    kinds!(GatherMode, Gather.mode);
    kinds!(GatherMode, Scatter.mode);
}

/// The same bits with any number of threads, in both precisions.
#[test]
fn threads_do_not_change_a_bit() {
    fn bits<T: clino_graph::Real>(case: &Case, params: &[f64], threads: usize) -> Vec<u64> {
        let mut run = Run::<T>::new(&case.builder, params, threads).unwrap();
        let outputs = run.forward(true).unwrap();
        let d = cotangents(&run, &mut Chance(7));
        let gradient = run.backward(&d).unwrap();
        outputs.iter().flatten().copied().chain(gradient.iter().map(|x| x.wide())).map(f64::to_bits).collect()
    }
    for case in cases() {
        let model = case.builder.model().unwrap();
        let mut chance = Chance(3);
        let params: Vec<f64> = (0..model.total()).map(|i| case.point(i, &mut chance)).collect();
        for threads in [2, 5] {
            assert_eq!(bits::<f32>(&case, &params, 1), bits::<f32>(&case, &params, threads), "{}", case.name);
            assert_eq!(bits::<f64>(&case, &params, 1), bits::<f64>(&case, &params, threads), "{}", case.name);
        }
    }
}
