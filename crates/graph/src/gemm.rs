//! Matrix products on views of slices.
//!
//! Owns: the one unsafe call, behind checked views. May not touch: what the matrices mean.
#![allow(unsafe_code)]

use crate::real::Real;

/// A matrix inside a slice: element (i, j) lies at `i * rows_stride + j * columns_stride`.
#[derive(Clone, Copy)]
pub struct MatrixView<'a, T> {
    data: &'a [T],
    shape: (usize, usize),
    strides: (usize, usize),
}

/// A matrix inside a slice, to be written.
pub struct MatrixViewMut<'a, T> {
    data: &'a mut [T],
    shape: (usize, usize),
    strides: (usize, usize),
}

fn fits(len: usize, shape: (usize, usize), strides: (usize, usize)) -> bool {
    shape.0 == 0 || shape.1 == 0 || (shape.0 - 1) * strides.0 + (shape.1 - 1) * strides.1 < len
}

impl<'a, T> MatrixView<'a, T> {
    /// Row-major `rows` x `columns`, rows `stride` elements apart.
    ///
    /// # Panics
    /// When the slice is too short.
    pub fn rows(data: &'a [T], shape: (usize, usize), stride: usize) -> Self {
        assert!(fits(data.len(), shape, (stride, 1)), "a view must lie inside its slice");
        Self { data, shape, strides: (stride, 1) }
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// The same matrix, transposed.
    pub fn t(self) -> Self {
        Self {
            data: self.data,
            shape: (self.shape.1, self.shape.0),
            strides: (self.strides.1, self.strides.0),
        }
    }
}

impl<'a, T> MatrixViewMut<'a, T> {
    /// Row-major `rows` x `columns`, rows `stride` elements apart.
    ///
    /// # Panics
    /// When the slice is too short, or rows overlap.
    pub fn rows(data: &'a mut [T], shape: (usize, usize), stride: usize) -> Self {
        assert!(fits(data.len(), shape, (stride, 1)), "a view must lie inside its slice");
        assert!(stride >= shape.1, "rows of a target may not overlap");
        Self { data, shape, strides: (stride, 1) }
    }
}

/// How a product is made.
#[derive(Clone, Copy)]
pub struct How<T> {
    /// Factor of the product.
    pub scale: T,
    /// Whether it is added to the target or replaces it.
    pub add: bool,
    /// Threads that one product may use; the result does not depend on it.
    pub threads: usize,
}

/// target = [target +] scale * a b.
///
/// # Panics
/// When the shapes do not fit.
pub fn multiply<T: Real>(
    target: MatrixViewMut<'_, T>,
    a: MatrixView<'_, T>,
    b: MatrixView<'_, T>,
    how: How<T>,
) {
    let (m, n) = target.shape;
    let k = a.shape.1;
    assert!(a.shape.0 == m && b.shape == (k, n), "shapes of a product must fit");
    if m == 0 || n == 0 {
        return;
    }
    let parallelism = match how.threads {
        0 | 1 => gemm::Parallelism::None,
        threads => gemm::Parallelism::Rayon(threads),
    };
    // SAFETY: `MatrixView` and `MatrixViewMut` are only made when every element (i, j) of their shape lies inside their slice,
    // and `gemm` reads and writes no others; the target is borrowed mutably, so nothing aliases it.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            target.data.as_mut_ptr(),
            target.strides.1 as isize,
            target.strides.0 as isize,
            how.add,
            a.data.as_ptr(),
            a.strides.1 as isize,
            a.strides.0 as isize,
            b.data.as_ptr(),
            b.strides.1 as isize,
            b.strides.0 as isize,
            T::ONE,
            how.scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Terms of a product that are packed at once, most, and bytes of a column of packed rows, most: what `gemm` 0.19 takes
/// with the widest vectors that it knows, in tiles of 64 f32. It packs for itself in memory of its own for each call.
const TERMS: usize = 512;
const PACKED: usize = 16 * TILE * size_of::<f32>();
/// Rows of the widest tile.
const TILE: usize = 64;
/// Rows of a weight whose gradient is one product: fixed, so that it does not depend on the number of threads.
pub const GRADIENT_ROWS: usize = 256;

/// Bytes of so many packed rows of a product of `terms`.
pub fn packed(terms: usize, rows: usize, size: usize) -> f64 {
    (terms.min(TERMS) * size) as f64 * (rows + TILE) as f64
}

/// Bytes that products lay by while they are made, at most: of `[m, k] x [k, n]` and of the one that goes back through it,
/// and on each thread, of pieces of the gradient of `[k, n]`.
pub fn scratch([m, n, k]: [usize; 3], size: usize) -> [f64; 2] {
    // The longer operand is packed whole where that is short, the other one where it is very long.
    let either = |long: usize, short: usize, terms: usize| match long * size {
        bytes if bytes <= PACKED => packed(terms, long, size),
        bytes if bytes <= 8 * PACKED => 0.0,
        _ => packed(terms, short, size),
    };
    let even = k.is_multiple_of(16);
    let gradient = packed(m, n.min(GRADIENT_ROWS), size) + if even { 0.0 } else { either(k, 0, m) };
    let back = if even && k * size <= 8 * PACKED { 0.0 } else { either(k, m, n) };
    [either(n, m, k).max(back), gradient]
}

/// Has this thread take the memory that all its products share, before anybody counts.
pub fn warm() {
    const LONG: usize = 2048;
    let mut out = vec![0f32; 4 * LONG];
    let a = vec![1f32; 4 * 4];
    let b = vec![1f32; 4 * LONG];
    let how = How { scale: 1.0, add: false, threads: 1 };
    let a = MatrixView::rows(&a, (4, 4), 4);
    multiply(MatrixViewMut::rows(&mut out, (4, LONG), LONG), a, MatrixView::rows(&b, (4, LONG), LONG), how);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(i: usize) -> f64 {
        ((i * 7919) % 101) as f64 / 50.0 - 1.0
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition((m, n, k) in (0usize..9, 0usize..9, 0usize..9), add: bool, gap in 0usize..3) {
            let a: Vec<f64> = (0..k * m).map(number).collect();
            let b: Vec<f64> = (0..k * n).map(|i| number(i + 31)).collect();
            let before: Vec<f64> = (0..m * (n + gap)).map(|i| number(i + 57)).collect();
            let mut got = before.clone();
            let how = How { scale: 0.5, add, threads: 1 };
            let a_t = MatrixView::rows(&a, (k, m), m).t();
            let b_view = MatrixView::rows(&b, (k, n), n);
            multiply(MatrixViewMut::rows(&mut got, (m, n), n + gap), a_t, b_view, how);
            for i in 0..m {
                for j in 0..n {
                    let product: f64 = (0..k).map(|l| a[l * m + i] * b[l * n + j]).sum();
                    let want = 0.5 * product + if add { before[i * (n + gap) + j] } else { 0.0 };
                    prop_assert!((got[i * (n + gap) + j] - want).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let m = 257;
        let n = 190;
        let k = 301;
        let a: Vec<f32> = (0..m * k).map(|i| number(i) as f32).collect();
        let b: Vec<f32> = (0..k * n).map(|i| number(i + 3) as f32).collect();
        let with = |threads| {
            let mut out = vec![0f32; m * n];
            let how = How { scale: 1.0, add: false, threads };
            multiply(
                MatrixViewMut::rows(&mut out, (m, n), n),
                MatrixView::rows(&a, (m, k), k),
                MatrixView::rows(&b, (k, n), n),
                how,
            );
            out
        };
        let one = with(1);
        for threads in [2, 3, 4, 8] {
            assert!(one == with(threads), "{threads} threads give other bits");
        }
    }
}
