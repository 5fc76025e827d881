//! Walks over several tensors at once by strides.
//!
//! Owns: how axes are merged and rows are found. May not touch: what is done with elements.

use crate::parallel;

/// A walk over all indices of a shape, row by row, with a place in each of `N` tensors.
pub struct Walk<const N: usize> {
    /// Sizes of the axes before the last one.
    outer: Vec<usize>,
    /// Their strides in each tensor.
    strides: Vec<[isize; N]>,
    /// Elements of a row.
    pub len: usize,
    /// Strides along a row.
    pub step: [isize; N],
}

impl<const N: usize> Walk<N> {
    /// A walk over `shape` with strides in each tensor. Axes of size 1 go, and neighbours that lie evenly become one.
    pub fn new(shape: &[usize], strides: [&[isize]; N]) -> Self {
        let mut axes: Vec<(usize, [isize; N])> = Vec::new();
        for (i, size) in shape.iter().enumerate().filter(|(_, size)| **size != 1) {
            let stride = strides.map(|strides| strides[i]);
            match axes.last_mut() {
                Some((last, of)) if (0..N).all(|n| of[n] == stride[n] * *size as isize) => {
                    *last *= size;
                    *of = stride;
                }
                _ => axes.push((*size, stride)),
            }
        }
        let (len, step) = axes.pop().unwrap_or((1, [0; N]));
        let (outer, strides) = axes.into_iter().unzip();
        Self { outer, strides, len, step }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.outer.iter().product()
    }

    /// Calls `f` with each of `count` rows from `first` and where it begins in each tensor.
    pub fn each(&self, first: usize, count: usize, mut f: impl FnMut(usize, [isize; N])) {
        let mut index = vec![0usize; self.outer.len()];
        let mut at = [0isize; N];
        let mut rest = first;
        for (axis, size) in self.outer.iter().enumerate().rev() {
            index[axis] = rest % size.max(&1);
            rest /= size.max(&1);
            for (at, stride) in at.iter_mut().zip(self.strides[axis]) {
                *at += stride * index[axis] as isize;
            }
        }
        for row in first..first + count {
            f(row, at);
            for (axis, size) in self.outer.iter().enumerate().rev() {
                index[axis] += 1;
                let back = if index[axis] == *size { *size as isize } else { 0 };
                for (at, stride) in at.iter_mut().zip(self.strides[axis]) {
                    *at += stride * (1 - back);
                }
                if back == 0 {
                    break;
                }
                index[axis] = 0;
            }
        }
    }

    /// Calls `f` with each row of `out`, which is contiguous, and where the row begins in each tensor.
    pub fn fill<U: Send>(
        &self,
        threads: usize,
        out: &mut [U],
        f: impl Fn([isize; N], &mut [U]) + Sync + Send,
    ) {
        if self.len == 0 || out.is_empty() {
            return;
        }
        let rows = parallel::rows(self.len);
        parallel::pieces(threads, out, rows * self.len, |first, out| {
            let first = first / self.len;
            self.each(first, out.len() / self.len, |row, at| {
                f(at, &mut out[(row - first) * self.len..][..self.len]);
            });
        });
    }
}

/// A tensor inside another one's elements.
#[derive(Debug, Clone)]
pub struct Strided {
    /// Sizes of its axes.
    pub shape: Vec<usize>,
    /// Distances between neighbours; may be negative.
    pub strides: Vec<isize>,
    /// Place of the first element.
    pub offset: isize,
}

impl Strided {
    fn walk(&self) -> Walk<1> {
        Walk::new(&self.shape, [&self.strides])
    }

    /// Its elements, contiguous.
    pub fn read<U: Copy + Default + Send + Sync>(&self, threads: usize, x: &[U]) -> Vec<U> {
        let mut out = vec![U::default(); crate::shape::numel(&self.shape)];
        let walk = self.walk();
        let [step] = walk.step;
        walk.fill(threads, &mut out, |[at], out| {
            let at = at + self.offset;
            if step == 1 {
                out.copy_from_slice(&x[at as usize..][..out.len()]);
                return;
            }
            for (i, out) in out.iter_mut().enumerate() {
                *out = x[(at + i as isize * step) as usize];
            }
        });
        out
    }

    /// Adds contiguous elements to its own. No two of them may be the same one.
    pub fn add<T: Copy + std::ops::AddAssign>(&self, x: &[T], target: &mut [T]) {
        let walk = self.walk();
        if walk.len == 0 || x.is_empty() {
            return;
        }
        let [step] = walk.step;
        walk.each(0, walk.rows(), |row, [at]| {
            let at = at + self.offset;
            for (i, x) in x[row * walk.len..][..walk.len].iter().enumerate() {
                target[(at + i as isize * step) as usize] += *x;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_tensor_is_read_and_added_to() {
        let x: Vec<f64> = (0..6).map(f64::from).collect();
        let t = Strided { shape: vec![3, 2], strides: vec![1, 3], offset: 0 };
        assert_eq!(t.read(1, &x), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let mut target = vec![0.0; 6];
        t.add(&t.read(1, &x), &mut target);
        assert_eq!(target, x);
        let back = Strided { shape: vec![2, 2], strides: vec![3, -2], offset: 2 };
        assert_eq!(back.read(1, &x), [2.0, 0.0, 5.0, 3.0]);
    }

    #[test]
    fn a_walk_begins_anywhere() {
        let walk = Walk::new(&[2, 3, 2], [&[6, 1, 3]]);
        let mut all = Vec::new();
        walk.each(0, walk.rows(), |row, [at]| all.push((row, at)));
        for first in 0..all.len() {
            let mut rest = Vec::new();
            walk.each(first, all.len() - first, |row, [at]| rest.push((row, at)));
            assert_eq!(rest, all[first..]);
        }
    }
}
