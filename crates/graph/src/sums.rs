//! Sums whose order is fixed, in f64 whatever is summed.
//!
//! Owns: in which order terms are added. May not touch: what they mean.

use crate::parallel;
use crate::real::Real;
use crate::shape::{broadcast_strides, numel, strides};
use crate::walk::Walk;

/// Partial sums side by side, so that they are made with vectors.
const LANES: usize = 8;

/// The sum of `f` of all elements.
pub fn sum_of<T: Real>(x: &[T], f: impl Fn(f64) -> f64) -> f64 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x.wide());
        }
    }
    let tail: f64 = rest.iter().map(|x| f(x.wide())).sum();
    lanes.iter().sum::<f64>() + tail
}

/// The sum of all elements.
pub fn sum<T: Real>(x: &[T]) -> f64 {
    sum_of(x, |x| x)
}

/// The sum of products of elements.
pub fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    let n = a.len().min(b.len());
    let (of_a, rest_a) = a[..n].as_chunks::<LANES>();
    let (of_b, rest_b) = b[..n].as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in of_a.iter().zip(of_b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a.wide() * b.wide();
        }
    }
    let tail: f64 = rest_a.iter().zip(rest_b).map(|(a, b)| a.wide() * b.wide()).sum();
    lanes.iter().sum::<f64>() + tail
}

/// Columns whose sums one job makes.
const COLUMNS: usize = 256;

/// Adds to `target` the sums over rows of `f(row, column)`, for `rows` rows of `target.len()` columns.
pub fn add_columns<T: Real>(
    threads: usize,
    target: &mut [T],
    rows: usize,
    f: impl Fn(usize, usize) -> f64 + Sync + Send,
) {
    parallel::pieces(threads, target, COLUMNS, |first, target| {
        let mut sums = [0.0; COLUMNS];
        for row in 0..rows {
            for (i, sum) in sums[..target.len()].iter_mut().enumerate() {
                *sum += f(row, first + i);
            }
        }
        for (target, sum) in target.iter_mut().zip(sums) {
            *target += T::of(sum);
        }
    });
}

/// Adds `x` of shape `shape` to `target`, which broadcasts to it: repeated elements are summed.
pub fn add_broadcast<T: Real>(threads: usize, x: &[T], shape: &[usize], target: &mut [T], own: &[usize]) {
    if x.len() == target.len() {
        return parallel::add(threads, target, x);
    }
    let walk = Walk::new(shape, [&strides(shape), &broadcast_strides(own, shape)]);
    if x.is_empty() || target.is_empty() {
        return;
    }
    let [_, step] = walk.step;
    if step == 1 && walk.len == target.len() {
        let rows = x.len() / walk.len;
        return add_columns(threads, target, rows, |row, column| x[row * walk.len + column].wide());
    }
    let mut sums = vec![0.0; target.len()];
    walk.each(0, walk.rows(), |_, [from, to]| {
        let x = &x[from as usize..][..walk.len];
        let to = to as usize;
        if step == 0 {
            sums[to] += sum(x);
            return;
        }
        for (i, x) in x.iter().enumerate() {
            sums[to + i * step as usize] += x.wide();
        }
    });
    for (target, sum) in target.iter_mut().zip(sums) {
        *target += T::of(sum);
    }
}

/// Bytes that [`add_broadcast`] lays by.
pub fn scratch(shape: &[usize], own: &[usize]) -> usize {
    match numel(shape) == numel(own) {
        true => 0,
        false => numel(own).saturating_mul(size_of::<f64>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_elements_are_summed() {
        let x: Vec<f32> = (0..24).map(|i| i as f32).collect();
        for own in [[1, 1, 1], [2, 1, 1], [1, 3, 1], [1, 1, 4], [2, 1, 4], [1, 3, 4], [2, 3, 1], [2, 3, 4]] {
            let mut target = vec![0.5f32; numel(&own)];
            add_broadcast(1, &x, &[2, 3, 4], &mut target, &own);
            let mut expected = vec![0.5f32; numel(&own)];
            let at = broadcast_strides(&own, &[2, 3, 4]);
            for (i, x) in x.iter().enumerate() {
                let index = [i / 12, i / 4 % 3, i % 4];
                let place: isize = index.iter().zip(&at).map(|(i, stride)| *i as isize * stride).sum();
                expected[place as usize] += x;
            }
            assert_eq!(target, expected, "{own:?}");
        }
    }
}
