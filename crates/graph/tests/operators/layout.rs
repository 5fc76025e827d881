//! Operators that move elements, and those that make them of sizes.

use super::elementwise::binary;
use super::{Case, case, of};
use clino_domain::graph::{
    Arange, BinaryKind, Cast, Concat, Count, Dim, Expand, Flip, Full, Gather, GatherMode, Operator, Pad,
    PadMode, Permute, Reshape, Scatter, Size, Slice, Sort, TopK, ValueType,
};
use clino_graph::Data;

fn fixed(list: &[i64]) -> Vec<Size> {
    list.iter().map(|size| Size::Fixed(*size)).collect()
}

fn slice(axis: usize, start: i64, end: Option<i64>, step: u64) -> Operator {
    Operator::Slice(Slice { axis, start: Size::Fixed(start), end: end.map(Size::Fixed), step })
}

fn pad(mode: PadMode, before: &[i64], after: &[i64]) -> Operator {
    Operator::Pad(Pad { mode, value: 3.0, before: fixed(before), after: fixed(after) })
}

fn moves() -> Vec<Case> {
    vec![
        of("reshape", Operator::Reshape(Reshape { shape: fixed(&[3, -1]) }), &[&[2, 6]]),
        of("permute", Operator::Permute(Permute { axes: vec![2, 0, 1] }), &[&[2, 3, 4]]),
        of("permute of ones", Operator::Permute(Permute { axes: vec![1, 0, 2] }), &[&[1, 3, 4]]),
        of("expand", Operator::Expand(Expand { shape: fixed(&[2, 3, -1, 4]) }), &[&[3, 1, 4]]),
        of("expand of a scalar", Operator::Expand(Expand { shape: fixed(&[2, 3]) }), &[&[]]),
        of("slice", slice(1, -3, Some(-1), 1), &[&[2, 5, 3]]),
        of("slice by steps", slice(0, 1, None, 2), &[&[6, 2]]),
        of("slice of all", slice(0, 0, Some(99), 1), &[&[6, 2]]),
        of("slice of nothing", slice(0, 4, Some(2), 1), &[&[6, 2]]).flat(),
        of("flip", Operator::Flip(Flip { axes: vec![0, 2] }), &[&[2, 3, 4]]),
        of("concat", Operator::Concat(Concat { axis: 1 }), &[&[2, 3], &[2, 1], &[2, 2]]),
        of("pad with a value", pad(PadMode::Constant, &[1, 0], &[2, 1]), &[&[2, 3]]),
        of("pad with less", pad(PadMode::Constant, &[-1, 2], &[0, -1]), &[&[3, 4]]),
        of("pad by reflection", pad(PadMode::Reflect, &[0, 2], &[0, 3]), &[&[2, 4]]),
        of("pad by the edge", pad(PadMode::Replicate, &[1, 2], &[2, 1]), &[&[2, 3]]),
        of("pad in a circle", pad(PadMode::Circular, &[0, 2], &[0, 3]), &[&[2, 3]]),
    ]
}

fn gather(mode: GatherMode, axes: &[usize], padding_index: Option<i64>) -> Operator {
    Operator::Gather(Gather { mode, axes: axes.to_vec(), padding_index })
}

fn chosen() -> Vec<Case> {
    let points = || Data::I64(vec![0, -1, 2, 2, 1, 0]);
    let with = |name: &str, operator: Operator, x: &[usize], indices: &[(&[usize], Data<f64>)]| {
        case(name, |b| {
            let x = b.param(x);
            let inputs: Vec<usize> =
                indices.iter().map(|(shape, data)| b.input(shape, data.clone())).collect();
            b.node(operator, &[&[x], inputs.as_slice()].concat());
        })
    };
    let rows = || (&[2usize, 3][..], points());
    vec![
        with("gather rows", gather(GatherMode::Take, &[0], None), &[4, 3], &[rows()]),
        with("gather rows but one", gather(GatherMode::Take, &[0], Some(-2)), &[4, 3], &[rows()]).stops(),
        with("gather columns", gather(GatherMode::Take, &[1], None), &[2, 3, 2], &[rows()]),
        with("gather along", gather(GatherMode::Along, &[1], None), &[2, 3], &[(&[2, 3], points())]),
        with("gather along fewer", gather(GatherMode::Along, &[0], None), &[3, 5], &[(&[2, 3], points())]),
        with(
            "gather points",
            gather(GatherMode::Points, &[0, 1], None),
            &[3, 3, 2],
            &[rows(), (&[3], Data::I64(vec![0, 1, 1]))],
        ),
        with(
            "gather points apart",
            gather(GatherMode::Points, &[0, 2], None),
            &[3, 2, 3],
            &[rows(), (&[1], Data::I64(vec![1]))],
        ),
    ]
}

fn scattered() -> Vec<Case> {
    let with =
        |name: &str, mode, axes: &[usize], add, shapes: [&[usize]; 2], indices: &[(&[usize], Vec<i64>)]| {
            case(name, |b| {
                let x = b.param(shapes[0]);
                let source = b.param(shapes[1]);
                let inputs: Vec<usize> =
                    indices.iter().map(|(shape, data)| b.input(shape, Data::I64(data.clone()))).collect();
                let operator = Operator::Scatter(Scatter { mode, axes: axes.to_vec(), add });
                b.node(operator, &[&[x, source], inputs.as_slice()].concat());
            })
        };
    let mut cases = Vec::new();
    for add in [false, true] {
        let take: &[(&[usize], Vec<i64>)] = &[(&[3], vec![1, -1, 1])];
        let along: &[(&[usize], Vec<i64>)] = &[(&[2, 3], vec![0, 1, 2, 2, 2, 0])];
        let points: &[(&[usize], Vec<i64>)] = &[(&[3], vec![1, -1, 1]), (&[1], vec![0])];
        cases.push(with(
            &format!("scatter rows {add}"),
            GatherMode::Take,
            &[0],
            add,
            [&[4, 2], &[3, 2]],
            take,
        ));
        cases.push(with(
            &format!("scatter one value {add}"),
            GatherMode::Take,
            &[1],
            add,
            [&[2, 4], &[]],
            take,
        ));
        cases.push(with(
            &format!("scatter along {add}"),
            GatherMode::Along,
            &[0],
            add,
            [&[3, 4], &[2, 3]],
            along,
        ));
        cases.push(with(
            &format!("scatter points {add}"),
            GatherMode::Points,
            &[0, 1],
            add,
            [&[4, 2, 2], &[3, 2]],
            points,
        ));
    }
    cases
}

fn sizes() -> Vec<Case> {
    let arange = |start, end, step, work| {
        Operator::Arange(Arange { start: Size::Fixed(start), end, step: Size::Fixed(step), work })
    };
    vec![
        case("sizes of sizes", |b| {
            let x = b.param(&[4, 6]);
            let rows = b.node(Operator::Dim(Dim { axis: 0 }), &[x]);
            let columns = b.node(Operator::Dim(Dim { axis: 1 }), &[x]);
            let half = b.node(binary(BinaryKind::FloorDiv), &[columns, rows]);
            let all = b.node(binary(BinaryKind::Mul), &[columns, half]);
            let shape = vec![Size::Value(rows), Size::Value(all)];
            let flat = b.node(Operator::Reshape(Reshape { shape }), &[x]);
            let to = b.node(arange(5, Size::Value(half), -2, true), &[]);
            let two = b.node(
                Operator::Slice(Slice {
                    axis: 1,
                    start: Size::Value(half),
                    end: Some(Size::Fixed(3)),
                    step: 1,
                }),
                &[flat],
            );
            b.node(binary(BinaryKind::Mul), &[two, to]);
        }),
        case("counts and full", |b| {
            let x = b.param(&[4]);
            let n = b.input(&[6], Data::I64(vec![0, 3, 3, 9, -1, 1]));
            let counts = b.node(Operator::Count(Count { bins: Size::Fixed(4) }), &[n]);
            let y = b.node(binary(BinaryKind::Mul), &[x, counts]);
            let two =
                b.node(Operator::Full(Full { shape: fixed(&[4]), value: 2.0, of: ValueType::I64 }), &[]);
            let work = b.node(Operator::Cast(Cast { to: ValueType::Work }), &[two]);
            let y = b.node(binary(BinaryKind::Add), &[y, work]);
            let n = b.node(arange(0, Size::Fixed(4), 1, false), &[]);
            b.node(binary(BinaryKind::Mul), &[y, n]);
        }),
    ]
}

fn ordered() -> Vec<Case> {
    let with = |name: &str, operator: Operator| {
        case(name, |b| {
            let x = b.param(&[2, 5, 3]);
            let first = b.node_of(operator, vec![Some(x)], 2);
            let places = b.node(Operator::Cast(Cast { to: ValueType::Work }), &[first + 1]);
            b.node(binary(BinaryKind::Mul), &[first, places]);
        })
    };
    let mut cases = Vec::new();
    for falling in [false, true] {
        cases.push(with("sort", Operator::Sort(Sort { axis: 1, falling })));
        cases.push(with("top k", Operator::TopK(TopK { axis: 1, k: Size::Fixed(3), least: falling })));
        cases.push(with(
            "top k of the last",
            Operator::TopK(TopK { axis: 2, k: Size::Fixed(2), least: falling }),
        ));
    }
    cases
}

pub fn cases() -> Vec<Case> {
    [moves(), chosen(), scattered(), sizes(), ordered()].into_iter().flatten().collect()
}
