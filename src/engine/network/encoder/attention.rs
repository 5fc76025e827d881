//! Attention of one layer over sequences of their own lengths.
//!
//! Owns: scores, softmax and context, forward and backward. May not touch: parameters.

use super::shape::Shape;
use crate::engine::device::real::Real;
use crate::engine::network::batch::{Sequence, Tokens};
use crate::engine::network::gemm::{How, View, ViewMut, multiply};
use crate::engine::network::ops::{softmax, softmax_back};

/// Sizes of the attention of one model.
#[derive(Clone, Copy)]
pub struct Attention {
    hidden: usize,
    heads: usize,
}

impl Attention {
    pub fn new(shape: &Shape) -> Self {
        Self { hidden: shape.hidden, heads: shape.heads }
    }

    /// Elements of all probability tables of a batch: heads * len² for each sequence.
    pub fn table(&self, tokens: &Tokens) -> usize {
        tokens.sequences.iter().map(|s| self.heads * s.len * s.len).sum()
    }

    fn width(&self) -> usize {
        self.hidden / self.heads
    }

    fn scale<T: Real>(&self) -> T {
        T::of(1.0 / (self.width() as f64).sqrt())
    }

    /// `qkv` [tokens, 3 * hidden] → `context` [tokens, hidden]; `tables` keeps the probabilities.
    pub fn forward<T: Real>(&self, qkv: &[T], tokens: &Tokens, tables: &mut [T], context: &mut [T]) {
        let (h, width) = (self.hidden, self.width());
        let mut tables = tables;
        for sequence in &tokens.sequences {
            let len = sequence.len;
            for head in 0..self.heads {
                let (table, rest) = std::mem::take(&mut tables).split_at_mut(len * len);
                tables = rest;
                let [q, k, v] = self.views(qkv, sequence, head);
                multiply(ViewMut::rows(table, (len, len), len), q, k.t(), once(self.scale()));
                for row in table.chunks_exact_mut(len) {
                    mask(row, sequence);
                    softmax(row);
                }
                let out = &mut context[sequence.start * h + head * width..];
                multiply(
                    ViewMut::rows(out, (len, width), h),
                    View::rows(table, (len, len), len),
                    v,
                    once(T::ONE),
                );
            }
        }
    }

    /// `d_context` [tokens, hidden] → `d_qkv` [tokens, 3 * hidden]; `scratch` holds one table.
    pub fn backward<T: Real>(
        &self,
        qkv: &[T],
        tokens: &Tokens,
        tables: &[T],
        d: (&[T], &mut [T], &mut Vec<T>),
    ) {
        let (h, width) = (self.hidden, self.width());
        let (d_context, d_qkv, scratch) = d;
        let mut tables = tables;
        for sequence in &tokens.sequences {
            let len = sequence.len;
            for head in 0..self.heads {
                let (p, rest) = tables.split_at(len * len);
                tables = rest;
                let [q, k, v] = self.views(qkv, sequence, head);
                let first = sequence.start * 3 * h + head * width;
                let out = View::rows(&d_context[sequence.start * h + head * width..], (len, width), h);
                let table = View::rows(p, (len, len), len);
                multiply(
                    ViewMut::rows(&mut d_qkv[first + 2 * h..], (len, width), 3 * h),
                    table.t(),
                    out,
                    once(T::ONE),
                );
                let d_p = super::super::sized(scratch, len * len);
                multiply(ViewMut::rows(d_p, (len, len), len), out, v.t(), once(T::ONE));
                for (d_row, row) in d_p.chunks_exact_mut(len).zip(p.chunks_exact(len)) {
                    softmax_back(d_row, row);
                }
                let d_p = View::rows(d_p, (len, len), len);
                let how = once(self.scale());
                multiply(ViewMut::rows(&mut d_qkv[first..], (len, width), 3 * h), d_p, k, how);
                multiply(ViewMut::rows(&mut d_qkv[first + h..], (len, width), 3 * h), d_p.t(), q, how);
            }
        }
    }

    fn views<'a, T: Real>(&self, qkv: &'a [T], sequence: &Sequence, head: usize) -> [View<'a, T>; 3] {
        let (h, width) = (self.hidden, self.width());
        let first = sequence.start * 3 * h + head * width;
        [0, h, 2 * h].map(|part| View::rows(&qkv[first + part..], (sequence.len, width), 3 * h))
    }
}

/// One small product: it never pays to split it.
fn once<T: Real>(scale: T) -> How<T> {
    How { scale, add: false, threads: 1 }
}

fn mask<T: Real>(row: &mut [T], sequence: &Sequence) {
    for (score, masked) in row.iter_mut().zip(&sequence.masked) {
        if *masked {
            *score += T::MASKED;
        }
    }
}
