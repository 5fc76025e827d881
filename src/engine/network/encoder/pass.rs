//! The whole encoder: embeddings, layers, classifier; forward and backward.
//!
//! Owns: the workspace of one worker. May not touch: how weights were made.

use super::layer::{Context, Layer, Scratch, norm_back};
use super::shape::{LayerPlaces, Places, Shape};
use crate::engine::device::real::Real;
use crate::engine::network::batch::{Batch, Inputs, Tokens};
use crate::engine::network::gemm::{How, View, ViewMut, multiply};
use crate::engine::network::ops::{Norm, add_bias, add_column_sums};
use crate::engine::network::{Pass, sized};
use std::sync::Arc;

/// One worker. With `keep` every layer has its activations; without, all layers share the first's.
pub struct EncoderPass<T> {
    shape: Arc<Shape>,
    places: Arc<Places>,
    threads: usize,
    /// Normalized embeddings before gain and shift [tokens, hidden], and 1 / deviation [tokens].
    embedded: (Vec<T>, Vec<T>),
    /// Input of each layer and the output of the last: [tokens, hidden].
    streams: Vec<Vec<T>>,
    layers: Vec<Layer<T>>,
    /// First tokens, and what the dense layer makes of them: [examples, hidden].
    first: Vec<T>,
    pooled: Vec<T>,
    logits: Vec<T>,
    d: Vec<T>,
    d_pooled: Vec<T>,
    d_first: Vec<T>,
    scratch: Scratch<T>,
}

fn tokens(batch: &Batch) -> &Tokens {
    let Inputs::Tokens(tokens) = &batch.inputs else { unreachable!("an encoder cuts tokens") };
    tokens
}

impl<T: Real> EncoderPass<T> {
    pub fn new(shape: Arc<Shape>, places: Arc<Places>, threads: usize) -> Self {
        let layers = (0..shape.layers).map(|_| Layer::default()).collect();
        let streams = vec![Vec::new(); shape.layers + 1];
        let empty = Vec::new;
        Self {
            shape,
            places,
            threads,
            embedded: (empty(), empty()),
            streams,
            layers,
            first: empty(),
            pooled: empty(),
            logits: empty(),
            d: empty(),
            d_pooled: empty(),
            d_first: empty(),
            scratch: Scratch::default(),
        }
    }

    fn how(&self, add: bool) -> How<T> {
        How { scale: T::ONE, add, threads: self.threads }
    }

    fn embed(&mut self, w: &[T], tokens: &Tokens) {
        let (h, at) = (self.shape.hidden, &self.places);
        let n = tokens.ids.len();
        let rows = sized(&mut self.embedded.0, n * h);
        let places = tokens.ids.iter().zip(&tokens.types).zip(&tokens.positions);
        for (row, ((id, kind), position)) in rows.chunks_exact_mut(h).zip(places) {
            let word = &w[at.words + *id as usize * h..][..h];
            let place = &w[at.positions + *position as usize * h..][..h];
            let kind = &w[at.types + *kind as usize * h..][..h];
            for (((x, a), b), c) in row.iter_mut().zip(word).zip(kind).zip(place) {
                *x = *a + *b + *c;
            }
        }
        let [gain, shift] = at.norm.map(|start| &w[start..start + h]);
        let norm = Norm { gain, shift, epsilon: T::of(self.shape.epsilon) };
        norm.apply(rows, sized(&mut self.streams[0], n * h), sized(&mut self.embedded.1, n));
    }

    /// Which stream and which layer's buffers layer `i` uses.
    fn buffers(&self, i: usize, keep: bool) -> (usize, usize, usize) {
        if keep { (i, i + 1, i) } else { (i % 2, (i + 1) % 2, 0) }
    }

    fn classify(&mut self, w: &[T], tokens: &Tokens, last: usize) {
        let (h, classes, n) = (self.shape.hidden, self.shape.classes, tokens.sequences.len());
        let (how, at) = (self.how(false), self.places.clone());
        let first = sized(&mut self.first, n * h);
        for (row, sequence) in first.chunks_exact_mut(h).zip(&tokens.sequences) {
            row.copy_from_slice(&self.streams[last][sequence.start * h..][..h]);
        }
        let pooled = sized(&mut self.pooled, n * h);
        let dense = View::rows(&w[at.dense..], (h, h), h).t();
        multiply(ViewMut::rows(pooled, (n, h), h), View::rows(first, (n, h), h), dense, how);
        add_bias(pooled, &w[at.dense_bias..][..h]);
        pooled.iter_mut().for_each(|x| *x = x.tanh());
        let logits = sized(&mut self.logits, n * classes);
        let classifier = View::rows(&w[at.classifier..], (classes, h), h).t();
        multiply(
            ViewMut::rows(logits, (n, classes), classes),
            View::rows(pooled, (n, h), h),
            classifier,
            how,
        );
        add_bias(logits, &w[at.classifier_bias..][..classes]);
    }

    /// From the gradient along the logits to `self.d`, the gradient along the last stream.
    fn classify_back(&mut self, w: &[T], tokens: &Tokens, d_logits: &[T], gradient: &mut [T]) {
        let (h, classes, n) = (self.shape.hidden, self.shape.classes, tokens.sequences.len());
        let (how, onto, at) = (self.how(false), self.how(true), self.places.clone());
        let pooled = &self.pooled[..n * h];
        add_column_sums(d_logits, &mut gradient[at.classifier_bias..][..classes]);
        let d_logits = View::rows(d_logits, (n, classes), classes);
        let target = ViewMut::rows(&mut gradient[at.classifier..], (classes, h), h);
        multiply(target, d_logits.t(), View::rows(pooled, (n, h), h), onto);
        let d_pooled = sized(&mut self.d_pooled, n * h);
        let classifier = View::rows(&w[at.classifier..], (classes, h), h);
        multiply(ViewMut::rows(d_pooled, (n, h), h), d_logits, classifier, how);
        for (d, p) in d_pooled.iter_mut().zip(pooled) {
            *d *= T::ONE - *p * *p;
        }
        add_column_sums(d_pooled, &mut gradient[at.dense_bias..][..h]);
        let d_pooled = View::rows(d_pooled, (n, h), h);
        let first = View::rows(&self.first[..n * h], (n, h), h);
        multiply(ViewMut::rows(&mut gradient[at.dense..], (h, h), h), d_pooled.t(), first, onto);
        let d_first = sized(&mut self.d_first, n * h);
        multiply(ViewMut::rows(d_first, (n, h), h), d_pooled, View::rows(&w[at.dense..], (h, h), h), how);
        let d = sized(&mut self.d, tokens.ids.len() * h);
        d.fill(T::ZERO);
        for (row, sequence) in d_first.chunks_exact(h).zip(&tokens.sequences) {
            d[sequence.start * h..][..h].copy_from_slice(row);
        }
    }

    fn embed_back(&self, tokens: &Tokens, gradient: &mut [T]) {
        let (h, at) = (self.shape.hidden, &self.places);
        let places = tokens.ids.iter().zip(&tokens.types).zip(&tokens.positions);
        for (row, ((id, kind), position)) in self.d.chunks_exact(h).zip(places) {
            let starts = [
                at.words + *id as usize * h,
                at.types + *kind as usize * h,
                at.positions + *position as usize * h,
            ];
            for start in starts {
                for (g, d) in gradient[start..start + h].iter_mut().zip(row) {
                    *g += *d;
                }
            }
        }
    }
}

impl<T: Real> Pass<T> for EncoderPass<T> {
    fn forward(&mut self, w: &[T], batch: &Batch, keep: bool) -> &[T] {
        let tokens = tokens(batch);
        let n = tokens.ids.len() * self.shape.hidden;
        self.embed(w, tokens);
        let mut last = 0;
        for (i, places) in self.places.clone().layers.iter().enumerate() {
            let (from, to, buffers) = self.buffers(i, keep);
            let (mut input, mut output) = (Vec::new(), Vec::new());
            std::mem::swap(&mut input, &mut self.streams[from]);
            std::mem::swap(&mut output, &mut self.streams[to]);
            let cx = context(&self.shape, places, w, (tokens, self.threads));
            self.layers[buffers].forward(cx, &input[..n], sized(&mut output, n), keep);
            (self.streams[from], self.streams[to]) = (input, output);
            last = to;
        }
        self.classify(w, tokens, last);
        &self.logits[..batch.labels.len() * self.shape.classes]
    }

    fn backward(&mut self, w: &[T], batch: &Batch, d_logits: &[T], gradient: &mut [T]) {
        let tokens = tokens(batch);
        let n = tokens.ids.len() * self.shape.hidden;
        self.classify_back(w, tokens, d_logits, gradient);
        let places = self.places.clone();
        for (i, place) in places.layers.iter().enumerate().rev() {
            let cx = context(&self.shape, place, w, (tokens, self.threads));
            let onto = (&mut *gradient, &mut self.scratch);
            self.layers[i].backward(cx, &self.streams[i][..n], &mut self.d[..n], onto);
        }
        let cx = context(&self.shape, &places.layers[0], w, (tokens, self.threads));
        let saved = (&mut self.d[..n], &self.embedded.0[..n], &self.embedded.1[..tokens.ids.len()]);
        norm_back(&cx, places.norm, saved, gradient);
        self.embed_back(tokens, gradient);
    }
}

fn context<'a, T>(
    shape: &'a Shape,
    places: &'a LayerPlaces,
    w: &'a [T],
    (tokens, threads): (&'a Tokens, usize),
) -> Context<'a, T> {
    Context { shape, places, w, tokens, threads }
}
