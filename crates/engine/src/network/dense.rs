//! Dense layers on rows: forward, backward along the rows, and the gradients of weight and bias over several batches.
//!
//! Owns: how such work is shared among threads without changing a bit. May not touch: what the layers are for.

use super::ops::add_column_sums;
use crate::device::gemm::{GRADIENT_ROWS, How, MatrixView, MatrixViewMut, multiply};
use crate::device::real::Real;
use clino_domain::Fault;
use rayon::prelude::*;

/// A weight [outputs, inputs] with its bias [outputs] behind it, by their first element.
#[derive(Debug, Clone, Copy)]
pub struct Dense {
    /// First element of the weight in the arena.
    pub at: usize,
    /// Length of a row of results.
    pub outputs: usize,
    /// Length of a row of inputs.
    pub inputs: usize,
}

impl Dense {
    /// Elements of weight and bias, which lie side by side.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.at..self.at + self.outputs * (self.inputs + 1)
    }

    fn weight<'a, T>(&self, w: &'a [T]) -> MatrixView<'a, T> {
        MatrixView::rows(&w[self.at..], (self.outputs, self.inputs), self.inputs)
    }

    /// Bias of the layer, one number per output.
    pub fn bias<'a, T>(&self, w: &'a [T]) -> &'a [T] {
        &w[self.at + self.outputs * self.inputs..][..self.outputs]
    }

    /// out [rows, outputs] = x [rows, inputs] times the transposed weight; without the bias.
    pub fn forward<T: Real>(&self, w: &[T], x: &[T], out: &mut [T], threads: usize) {
        let n = out.len() / self.outputs;
        let out = MatrixViewMut::rows(out, (n, self.outputs), self.outputs);
        let x = MatrixView::rows(x, (n, self.inputs), self.inputs);
        multiply(out, x, self.weight(w).t(), How { scale: T::ONE, add: false, threads });
    }

    /// dx [rows, inputs] = d [rows, outputs] times the weight.
    pub fn back<T: Real>(&self, w: &[T], d: &[T], dx: &mut [T], threads: usize) {
        self.product(w, d, dx, How { scale: T::ONE, add: false, threads });
    }

    /// The same, added to dx.
    pub fn add_back<T: Real>(&self, w: &[T], d: &[T], dx: &mut [T], threads: usize) {
        self.product(w, d, dx, How { scale: T::ONE, add: true, threads });
    }

    fn product<T: Real>(&self, w: &[T], d: &[T], dx: &mut [T], how: How<T>) {
        let n = d.len() / self.outputs;
        let dx = MatrixViewMut::rows(dx, (n, self.inputs), self.inputs);
        let d = MatrixView::rows(d, (n, self.outputs), self.outputs);
        multiply(dx, d, self.weight(w), how);
    }
}

/// One batch's share in the gradient of a dense layer: d [rows, outputs] and x [rows, inputs].
#[derive(Clone, Copy)]
pub struct GradientShare<'a, T> {
    /// Derivative along the results.
    pub d: &'a [T],
    /// Inputs of the layer.
    pub x: &'a [T],
}

/// The gradient of one dense layer in the making: its part of the gradient, and every batch's share in their order.
pub struct Gradient<'a, T> {
    /// Layer whose gradient is computed.
    pub dense: Dense,
    /// Gradients of weight and bias.
    pub target: &'a mut [T],
    /// One share of the gradient for each batch, in order.
    pub shares: Vec<GradientShare<'a, T>>,
}

/// Adds all shares of all layers, batch by batch, with pieces of weights side by side.
pub fn add_gradients<T: Real>(mut gradients: Vec<Gradient<'_, T>>, threads: usize) {
    let mut jobs = Vec::new();
    for Gradient { dense, target, shares } in &mut gradients {
        let (weight, bias) = target.split_at_mut(dense.outputs * dense.inputs);
        let pieces = weight.chunks_mut(GRADIENT_ROWS * dense.inputs).zip(bias.chunks_mut(GRADIENT_ROWS));
        jobs.extend(
            pieces.enumerate().map(|(i, (weight, bias))| (*dense, &*shares, i * GRADIENT_ROWS, weight, bias)),
        );
    }
    each(threads, jobs, |(dense, shares, first, weight, bias)| {
        for GradientShare { d, x } in shares {
            let n = x.len() / dense.inputs;
            add_column_sums(d, dense.outputs, first, bias);
            let d = MatrixView::rows(&d[first..], (n, bias.len()), dense.outputs);
            let x = MatrixView::rows(x, (n, dense.inputs), dense.inputs);
            let target = MatrixViewMut::rows(&mut *weight, (bias.len(), dense.inputs), dense.inputs);
            multiply(target, d.t(), x, How { scale: T::ONE, add: true, threads: 1 });
        }
    });
}

/// Does all `jobs`, side by side when there are several threads; one that fails ends the others that have not begun.
///
/// # Errors
/// That of one that failed.
pub fn try_each<J: Send>(
    threads: usize,
    jobs: Vec<J>,
    work: impl Fn(J) -> Result<(), Fault> + Sync + Send,
) -> Result<(), Fault> {
    match threads {
        0 | 1 => jobs.into_iter().try_for_each(work),
        _ => jobs.into_par_iter().try_for_each(work),
    }
}

/// Does all `jobs`, side by side when there are several threads.
fn each<J: Send>(threads: usize, jobs: Vec<J>, work: impl Fn(J) + Sync + Send) {
    match threads {
        0 | 1 => jobs.into_iter().for_each(work),
        _ => jobs.into_par_iter().for_each(work),
    }
}
