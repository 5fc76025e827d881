//! REDUCE, CUMULATE, SOFTMAX, LAYER_NORM, RMS_NORM.

use super::elementwise::binary;
use super::{Case, case, of};
use clino_domain::graph::{
    BinaryKind, Cast, Cumulate, LayerNorm, Operator, Reduce, ReduceKind, RmsNorm, Softmax, ValueType,
};

fn reduce(kind: ReduceKind, axes: &[usize], keep: bool, parameter: f64) -> Operator {
    Operator::Reduce(Reduce { kind, axes: axes.to_vec(), keep, parameter })
}

fn reduces() -> Vec<Case> {
    let mut cases = Vec::new();
    let passing = |kind: &&ReduceKind| {
        !matches!(kind, ReduceKind::Any | ReduceKind::All | ReduceKind::Argmax | ReduceKind::Argmin)
    };
    for kind in ReduceKind::ALL.iter().filter(passing) {
        let parameters: &[f64] = match kind {
            ReduceKind::Variance => &[0.0, 1.0],
            ReduceKind::Norm => &[1.0, 2.0, 3.5, f64::INFINITY, 0.0],
            _ => &[0.0],
        };
        for parameter in parameters {
            for axes in [&[][..], &[0], &[1], &[2], &[1, 2], &[0, 1], &[0, 2]] {
                let name = format!("reduce {} {axes:?} {parameter}", kind.name());
                let one = of(name, reduce(*kind, axes, axes.len() == 1, *parameter), &[&[2, 3, 4]]);
                let flat = *kind == ReduceKind::Norm && *parameter == 0.0;
                cases.push(if flat { one.flat() } else { one });
            }
        }
    }
    for kind in [ReduceKind::Any, ReduceKind::All, ReduceKind::Argmax, ReduceKind::Argmin] {
        cases.push(case(format!("reduce {} as a factor", kind.name()), |b| {
            let x = b.param(&[2, 3]);
            let found = b.node(reduce(kind, &[1], true, 0.0), &[x]);
            let work = b.node(Operator::Cast(Cast { to: ValueType::Work }), &[found]);
            let sum = b.node(binary(BinaryKind::Add), &[work, x]);
            b.node(binary(BinaryKind::Mul), &[sum, x]);
        }));
    }
    cases.push(of("reduce a scalar", reduce(ReduceKind::Mean, &[], false, 0.0), &[&[]]));
    cases.push(of("reduce four axes", reduce(ReduceKind::Variance, &[0, 2], false, 1.0), &[&[2, 3, 2, 2]]));
    cases
}

pub fn cases() -> Vec<Case> {
    let mut cases = reduces();
    for axis in 0..3 {
        for log in [false, true] {
            let op = Operator::Softmax(Softmax { axis, log });
            cases.push(of(format!("softmax {axis} {log}"), op, &[&[2, 3, 4]]));
        }
        for product in [false, true] {
            let op = Operator::Cumulate(Cumulate { axis, product });
            cases.push(of(format!("cumulate {axis} {product}"), op, &[&[2, 3, 4]]));
        }
    }
    let layer = |axes| Operator::LayerNorm(LayerNorm { axes, epsilon: 1e-3 });
    let rms = |axes| Operator::RmsNorm(RmsNorm { axes, epsilon: 1e-3 });
    cases.push(of("layer norm", layer(1), &[&[2, 3, 5], &[5], &[5]]));
    cases.push(of("layer norm of two axes", layer(2), &[&[2, 3, 5], &[3, 5]]));
    cases.push(of("layer norm alone", layer(1), &[&[3, 5]]));
    cases.push(of("rms norm", rms(1), &[&[2, 3, 5], &[5]]));
    cases.push(of("rms norm alone", rms(2), &[&[2, 3, 5]]));
    cases.push(case("layer norm with a bias alone", |b| {
        let x = b.param(&[3, 4]);
        let bias = b.param(&[4]);
        b.node_of(layer(1), vec![Some(x), None, Some(bias)], 1);
    }));
    cases
}
