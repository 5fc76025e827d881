//! One encoder layer: attention, residual, LayerNorm, feed-forward, residual, LayerNorm.
//!
//! Owns: its activations, forward and backward, for one batch on one thread. May not touch: embeddings, the classifier,
//! gradients of weights (which all batches add to).

use super::attention::Attention;
use super::shape::{LayerPlaces, Shape};
use crate::device::real::Real;
use crate::network::batch::{Extent, Tokens};
use crate::network::dense::GradientShare;
use crate::network::ops::{Norm, Normed, add_bias, multiply_by};
use crate::network::sized;
use clino_domain::Checkpoint;

/// What a layer computes with: its parameters and the batch.
#[derive(Clone, Copy)]
pub struct Context<'a, T> {
    pub shape: &'a Shape,
    pub w: &'a [T],
    pub tokens: &'a Tokens,
    /// That each product may use.
    pub threads: usize,
    /// Whether a backward follows, which needs what a forward then keeps.
    pub keep: bool,
    /// Asked between layers.
    pub stop: &'a dyn Checkpoint,
}

impl<'a, T: Real> Context<'a, T> {
    /// The LayerNorm whose gain and shift lie at `place`.
    pub fn norm(&self, place: usize) -> Norm<'a, T> {
        let (gain, shift) = self.w[place..place + 2 * self.shape.hidden].split_at(self.shape.hidden);
        Norm { gain, shift, epsilon: T::of(self.shape.epsilon) }
    }
}

/// One layer of a stack.
#[derive(Clone, Copy)]
pub struct LayerPosition<'a> {
    pub places: &'a LayerPlaces,
    /// The last layer works out the first token of each sequence only: no other is read from it.
    pub last: bool,
}

impl LayerPosition<'_> {
    /// Rows that the layer gives.
    pub fn rows(&self, tokens: &Tokens) -> usize {
        if self.last { tokens.sequences.len() } else { tokens.ids.len() }
    }
}

/// Activations of one layer. `rows` are the tokens, or the first tokens in the last layer.
#[derive(Default)]
pub struct Layer<T> {
    /// Queries, keys and values, [tokens, 3 hidden].
    qkv: Vec<T>,
    tables: Vec<T>,
    /// Input of the first tokens, in the last layer.
    first: Vec<T>,
    /// [rows, hidden], as are the others without another remark.
    context: Vec<T>,
    normed1: Vec<T>,
    rstd1: Vec<T>,
    x1: Vec<T>,
    /// Values of the inner layer, [rows, inner].
    inner: Vec<T>,
    slopes: Vec<T>,
    normed2: Vec<T>,
    rstd2: Vec<T>,
}

/// Scratch of the backward pass, shared by all layers.
#[derive(Default)]
pub struct LayerScratch<T> {
    d_context: Vec<T>,
    /// Gradient of `qkv`, [tokens, 3 hidden].
    d_qkv: Vec<T>,
    /// Gradient of `inner`, [rows, inner].
    d_inner: Vec<T>,
    table: Vec<T>,
    /// Gradients of all tokens, [tokens, hidden].
    wide: Vec<T>,
    /// Gradients of gain and shift of both LayerNorms [2, 2 hidden].
    pub norms: Vec<T>,
}

/// Elements of the buffers of a [`Layer`], each once it has been used.
#[derive(Default, Clone, Copy)]
pub struct LayerElements([f64; 11]);

impl LayerElements {
    /// Of a layer that is used as either.
    pub fn union(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].max(other.0[i])))
    }

    /// Of all of them.
    pub fn sum(&self) -> f64 {
        self.0.iter().sum()
    }
}

/// Those of [`Layer`], for the last layer or another one; with `keep`, those of a forward that a backward follows.
pub fn elements(shape: &Shape, extent: Extent, last: bool, keep: bool) -> LayerElements {
    let [n, e, h] = [extent.tokens, extent.examples, shape.hidden].map(|count| count as f64);
    let heads = shape.heads as f64;
    let rows = if last { e } else { n };
    let qkv = 3.0 * n * h;
    let tables = heads * if last { n } else { extent.pairs as f64 };
    let first = if last { rows * h } else { 0.0 };
    let inner = rows * shape.inner as f64;
    let slopes = if keep { inner } else { 0.0 };
    let [context, normed1, x1, normed2] = [rows * h; 4];
    LayerElements([qkv, tables, first, context, normed1, rows, x1, inner, slopes, normed2, rows])
}

/// Elements of [`LayerScratch`] but for `wide`.
pub fn scratch(shape: &Shape, extent: Extent) -> f64 {
    let [n, e, h] = [extent.tokens, extent.examples, shape.hidden].map(|count| count as f64);
    let longest = extent.longest as f64;
    let (rows, table) = if shape.layers > 1 { (n, longest * longest) } else { (e, longest) };
    rows * h + 3.0 * n * h + rows * shape.inner as f64 + table + 4.0 * h
}

/// Of one batch in one layer.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Tokens of its sequences.
    pub tokens: usize,
    /// Rows of results: tokens, or in the last layer sequences.
    pub rows: usize,
}

impl<T: Real> Layer<T> {
    /// `input` [tokens, hidden] → `output` [rows, hidden]; keeps what [`Layer::backward`] needs where the context says so.
    pub fn forward(&mut self, cx: Context<'_, T>, place: LayerPosition<'_>, input: &[T], output: &mut [T]) {
        let h = cx.shape.hidden;
        let at = place.places;
        let threads = cx.threads;
        let n = cx.tokens.ids.len();
        let rows = place.rows(cx.tokens);
        let qkv = sized(&mut self.qkv, n * 3 * h);
        at.qkv.forward(cx.w, input, qkv, threads);
        add_bias(qkv, at.qkv.bias(cx.w));
        let attention = Attention::new(cx.shape, cx.tokens, place.last);
        let context = sized(&mut self.context, rows * h);
        attention.forward(qkv, sized(&mut self.tables, attention.table()), context);

        let normed1 = sized(&mut self.normed1, rows * h);
        at.output.forward(cx.w, context, normed1, threads);
        let x1 = sized(&mut self.x1, rows * h);
        let residual =
            if place.last { first_rows(input, cx.tokens, sized(&mut self.first, rows * h)) } else { input };
        let added = Some((at.output.bias(cx.w), residual));
        cx.norm(at.norm1).apply(normed1, added, x1, sized(&mut self.rstd1, rows));

        let hidden = sized(&mut self.inner, rows * cx.shape.inner);
        at.inner.forward(cx.w, x1, hidden, threads);
        let slopes = cx.keep.then(|| sized(&mut self.slopes, rows * cx.shape.inner));
        cx.shape.activation.apply(hidden, at.inner.bias(cx.w), slopes);
        let normed2 = sized(&mut self.normed2, rows * h);
        at.outer.forward(cx.w, hidden, normed2, threads);
        let added = Some((at.outer.bias(cx.w), &*x1));
        cx.norm(at.norm2).apply(normed2, added, output, sized(&mut self.rstd2, rows));
    }

    /// `d` goes from the gradient of the output [rows, hidden] to that of the input [tokens, hidden]; what the gradients
    /// of the weights need stays in `normed1`, `normed2` and the scratch.
    pub fn backward(
        &mut self,
        cx: Context<'_, T>,
        place: LayerPosition<'_>,
        d: &mut Vec<T>,
        s: &mut LayerScratch<T>,
    ) {
        let h = cx.shape.hidden;
        let inner = cx.shape.inner;
        let at = place.places;
        let threads = cx.threads;
        let n = cx.tokens.ids.len();
        let rows = place.rows(cx.tokens);
        let norms = sized(&mut s.norms, 4 * h);
        norms.fill(T::ZERO);
        let (norms1, norms2) = norms.split_at_mut(2 * h);
        let rows_of_d = &mut d[..rows * h];
        let saved = Normed { rows: &mut self.normed2[..rows * h], rstd: &self.rstd2[..rows] };
        cx.norm(at.norm2).back(rows_of_d, saved, norms2);
        let d_inner = sized(&mut s.d_inner, rows * inner);
        at.outer.back(cx.w, rows_of_d, d_inner, threads);
        multiply_by(d_inner, &self.slopes[..rows * inner]);
        // The residual: the gradient along x1 is the one through the feed-forward added to `d`.
        at.inner.add_back(cx.w, d_inner, rows_of_d, threads);

        let saved = Normed { rows: &mut self.normed1[..rows * h], rstd: &self.rstd1[..rows] };
        cx.norm(at.norm1).back(rows_of_d, saved, norms1);
        let d_context = sized(&mut s.d_context, rows * h);
        at.output.back(cx.w, rows_of_d, d_context, threads);
        let d_qkv = sized(&mut s.d_qkv, n * 3 * h);
        let attention = Attention::new(cx.shape, cx.tokens, place.last);
        attention.backward(&self.qkv[..n * 3 * h], &self.tables, (d_context, d_qkv, &mut s.table));
        if place.last {
            spread_rows(rows_of_d, cx.tokens, sized(&mut s.wide, n * h));
            std::mem::swap(d, &mut s.wide);
        }
        at.qkv.add_back(cx.w, d_qkv, &mut d[..n * h], threads);
    }

    /// This batch's shares in the gradients of the weights of query, key and value, output, inner, outer.
    pub fn shares<'a>(
        &'a self,
        shape: &Shape,
        counts: Counts,
        input: &'a [T],
        s: &'a LayerScratch<T>,
    ) -> [GradientShare<'a, T>; 4] {
        let Counts { tokens: n, rows } = counts;
        let h = shape.hidden;
        let inner = shape.inner;
        [
            GradientShare { d: &s.d_qkv[..n * 3 * h], x: &input[..n * h] },
            GradientShare { d: &self.normed1[..rows * h], x: &self.context[..rows * h] },
            GradientShare { d: &s.d_inner[..rows * inner], x: &self.x1[..rows * h] },
            GradientShare { d: &self.normed2[..rows * h], x: &self.inner[..rows * inner] },
        ]
    }
}

/// Copies the rows of first tokens to `out` [sequences, hidden].
fn first_rows<'a, T: Real>(rows: &[T], tokens: &Tokens, out: &'a mut [T]) -> &'a [T] {
    let h = out.len() / tokens.sequences.len();
    for (out, sequence) in out.chunks_exact_mut(h).zip(&tokens.sequences) {
        out.copy_from_slice(&rows[sequence.start * h..][..h]);
    }
    out
}

/// Copies the rows of first tokens to where they are among all tokens, with zeros between.
fn spread_rows<T: Real>(rows: &[T], tokens: &Tokens, all: &mut [T]) {
    all.fill(T::ZERO);
    let h = all.len() / tokens.ids.len();
    for (row, sequence) in rows.chunks_exact(h).zip(&tokens.sequences) {
        all[sequence.start * h..][..h].copy_from_slice(row);
    }
}

#[cfg(test)]
impl<T> Layer<T> {
    /// Elements that there is room for.
    pub fn room(&self) -> usize {
        let Self { qkv, tables, first, context, normed1, rstd1, x1, inner, slopes, normed2, rstd2 } = self;
        let all = [qkv, tables, first, context, normed1, rstd1, x1, inner, slopes, normed2, rstd2];
        all.map(Vec::capacity).iter().sum()
    }
}

#[cfg(test)]
impl<T> LayerScratch<T> {
    /// Elements that there is room for.
    pub fn room(&self) -> usize {
        let Self { d_context, d_qkv, d_inner, table, wide, norms } = self;
        [d_context, d_qkv, d_inner, table, wide, norms].map(Vec::capacity).iter().sum()
    }
}
