//! One encoder layer: attention, residual, LayerNorm, feed-forward, residual, LayerNorm.
//!
//! Owns: its activations, forward and backward. May not touch: embeddings, the classifier.

use super::attention::Attention;
use super::shape::{LayerPlaces, Shape};
use crate::engine::device::real::Real;
use crate::engine::network::batch::Tokens;
use crate::engine::network::gemm::{How, View, ViewMut, multiply};
use crate::engine::network::ops::{Norm, add_bias, add_column_sums, multiply_by};
use crate::engine::network::sized;

/// What a layer computes with: its parameters and the batch.
#[derive(Clone, Copy)]
pub struct Context<'a, T> {
    pub shape: &'a Shape,
    pub places: &'a LayerPlaces,
    pub w: &'a [T],
    pub tokens: &'a Tokens,
    pub threads: usize,
}

impl<'a, T: Real> Context<'a, T> {
    fn count(&self) -> usize {
        self.tokens.ids.len()
    }

    fn vector(&self, at: usize, len: usize) -> &'a [T] {
        &self.w[at..at + len]
    }

    fn norm(&self, places: [usize; 2]) -> Norm<'a, T> {
        let h = self.shape.hidden;
        let [gain, shift] = places.map(|at| self.vector(at, h));
        Norm { gain, shift, epsilon: T::of(self.shape.epsilon) }
    }

    /// out [tokens, `to`] = x [tokens, `from`] times the transposed weight [`to`, `from`] at `at`.
    fn dense(&self, at: usize, x: &[T], out: &mut [T], (to, from): (usize, usize)) {
        let weight = View::rows(&self.w[at..], (to, from), from).t();
        let how = How { scale: T::ONE, add: false, threads: self.threads };
        let n = self.count();
        multiply(ViewMut::rows(out, (n, to), to), View::rows(x, (n, from), from), weight, how);
    }

    /// dx [tokens, `from`] [+]= d [tokens, `to`] times the weight, and the gradients of weight and bias.
    fn dense_back(&self, at: [usize; 2], d: &[T], x: &[T], back: Back<'_, T>) {
        let (n, (to, from)) = (self.count(), back.shape);
        add_column_sums(d, &mut back.gradient[at[1]..][..to]);
        let (d, x) = (View::rows(d, (n, to), to), View::rows(x, (n, from), from));
        let how = |add| How { scale: T::ONE, add, threads: self.threads };
        multiply(ViewMut::rows(&mut back.gradient[at[0]..], (to, from), from), d.t(), x, how(true));
        let weight = View::rows(&self.w[at[0]..], (to, from), from);
        multiply(ViewMut::rows(back.dx, (n, from), from), d, weight, how(back.add));
    }
}

/// Targets of [`Context::dense_back`].
struct Back<'a, T> {
    shape: (usize, usize),
    gradient: &'a mut [T],
    dx: &'a mut [T],
    add: bool,
}

/// Activations of one layer.
#[derive(Default)]
pub struct Layer<T> {
    qkv: Vec<T>,
    tables: Vec<T>,
    context: Vec<T>,
    normed1: Vec<T>,
    rstd1: Vec<T>,
    x1: Vec<T>,
    inner: Vec<T>,
    slopes: Vec<T>,
    normed2: Vec<T>,
    rstd2: Vec<T>,
}

/// Scratch of the backward pass, shared by all layers.
#[derive(Default)]
pub struct Scratch<T> {
    d_context: Vec<T>,
    d_qkv: Vec<T>,
    d_inner: Vec<T>,
    table: Vec<T>,
}

fn add<T: Real>(x: &mut [T], y: &[T]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += *y;
    }
}

impl<T: Real> Layer<T> {
    /// `input` [tokens, hidden] → `output` [tokens, hidden].
    pub fn forward(&mut self, cx: Context<'_, T>, input: &[T], output: &mut [T], keep: bool) {
        let (n, h, inner, at) = (cx.count(), cx.shape.hidden, cx.shape.inner, cx.places);
        let qkv = sized(&mut self.qkv, n * 3 * h);
        cx.dense(at.qkv, input, qkv, (3 * h, h));
        add_bias(qkv, cx.vector(at.qkv_bias, 3 * h));
        let attention = Attention::new(cx.shape);
        let tables = sized(&mut self.tables, attention.table(cx.tokens));
        let context = sized(&mut self.context, n * h);
        attention.forward(qkv, cx.tokens, tables, context);

        let normed1 = sized(&mut self.normed1, n * h);
        cx.dense(at.output, context, normed1, (h, h));
        add_bias(normed1, cx.vector(at.output_bias, h));
        add(normed1, input);
        let x1 = sized(&mut self.x1, n * h);
        cx.norm(at.norm1).apply(normed1, x1, sized(&mut self.rstd1, n));

        let hidden = sized(&mut self.inner, n * inner);
        cx.dense(at.inner, x1, hidden, (inner, h));
        let slopes = keep.then(|| sized(&mut self.slopes, n * inner));
        cx.shape.activation.apply(hidden, cx.vector(at.inner_bias, inner), slopes);
        let normed2 = sized(&mut self.normed2, n * h);
        cx.dense(at.outer, hidden, normed2, (h, inner));
        add_bias(normed2, cx.vector(at.outer_bias, h));
        add(normed2, x1);
        cx.norm(at.norm2).apply(normed2, output, sized(&mut self.rstd2, n));
    }

    /// `d` [tokens, hidden] goes from the gradient of the output to that of the input; adds to `gradient`.
    pub fn backward(
        &self,
        cx: Context<'_, T>,
        input: &[T],
        d: &mut [T],
        (gradient, s): (&mut [T], &mut Scratch<T>),
    ) {
        let (n, h, inner, at) = (cx.count(), cx.shape.hidden, cx.shape.inner, cx.places);
        norm_back(&cx, at.norm2, (d, &self.normed2[..n * h], &self.rstd2[..n]), gradient);
        let d_inner = sized(&mut s.d_inner, n * inner);
        let back = Back { shape: (h, inner), gradient: &mut *gradient, dx: d_inner, add: false };
        cx.dense_back([at.outer, at.outer_bias], d, &self.inner[..n * inner], back);
        multiply_by(d_inner, &self.slopes[..n * inner]);
        // The residual: the gradient along x1 is the one through the feed-forward added to `d`.
        let back = Back { shape: (inner, h), gradient: &mut *gradient, dx: &mut *d, add: true };
        cx.dense_back([at.inner, at.inner_bias], d_inner, &self.x1[..n * h], back);

        norm_back(&cx, at.norm1, (d, &self.normed1[..n * h], &self.rstd1[..n]), gradient);
        let d_context = sized(&mut s.d_context, n * h);
        let back = Back { shape: (h, h), gradient: &mut *gradient, dx: d_context, add: false };
        cx.dense_back([at.output, at.output_bias], d, &self.context[..n * h], back);
        let d_qkv = sized(&mut s.d_qkv, n * 3 * h);
        let qkv = &self.qkv[..n * 3 * h];
        Attention::new(cx.shape).backward(qkv, cx.tokens, &self.tables, (d_context, d_qkv, &mut s.table));
        let back = Back { shape: (3 * h, h), gradient, dx: d, add: true };
        cx.dense_back([at.qkv, at.qkv_bias], d_qkv, input, back);
    }
}

/// Backward of a LayerNorm whose gain and shift lie at `places`; `d` is changed in place.
pub fn norm_back<T: Real>(
    cx: &Context<'_, T>,
    places: [usize; 2],
    (d, normed, rstd): (&mut [T], &[T], &[T]),
    gradient: &mut [T],
) {
    let h = cx.shape.hidden;
    let [gain, shift] = two(gradient, places, h);
    cx.norm(places).back(d, (normed, rstd), gain, shift);
}

/// Two disjoint vectors of a slice, each `len` long.
fn two<T>(slice: &mut [T], at: [usize; 2], len: usize) -> [&mut [T]; 2] {
    let ranges = at.map(|start| start..start + len);
    slice.get_disjoint_mut(ranges).expect("parameters of a layout are disjoint")
}
