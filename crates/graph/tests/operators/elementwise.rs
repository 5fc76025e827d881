//! UNARY, BINARY, COMPARE, WHERE, CAST, FULL.

use super::{Case, case, of};
use clino_domain::Dtype;
use clino_domain::graph::{
    Binary, BinaryKind, Cast, Compare, CompareKind, Full, Operator, Size, Unary, UnaryKind, ValueType, Where,
};
use clino_graph::Data;

pub fn unary(kind: UnaryKind, parameters: &[f64]) -> Operator {
    Operator::Unary(Unary { kind, parameters: parameters.to_vec() })
}

pub fn binary(kind: BinaryKind) -> Operator {
    Operator::Binary(Binary { kind })
}

fn unaries() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in UnaryKind::ALL {
        let parameters: &[f64] = match kind {
            UnaryKind::Softplus => &[1.5, 1.0],
            UnaryKind::Elu => &[1.3, 1.1, 0.9],
            UnaryKind::LeakyRelu => &[0.1],
            UnaryKind::Clamp => &[-0.9, f64::INFINITY],
            UnaryKind::Hardtanh => &[-0.7, 0.9],
            UnaryKind::NanToNum => &[0.0, 1.0, -1.0],
            _ => &[],
        };
        if matches!(kind, UnaryKind::Not | UnaryKind::IsNan | UnaryKind::IsInf) {
            continue;
        }
        let one = of(format!("unary {}", kind.name()), unary(*kind, parameters), &[&[3, 5]]);
        cases.push(match kind {
            UnaryKind::Log | UnaryKind::Log1p | UnaryKind::Log2 | UnaryKind::Sqrt | UnaryKind::Rsqrt => {
                one.within(0.3, 2.0)
            }
            UnaryKind::Asin | UnaryKind::Acos => one.within(-0.8, 0.8),
            UnaryKind::Tan => one.within(-1.2, 1.2),
            UnaryKind::Sign | UnaryKind::Floor | UnaryKind::Ceil | UnaryKind::Trunc => one.flat(),
            UnaryKind::Round => one.flat(),
            UnaryKind::Detach => one.stops(),
            _ => one,
        });
    }
    let wide = |kind, parameters: &[f64], range: [f64; 2]| {
        of(format!("{kind:?} far out"), unary(kind, parameters), &[&[40]]).within(range[0], range[1])
    };
    cases.push(wide(UnaryKind::Hardswish, &[], [-5.05, 5.1]));
    cases.push(wide(UnaryKind::Hardsigmoid, &[], [-5.05, 5.1]));
    cases.push(wide(UnaryKind::Sigmoid, &[], [-30.0, 30.0]));
    cases.push(wide(UnaryKind::Gelu, &[], [-9.0, 9.0]));
    cases
}

/// Questions and bits choose what is multiplied.
fn questions() -> Vec<Case> {
    let chosen = |name: &str, operator: Operator| {
        case(name, |b| {
            let x = b.param(&[2, 3]);
            let asked = b.node(operator.clone(), &[x]);
            let not = b.node(unary(UnaryKind::Not, &[]), &[asked]);
            let both = b.node(binary(BinaryKind::Or), &[asked, not]);
            let both = b.node(binary(BinaryKind::And), &[both, not]);
            let one = b.node(binary(BinaryKind::Xor), &[both, asked]);
            let square = b.node(binary(BinaryKind::Mul), &[x, x]);
            b.node(Operator::Where(Where {}), &[one, square, x]);
        })
    };
    let shifts = case("shifts", |b| {
        let x = b.param(&[3]);
        let n = b.input(&[3], Data::I64(vec![1, 2, 3]));
        let two = b.constant(Dtype::I64, &[], 2i64.to_le_bytes().to_vec());
        let left = b.node(binary(BinaryKind::ShiftLeft), &[n, two]);
        let right = b.node(binary(BinaryKind::ShiftRight), &[left, n]);
        b.node(binary(BinaryKind::Mul), &[x, right]);
    });
    vec![
        chosen("unary IS_NAN", unary(UnaryKind::IsNan, &[])),
        chosen("unary IS_INF", unary(UnaryKind::IsInf, &[])),
        shifts,
    ]
}

fn binaries() -> Vec<Case> {
    let mut cases = Vec::new();
    let bits =
        [BinaryKind::And, BinaryKind::Or, BinaryKind::Xor, BinaryKind::ShiftLeft, BinaryKind::ShiftRight];
    for kind in BinaryKind::ALL.iter().filter(|kind| !bits.contains(kind)) {
        let flat = matches!(kind, BinaryKind::FloorDiv | BinaryKind::TruncDiv);
        for (a, b) in [(&[3, 4][..], &[3, 4][..]), (&[3, 1], &[2, 1, 4]), (&[], &[5]), (&[2, 3, 4], &[4])] {
            let one = of(format!("binary {} {a:?} {b:?}", kind.name()), binary(*kind), &[a, b]);
            let one = if *kind == BinaryKind::Pow { one.within(0.3, 2.2) } else { one };
            cases.push(if flat { one.flat() } else { one });
        }
    }
    cases.push(case("a value with itself", |b| {
        let x = b.param(&[4]);
        b.node(binary(BinaryKind::Mul), &[x, x]);
    }));
    cases.push(case("an integer and a number", |b| {
        let x = b.param(&[3]);
        let n = b.input(&[3], Data::I64(vec![1, 2, 3]));
        b.node(binary(BinaryKind::Div), &[n, x]);
    }));
    cases.push(case("a power of an even number", |b| {
        let x = b.param(&[3]);
        let n = b.constant(Dtype::F64, &[], 2f64.to_le_bytes().to_vec());
        b.node(binary(BinaryKind::Pow), &[x, n]);
    }));
    cases.push(case("a power of another number", |b| {
        let x = b.param(&[3]);
        let n = b.constant(Dtype::I64, &[], 3i64.to_le_bytes().to_vec());
        b.node(binary(BinaryKind::Pow), &[x, n]);
    }));
    cases
}

pub fn cases() -> Vec<Case> {
    let mut cases = unaries();
    cases.extend(questions());
    cases.extend(binaries());
    for kind in CompareKind::ALL {
        cases.push(case(format!("compare {} and where", kind.name()), |b| {
            let x = b.param(&[3, 1]);
            let y = b.param(&[2, 1, 4]);
            let asked = b.node(Operator::Compare(Compare { kind: *kind }), &[x, y]);
            b.node(Operator::Where(Where {}), &[asked, x, y]);
        }));
    }
    cases.push(case("cast there and back", |b| {
        let x = b.param(&[5]);
        let whole = b.node(Operator::Cast(Cast { to: ValueType::I64 }), &[x]);
        let back = b.node(Operator::Cast(Cast { to: ValueType::Work }), &[whole]);
        let same = b.node(Operator::Cast(Cast { to: ValueType::Work }), &[x]);
        b.node(binary(BinaryKind::Mul), &[back, same]);
    }));
    cases.push(case("full of an operand", |b| {
        let x = b.param(&[]);
        let shape = vec![Size::Fixed(2), Size::Fixed(3)];
        b.node(Operator::Full(Full { shape, value: 0.0, of: ValueType::Work }), &[x]);
    }));
    cases
}
