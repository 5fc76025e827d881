//! What is made of the elements of one lane, and its reverse.
//!
//! Owns: formulas of REDUCE. May not touch: tensors.

use crate::functions::sign;
use clino_domain::graph::{Reduce, ReduceKind};

fn greatest(lane: impl Iterator<Item = f64>) -> f64 {
    // A NaN that was met stays: nothing is greater.
    lane.fold(f64::NEG_INFINITY, |most, x| if x > most || x.is_nan() { x } else { most })
}

/// The norm of order `p`.
fn norm(p: f64, lane: impl Iterator<Item = f64> + Clone) -> f64 {
    match p {
        0.0 => lane.filter(|x| *x != 0.0).count() as f64,
        1.0 => lane.map(f64::abs).sum(),
        2.0 => lane.map(|x| x * x).sum::<f64>().sqrt(),
        p if p.is_infinite() => greatest(std::iter::once(0.0).chain(lane.map(f64::abs))),
        p => lane.map(|x| x.abs().powf(p)).sum::<f64>().powf(1.0 / p),
    }
}

/// A number of numbers.
pub fn value(kind: ReduceKind, parameter: f64, lane: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let n = lane.len() as f64;
    match kind {
        ReduceKind::Sum => lane.sum(),
        ReduceKind::Mean => lane.sum::<f64>() / n,
        ReduceKind::Max => greatest(lane),
        ReduceKind::Min => -greatest(lane.map(|x| -x)),
        ReduceKind::Prod => lane.product(),
        ReduceKind::Logsumexp => {
            let most = greatest(lane.clone());
            let shift = if most.is_finite() { most } else { 0.0 };
            lane.map(|x| (x - shift).exp()).sum::<f64>().ln() + shift
        }
        ReduceKind::Variance => {
            let mean = lane.clone().sum::<f64>() / n;
            lane.map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - parameter).max(0.0)
        }
        ReduceKind::Norm => norm(parameter, lane),
        _ => f64::NAN,
    }
}

/// An integer of integers.
pub fn integer(kind: ReduceKind, lane: impl Iterator<Item = i64>) -> i64 {
    match kind {
        ReduceKind::Prod => lane.fold(1, i64::wrapping_mul),
        ReduceKind::Max => lane.max().unwrap_or(0),
        ReduceKind::Min => lane.min().unwrap_or(0),
        _ => lane.fold(0, i64::wrapping_add),
    }
}

/// The place of the first greatest, or of the first least; of the first NaN, where there is one.
pub fn place<U: PartialOrd + Copy>(lane: impl Iterator<Item = U>, greatest: bool) -> i64 {
    let nan = |x: U| x.partial_cmp(&x).is_none();
    let mut best: Option<(usize, U)> = None;
    for (i, x) in lane.enumerate() {
        let better = match best {
            None => true,
            Some((_, best)) if nan(best) => false,
            Some((_, best)) => nan(x) || if greatest { x > best } else { x < best },
        };
        if better {
            best = Some((i, x));
        }
    }
    best.map_or(0, |(i, _)| i as i64)
}

/// A lane, to be reversed.
#[derive(Clone, Copy)]
pub struct Lane<'a> {
    /// Number of elements.
    pub n: usize,
    pub x: &'a dyn Fn(usize) -> f64,
    /// The result, and the derivative along it.
    pub y: f64,
    pub d: f64,
}

/// Calls `add` with the derivative along each element.
pub fn back(op: &Reduce, lane: Lane<'_>, mut add: impl FnMut(usize, f64)) {
    let Lane { n, x, y, d } = lane;
    match op.kind {
        ReduceKind::Max | ReduceKind::Min => {
            let is = |i: usize| x(i) == y || (x(i).is_nan() && y.is_nan());
            let share = d / (0..n).filter(|i| is(*i)).count().max(1) as f64;
            (0..n).filter(|i| is(*i)).for_each(|i| add(i, share));
        }
        ReduceKind::Prod => {
            let mut behind = vec![1.0; n + 1];
            for i in (0..n).rev() {
                behind[i] = behind[i + 1] * x(i);
            }
            let mut before = 1.0;
            for i in 0..n {
                add(i, d * before * behind[i + 1]);
                before *= x(i);
            }
        }
        ReduceKind::Logsumexp => {
            (0..n).filter(|i| x(*i) > f64::NEG_INFINITY).for_each(|i| add(i, d * (x(i) - y).exp()))
        }
        ReduceKind::Variance => {
            let mean = (0..n).map(x).sum::<f64>() / n as f64;
            let factor = 2.0 * d / (n as f64 - op.parameter).max(0.0);
            (0..n).for_each(|i| add(i, factor * (x(i) - mean)));
        }
        ReduceKind::Norm => norm_back(op.parameter, lane, add),
        _ => {}
    }
}

fn norm_back(p: f64, lane: Lane<'_>, mut add: impl FnMut(usize, f64)) {
    let Lane { n, x, y, d } = lane;
    match p {
        0.0 => {}
        1.0 => (0..n).for_each(|i| add(i, d * sign(x(i)))),
        _ if y == 0.0 => {}
        2.0 => (0..n).for_each(|i| add(i, d * x(i) / y)),
        p if p.is_infinite() => {
            let is = |i: &usize| x(*i).abs() == y || (x(*i).is_nan() && y.is_nan());
            let share = d / (0..n).filter(is).count().max(1) as f64;
            (0..n).filter(is).for_each(|i| add(i, share * sign(x(i))));
        }
        p => (0..n).filter(|i| x(*i) != 0.0).for_each(|i| {
            add(i, d * sign(x(i)) * (x(i).abs() / y).powf(p - 1.0));
        }),
    }
}
