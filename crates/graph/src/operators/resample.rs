//! Weighted sums along spatial axes, one axis after the other: what UPSAMPLE and the means of POOL share.
//!
//! Owns: how taps are applied and reversed. May not touch: which taps there are.

use crate::parallel;
use crate::real::Real;
use crate::shape::{around, numel};

/// Elements and weights of each element of the result, along one axis.
pub type Taps = Vec<Vec<(usize, f64)>>;

/// Shapes before and behind each axis: the axes are applied from the first to the last.
fn stages(x: &[usize], taps: &[Taps]) -> Vec<Vec<usize>> {
    let mut shapes = vec![x.to_vec()];
    for (i, taps) in taps.iter().enumerate() {
        let mut shape = shapes[i].clone();
        shape[2 + i] = taps.len();
        shapes.push(shape);
    }
    shapes
}

/// x [batch, channels, spatial...] → the result.
pub fn forward<T: Real>(threads: usize, x: &[T], shape: &[usize], taps: &[Taps]) -> Vec<T> {
    let stages = stages(shape, taps);
    let mut now: Option<Vec<T>> = None;
    for (i, taps) in taps.iter().enumerate() {
        let [_, size, inner] = around(&stages[i], 2 + i);
        let mut next = vec![T::ZERO; numel(&stages[i + 1])];
        let from = now.as_deref().unwrap_or(x);
        let block = taps.len() * inner;
        parallel::pieces(threads, &mut next, block, |first, out| {
            let x = &from[first / block.max(1) * size * inner..][..size * inner];
            for (out, taps) in out.chunks_mut(inner).zip(taps) {
                for (j, out) in out.iter_mut().enumerate() {
                    *out = T::of(taps.iter().map(|(at, weight)| x[at * inner + j].wide() * weight).sum());
                }
            }
        });
        now = Some(next);
    }
    now.unwrap_or_else(|| x.to_vec())
}

/// Adds the derivatives along x.
pub fn backward<T: Real>(threads: usize, d: &[T], target: &mut [T], shape: &[usize], taps: &[Taps]) {
    let stages = stages(shape, taps);
    let mut now: Option<Vec<T>> = None;
    for (i, taps) in taps.iter().enumerate().rev() {
        let [_, size, inner] = around(&stages[i], 2 + i);
        let from = now.as_deref().unwrap_or(d);
        let work = |first: usize, out: &mut [T]| {
            let d = &from[first / (size * inner).max(1) * taps.len() * inner..][..taps.len() * inner];
            for (taps, d) in taps.iter().zip(d.chunks(inner.max(1))) {
                for (at, weight) in taps {
                    for (out, d) in out[at * inner..][..inner].iter_mut().zip(d) {
                        *out += T::of(d.wide() * weight);
                    }
                }
            }
        };
        if i == 0 {
            return parallel::pieces(threads, target, size * inner, work);
        }
        let mut next = vec![T::ZERO; numel(&stages[i])];
        parallel::pieces(threads, &mut next, size * inner, work);
        now = Some(next);
    }
    parallel::add(threads, target, d);
}

/// Bytes of what lies between the axes and of the taps, for a result `out`.
pub fn scratch(x: &[usize], out: &[usize], size: usize, taps: usize) -> usize {
    let between = |i: usize| numel(&[&out[..2 + i], &x[2 + i..]].concat());
    let axes = x.len().saturating_sub(2);
    let stages: usize = (1..axes).map(between).fold(0, usize::saturating_add);
    let lists: usize = out[2..].iter().map(|n| n * (size_of::<Vec<(usize, f64)>>() + taps * 16)).sum();
    stages.saturating_mul(size) + lists
}
