//! Matrix products and what they lay by.
//!
//! Owns: short names for products of row-major matrices, and what their reverses read. May not touch: operators.

use crate::gemm::{self, How, MatrixView, MatrixViewMut};
use crate::operation::Read;
use crate::real::Real;

/// A row-major matrix, or the transpose of one.
pub fn matrix<T: Real>(data: &[T], rows: usize, columns: usize) -> MatrixView<'_, T> {
    MatrixView::rows(data, (rows, columns), columns)
}

/// target [m, n] = or += a b.
pub fn multiply<T: Real>(target: &mut [T], a: MatrixView<'_, T>, b: MatrixView<'_, T>, how: How<T>) {
    let m = a.shape().0;
    let n = b.shape().1;
    gemm::multiply(MatrixViewMut::rows(target, (m, n), n), a, b, how);
}

/// A product that replaces its target.
pub fn set<T: Real>(threads: usize) -> How<T> {
    How { scale: T::ONE, add: false, threads }
}

/// A product that is added to its target.
pub fn add<T: Real>(threads: usize) -> How<T> {
    How { scale: T::ONE, add: true, threads }
}

/// Whether the reverse of a product of operands 0 and 1 reads one: each for the derivative along the other.
pub fn reads(what: Read, wants: &dyn Fn(usize) -> bool) -> bool {
    match what {
        Read::Operand(0) => wants(1),
        Read::Operand(1) => wants(0),
        _ => false,
    }
}

/// Bytes that a product [m, k] x [k, n] lays by, at most.
pub fn scratch(m: usize, n: usize, k: usize, size: usize) -> usize {
    let [forward, back] = gemm::scratch([m, n, k], size);
    forward.max(back) as usize
}
