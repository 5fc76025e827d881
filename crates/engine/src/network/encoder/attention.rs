//! Attention of one layer over sequences of their own lengths.
//!
//! Owns: scores, softmax and context, forward and backward. May not touch: parameters.

use super::shape::Shape;
use crate::device::gemm::{How, MatrixView, MatrixViewMut, multiply};
use crate::device::real::Real;
use crate::network::batch::{Sequence, Tokens};
use crate::network::ops::{softmax, softmax_back};
use crate::network::sized;

/// Attention over the sequences of one batch.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    hidden: usize,
    heads: usize,
    tokens: &'a Tokens,
    /// Whether only the first token of each sequence asks: the classifier reads no other from the last layer.
    first_only: bool,
}

/// One head of one sequence.
struct Head {
    /// Tokens of the sequence.
    len: usize,
    /// Number of tokens that have queries: all, or the first one in the last layer.
    asking: usize,
    /// First element of the queries among qkv.
    qkv: usize,
    /// First element among the rows of the context.
    context: usize,
}

impl<'a> Attention<'a> {
    pub fn new(shape: &Shape, tokens: &'a Tokens, first_only: bool) -> Self {
        Self { hidden: shape.hidden, heads: shape.heads, tokens, first_only }
    }

    /// Elements of all probability tables of the batch: heads * asking * len for each sequence.
    pub fn table(&self) -> usize {
        self.tokens.sequences.iter().map(|s| self.heads * self.asking(s) * s.len).sum()
    }

    fn asking(&self, sequence: &Sequence) -> usize {
        if self.first_only { 1 } else { sequence.len }
    }

    fn width(&self) -> usize {
        self.hidden / self.heads
    }

    fn scale<T: Real>(&self) -> T {
        T::of(1.0 / (self.width() as f64).sqrt())
    }

    fn head(&self, i: usize, sequence: &Sequence, head: usize) -> Head {
        let row = if self.first_only { i } else { sequence.start };
        Head {
            len: sequence.len,
            asking: self.asking(sequence),
            qkv: sequence.start * 3 * self.hidden + head * self.width(),
            context: row * self.hidden + head * self.width(),
        }
    }

    /// Queries [asking, width], keys and values [len, width].
    fn views<'d, T: Real>(&self, qkv: &'d [T], head: &Head) -> [MatrixView<'d, T>; 3] {
        let h = self.hidden;
        let width = self.width();
        let part = |i: usize, rows| MatrixView::rows(&qkv[head.qkv + i * h..], (rows, width), 3 * h);
        [part(0, head.asking), part(1, head.len), part(2, head.len)]
    }

    /// `qkv` [tokens, 3 * hidden] → `context` [tokens that ask, hidden]; `tables` keeps the probabilities.
    pub fn forward<T: Real>(&self, qkv: &[T], tables: &mut [T], context: &mut [T]) {
        let h = self.hidden;
        let width = self.width();
        let mut tables = tables;
        for (i, sequence) in self.tokens.sequences.iter().enumerate() {
            for head in (0..self.heads).map(|head| self.head(i, sequence, head)) {
                let shape = (head.asking, head.len);
                let (table, rest) = std::mem::take(&mut tables).split_at_mut(shape.0 * shape.1);
                tables = rest;
                let [q, k, v] = self.views(qkv, &head);
                multiply(MatrixViewMut::rows(table, shape, head.len), q, k.t(), once(self.scale()));
                if !sequence.masked.is_empty() {
                    table.chunks_exact_mut(head.len).for_each(|row| mask(row, sequence));
                }
                softmax(table, head.len);
                let out = MatrixViewMut::rows(&mut context[head.context..], (head.asking, width), h);
                multiply(out, MatrixView::rows(table, shape, head.len), v, once(T::ONE));
            }
        }
    }

    /// `d_context` [tokens that ask, hidden] → `d_qkv` [tokens, 3 * hidden]; `scratch` holds one table.
    pub fn backward<T: Real>(&self, qkv: &[T], tables: &[T], d: (&[T], &mut [T], &mut Vec<T>)) {
        let h = self.hidden;
        let width = self.width();
        let (d_context, d_qkv, scratch) = d;
        if self.first_only {
            d_qkv.fill(T::ZERO);
        }
        let mut tables = tables;
        for (i, sequence) in self.tokens.sequences.iter().enumerate() {
            for head in (0..self.heads).map(|head| self.head(i, sequence, head)) {
                let shape = (head.asking, head.len);
                let (p, rest) = tables.split_at(shape.0 * shape.1);
                tables = rest;
                let [q, k, v] = self.views(qkv, &head);
                let out = MatrixView::rows(&d_context[head.context..], (head.asking, width), h);
                let d_p = sized(scratch, shape.0 * shape.1);
                multiply(MatrixViewMut::rows(d_p, shape, head.len), out, v.t(), once(T::ONE));
                softmax_back(d_p, p, head.len);
                let p = MatrixView::rows(p, shape, head.len);
                let d_p = MatrixView::rows(d_p, shape, head.len);
                let mut part = |i: usize, rows, a: MatrixView<'_, T>, b, scale| {
                    let target = MatrixViewMut::rows(&mut d_qkv[head.qkv + i * h..], (rows, width), 3 * h);
                    multiply(target, a, b, once(scale));
                };
                part(0, head.asking, d_p, k, self.scale());
                part(1, head.len, d_p.t(), q, self.scale());
                part(2, head.len, p.t(), out, T::ONE);
            }
        }
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
