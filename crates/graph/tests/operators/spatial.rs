//! CONV, POOL, UPSAMPLE, BATCH_NORM, GROUP_NORM.

use super::{Case, case, of};
use clino_domain::graph::{
    BatchNorm, Conv, GroupNorm, Operator, Pool, PoolKind, Size, TensorKind, Upsample, UpsampleKind,
};

fn conv(stride: &[u64], padding: [&[u64]; 2], dilation: &[u64], groups: u64) -> Conv {
    Conv {
        stride: stride.to_vec(),
        before: padding[0].to_vec(),
        after: padding[1].to_vec(),
        dilation: dilation.to_vec(),
        groups,
        transposed: false,
        output_padding: Vec::new(),
    }
}

fn transposed(stride: &[u64], padding: [&[u64]; 2], output_padding: &[u64], groups: u64) -> Conv {
    let output_padding = output_padding.to_vec();
    Conv { transposed: true, output_padding, ..conv(stride, padding, &[1], groups) }
}

fn convolutions() -> Vec<Case> {
    let with = |name: &str, op: Conv, x: &[usize], w: &[usize]| {
        let channels = if op.transposed { w[1] * op.groups as usize } else { w[0] };
        of(name, Operator::Conv(op), &[x, w, &[channels]])
    };
    vec![
        with("conv over one axis", conv(&[2], [&[1], &[2]], &[1], 1), &[2, 3, 7], &[4, 3, 3]),
        with(
            "conv over two axes",
            conv(&[1, 2], [&[1, 0], &[1, 0]], &[1, 1], 1),
            &[2, 2, 4, 5],
            &[3, 2, 3, 2],
        ),
        with("conv over three axes", conv(&[1], [&[1], &[0]], &[1], 1), &[1, 2, 3, 3, 2], &[2, 2, 2, 2, 2]),
        with(
            "conv with dilation",
            conv(&[1, 1], [&[0, 2], &[0, 2]], &[2, 2], 1),
            &[1, 2, 5, 5],
            &[2, 2, 2, 3],
        ),
        with("conv by groups", conv(&[1], [&[1], &[1]], &[1], 2), &[2, 4, 5], &[6, 2, 3]),
        with("conv by channels", conv(&[1], [&[0], &[0]], &[1], 3), &[2, 3, 4, 4], &[3, 1, 2, 2]),
        with("conv of single elements", conv(&[1], [&[0], &[0]], &[1], 1), &[3, 2, 4], &[3, 2, 1]),
        with("conv transposed", transposed(&[2], [&[1], &[1]], &[1], 1), &[2, 3, 4], &[3, 2, 3]),
        with(
            "conv transposed by groups",
            transposed(&[2, 1], [&[0], &[0]], &[0], 2),
            &[1, 4, 3, 2],
            &[4, 3, 2, 2],
        ),
    ]
}

fn pool(kind: PoolKind, kernel: &[u64]) -> Pool {
    Pool {
        kind,
        kernel: kernel.to_vec(),
        stride: vec![2],
        padding: vec![1],
        dilation: vec![1],
        ceil: false,
        count_padding: false,
        divisor: 0,
        output: Vec::new(),
    }
}

fn pools() -> Vec<Case> {
    let output = vec![Size::Fixed(2), Size::Fixed(3)];
    let with = |name: &str, op: Pool, x: &[usize]| of(name, Operator::Pool(op), &[x]);
    let mean = || pool(PoolKind::Mean, &[3, 2]);
    vec![
        with("pool max", pool(PoolKind::Max, &[3, 2]), &[1, 2, 5, 4]),
        with("pool max over one axis", Pool { ceil: true, ..pool(PoolKind::Max, &[3]) }, &[2, 2, 6]),
        with(
            "pool max with dilation",
            Pool { dilation: vec![2], ..pool(PoolKind::Max, &[2, 2]) },
            &[1, 1, 5, 6],
        ),
        with("pool mean", mean(), &[1, 2, 5, 4]),
        with("pool mean with padding", Pool { count_padding: true, ceil: true, ..mean() }, &[1, 2, 5, 4]),
        with("pool mean of a divisor", Pool { divisor: 5, ..mean() }, &[1, 2, 5, 4]),
        with("pool mean over three axes", pool(PoolKind::Mean, &[2]), &[1, 1, 3, 3, 4]),
        with(
            "adaptive mean",
            Pool { output: output.clone(), ..pool(PoolKind::AdaptiveMean, &[]) },
            &[2, 2, 5, 7],
        ),
        with("adaptive max", Pool { output, ..pool(PoolKind::AdaptiveMax, &[]) }, &[2, 2, 5, 7]),
        case("both results of a maximum", |b| {
            let x = b.param(&[1, 2, 6]);
            b.node_of(Operator::Pool(pool(PoolKind::Max, &[2])), vec![Some(x)], 2);
            b.output(1);
            b.output(2);
        }),
    ]
}

fn upsamples() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in UpsampleKind::ALL {
        for (align_corners, scales) in [(false, vec![]), (true, vec![]), (false, vec![1.9, 0.6])] {
            let output = vec![Size::Fixed(7), Size::Fixed(3)];
            let name = format!("upsample {} {align_corners} {scales:?}", kind.name());
            let op = Operator::Upsample(Upsample { kind: *kind, output, align_corners, scales });
            cases.push(of(name, op, &[&[1, 2, 4, 5]]));
        }
    }
    let op = |n| Upsample {
        kind: UpsampleKind::Linear,
        output: vec![Size::Fixed(4); n],
        align_corners: false,
        scales: vec![],
    };
    cases.push(of("upsample over one axis", Operator::Upsample(op(1)), &[&[2, 1, 3]]));
    cases.push(of("upsample over three axes", Operator::Upsample(op(3)), &[&[1, 1, 3, 2, 2]]));
    cases
}

fn norms() -> Vec<Case> {
    let batch = || Operator::BatchNorm(BatchNorm { epsilon: 1e-3 });
    let group = |groups| Operator::GroupNorm(GroupNorm { groups, epsilon: 1e-3 });
    vec![
        of("batch norm", batch(), &[&[2, 3, 4], &[3], &[3], &[3], &[3]]).within(0.3, 2.0),
        of("batch norm without weights", batch(), &[&[4, 3], &[3], &[3]]).within(0.3, 2.0),
        case("batch norm with buffers", |b| {
            let x = b.param(&[2, 3, 2, 2]);
            let w = b.param(&[3]);
            let mean = b.tensor(TensorKind::Buffer, &[3]);
            let variance = b.tensor(TensorKind::Buffer, &[3]);
            b.node(batch(), &[x, mean, variance, w]);
        }),
        of("group norm", group(2), &[&[2, 4, 3], &[4], &[4]]),
        of("instance norm", group(4), &[&[2, 4, 3, 2]]),
        of("group norm of all", group(1), &[&[3, 4], &[4]]),
    ]
}

pub fn cases() -> Vec<Case> {
    [convolutions(), pools(), upsamples(), norms()].into_iter().flatten().collect()
}
