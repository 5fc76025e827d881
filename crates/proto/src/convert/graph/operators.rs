//! Operators with their attributes.
//!
//! Owns: which number of a kind means what, and what is read in the place of what is absent. May not touch: nodes.

use crate::convert::present;
use crate::pb::{self, node::Operator as Message};
use clino_domain::Fault;
use clino_domain::graph::{
    Arange, Attention, BatchNorm, Binary, BinaryKind, Cast, Compare, CompareKind, Concat, Conv, Count,
    Cumulate, Dim, Expand, Flip, Full, Gather, GatherMode, GroupNorm, GroupedMatMul, LayerNorm, Linear,
    MatMul, Operator, Pad, PadMode, Permute, Pool, PoolKind, Recurrent, RecurrentKind, Reduce, ReduceKind,
    Reshape, RmsNorm, Scatter, Size, Slice, Softmax, Sort, TopK, Unary, UnaryKind, Upsample, UpsampleKind,
    ValueType, Where,
};

/// The kind with a number, from 1.
fn kind<K: Copy>(field: &str, number: i32, all: &[K], name: fn(K) -> &'static str) -> Result<K, Fault> {
    let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    place.and_then(|place| all.get(place)).copied().ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|kind| name(*kind)).collect();
        Fault::invalid(field, format!("found {number}, expected one of {}", names.join(", ")))
    })
}

fn size(field: &str, size: Option<pb::Size>) -> Result<Size, Fault> {
    let size = present(field, size)?;
    match present(&format!("{field}.kind"), size.kind)? {
        pb::size::Kind::Fixed(fixed) => Ok(Size::Fixed(fixed)),
        pb::size::Kind::Value(value) => {
            super::value_from_pb(&format!("{field}.value"), value).map(Size::Value)
        }
    }
}

fn sizes(field: &str, list: Vec<pb::Size>) -> Result<Vec<Size>, Fault> {
    super::counted(field, list.len(), clino_domain::tensor::MAX_RANK)?;
    list.into_iter().enumerate().map(|(i, one)| size(&format!("{field}[{i}]"), Some(one))).collect()
}

fn places(list: &[u32]) -> Vec<usize> {
    list.iter().map(|axis| *axis as usize).collect()
}

/// An operator; paths of its faults begin with its name.
pub fn operator_from_pb(message: Message) -> Result<Operator, Fault> {
    Ok(match message {
        Message::Linear(_) => Operator::Linear(Linear {}),
        Message::Matmul(_) => Operator::MatMul(MatMul {}),
        Message::GroupedMatmul(_) => Operator::GroupedMatMul(GroupedMatMul {}),
        Message::Where(_) => Operator::Where(Where {}),
        Message::Permute(m) => Operator::Permute(Permute { axes: places(&m.axes) }),
        Message::Flip(m) => Operator::Flip(Flip { axes: places(&m.axes) }),
        Message::Concat(m) => Operator::Concat(Concat { axis: m.axis as usize }),
        Message::Attention(m) => Operator::Attention(Attention { causal: m.causal, scale: m.scale }),
        Message::LayerNorm(m) => Operator::LayerNorm(LayerNorm { axes: m.axes as usize, epsilon: m.epsilon }),
        Message::RmsNorm(m) => Operator::RmsNorm(RmsNorm { axes: m.axes as usize, epsilon: m.epsilon }),
        Message::BatchNorm(m) => Operator::BatchNorm(BatchNorm { epsilon: m.epsilon }),
        Message::GroupNorm(m) => Operator::GroupNorm(GroupNorm { groups: m.groups, epsilon: m.epsilon }),
        Message::Softmax(m) => Operator::Softmax(Softmax { axis: m.axis as usize, log: m.log }),
        Message::Cumulate(m) => Operator::Cumulate(Cumulate { axis: m.axis as usize, product: m.product }),
        Message::Sort(m) => Operator::Sort(Sort { axis: m.axis as usize, falling: m.falling }),
        Message::Dim(m) => Operator::Dim(Dim { axis: m.axis as usize }),
        Message::Conv(m) => Operator::Conv(conv(m)),
        other => return kinds(other),
    })
}

fn conv(m: pb::Conv) -> Conv {
    Conv {
        stride: m.stride,
        before: m.before,
        after: m.after,
        dilation: m.dilation,
        groups: m.groups.max(1),
        transposed: m.transposed,
        output_padding: m.output_padding,
    }
}

/// Those that have kinds.
fn kinds(message: Message) -> Result<Operator, Fault> {
    Ok(match message {
        Message::Gather(m) => Operator::Gather(Gather {
            mode: kind("gather.mode", m.mode, GatherMode::ALL, GatherMode::name)?,
            axes: places(&m.axes),
            padding_index: m.padding_index,
        }),
        Message::Scatter(m) => Operator::Scatter(Scatter {
            mode: kind("scatter.mode", m.mode, GatherMode::ALL, GatherMode::name)?,
            axes: places(&m.axes),
            add: m.add,
        }),
        Message::Unary(m) => Operator::Unary(Unary {
            kind: kind("unary.kind", m.kind, UnaryKind::ALL, UnaryKind::name)?,
            parameters: m.parameters,
        }),
        Message::Binary(m) => {
            Operator::Binary(Binary { kind: kind("binary.kind", m.kind, BinaryKind::ALL, BinaryKind::name)? })
        }
        Message::Compare(m) => Operator::Compare(Compare {
            kind: kind("compare.kind", m.kind, CompareKind::ALL, CompareKind::name)?,
        }),
        Message::Reduce(m) => Operator::Reduce(Reduce {
            kind: kind("reduce.kind", m.kind, ReduceKind::ALL, ReduceKind::name)?,
            axes: places(&m.axes),
            keep: m.keep,
            parameter: m.parameter,
        }),
        Message::Cast(m) => {
            Operator::Cast(Cast { to: kind("cast.type", m.r#type, ValueType::ALL, ValueType::name)? })
        }
        Message::Recurrent(m) => Operator::Recurrent(Recurrent {
            kind: kind("recurrent.kind", m.kind, RecurrentKind::ALL, RecurrentKind::name)?,
            layers: m.layers as usize,
            bidirectional: m.bidirectional,
            biases: m.biases,
            batch_first: m.batch_first,
        }),
        other => return sized(other),
    })
}

/// Those that name sizes.
fn sized(message: Message) -> Result<Operator, Fault> {
    Ok(match message {
        Message::Reshape(m) => Operator::Reshape(Reshape { shape: sizes("reshape.shape", m.shape)? }),
        Message::Expand(m) => Operator::Expand(Expand { shape: sizes("expand.shape", m.shape)? }),
        Message::Slice(m) => Operator::Slice(Slice {
            axis: m.axis as usize,
            start: m.start.map_or(Ok(Size::Fixed(0)), |start| size("slice.start", Some(start)))?,
            end: m.end.map(|end| size("slice.end", Some(end))).transpose()?,
            step: m.step.max(1),
        }),
        Message::Pad(m) => Operator::Pad(Pad {
            mode: kind("pad.mode", m.mode.max(1), PadMode::ALL, PadMode::name)?,
            value: m.value,
            before: sizes("pad.before", m.before)?,
            after: sizes("pad.after", m.after)?,
        }),
        Message::TopK(m) => {
            Operator::TopK(TopK { axis: m.axis as usize, k: size("top_k.k", m.k)?, least: m.least })
        }
        Message::Count(m) => Operator::Count(Count { bins: size("count.bins", m.bins)? }),
        Message::Arange(m) => Operator::Arange(Arange {
            start: m.start.map_or(Ok(Size::Fixed(0)), |start| size("arange.start", Some(start)))?,
            end: size("arange.end", m.end)?,
            step: m.step.map_or(Ok(Size::Fixed(1)), |step| size("arange.step", Some(step)))?,
            work: m.work,
        }),
        Message::Full(m) => Operator::Full(Full {
            shape: sizes("full.shape", m.shape)?,
            value: m.value,
            of: kind("full.type", m.r#type, ValueType::ALL, ValueType::name)?,
        }),
        other => return spatial(other),
    })
}

/// Those over spatial axes.
fn spatial(message: Message) -> Result<Operator, Fault> {
    Ok(match message {
        Message::Pool(m) => Operator::Pool(Pool {
            kind: kind("pool.kind", m.kind, PoolKind::ALL, PoolKind::name)?,
            kernel: m.kernel,
            stride: m.stride,
            padding: m.padding,
            dilation: m.dilation,
            ceil: m.ceil,
            count_padding: m.count_padding,
            divisor: m.divisor,
            output: sizes("pool.output", m.output)?,
        }),
        Message::Upsample(m) => Operator::Upsample(Upsample {
            kind: kind("upsample.kind", m.kind, UpsampleKind::ALL, UpsampleKind::name)?,
            output: sizes("upsample.output", m.output)?,
            align_corners: m.align_corners,
            scales: m.scales,
        }),
        _ => return Err(Fault::internal("an operator of the protocol is not read")),
    })
}
