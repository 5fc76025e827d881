//! ATTENTION: softmax(q kᵀ scale + mask) v, block by block: no table of all queries and keys is ever kept. The reverse rule
//! makes each block's probabilities again.
//!
//! Owns: its rule. May not touch: other operators.

use crate::gemm::How;
use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::parallel;
use crate::product::{self, matrix};
use crate::real::Real;
use crate::shape::{broadcast, broadcast_strides, numel, offsets};
use crate::value::{Data, View};
use crate::wrong::{Result, operand};
use clino_domain::graph::{Attention, ValueType};

rule!(Attention);

/// Scores that a block has, about.
const BLOCK: usize = 1 << 16;
const MASK: usize = 3;

/// Sizes of an attention.
#[derive(Clone)]
struct Sizes {
    /// Matrices of queries, and how many of them each matrix of keys serves.
    heads: usize,
    shared: usize,
    /// Queries, keys, their width, and the width of values.
    m: usize,
    n: usize,
    d: usize,
    e: usize,
    /// Queries of a block.
    block: usize,
    scale: f64,
    causal: bool,
}

/// Heads, rows and columns of an operand; a matrix alone is one head.
fn split(shape: &[usize]) -> Option<(&[usize], usize, usize, usize)> {
    match shape {
        [rows, columns] => Some((&[], 1, *rows, *columns)),
        [batch @ .., heads, rows, columns] => Some((batch, *heads, *rows, *columns)),
        _ => None,
    }
}

impl Rule<'_> {
    /// `None` where the shapes do not fit.
    fn sizes(&self, q: &[usize], k: &[usize], v: &[usize]) -> Option<Sizes> {
        let (batch, heads, m, d) = split(q)?;
        let (batch_k, heads_k, n, d_k) = split(k)?;
        let (batch_v, heads_v, n_v, e) = split(v)?;
        let fits = batch == batch_k && batch == batch_v && heads_k == heads_v && n == n_v && d == d_k;
        let shared = heads.checked_div(heads_k).unwrap_or(1).max(1);
        let whole = heads == 0 || shared * heads_k == heads;
        if !fits || q.len() != k.len() || !whole {
            return None;
        }
        let block = (BLOCK / n.max(1)).clamp(8, 128).min(m.max(1));
        let scale = self.scale.unwrap_or(1.0 / (d as f64).sqrt());
        let heads = numel(batch) * heads;
        Some(Sizes { heads, shared, m, n, d, e, block, scale, causal: self.causal })
    }

    fn of<T: Real>(&self, cx: &Context<'_, T>) -> Result<Sizes> {
        match self.sizes(cx.shape(0)?, cx.shape(1)?, cx.shape(2)?) {
            Some(sizes) => Ok(sizes),
            None => operand(1, "found shapes that do not fit"),
        }
    }
}

/// A mask that is read as if it had the shape of all scores.
struct Mask<'a, T> {
    view: View<'a, T>,
    /// First element, by head.
    heads: Vec<usize>,
    /// From one query to the next, from one key to the next.
    steps: [usize; 2],
}

impl<'a, T: Real> Mask<'a, T> {
    fn new(cx: &Context<'a, T>, sizes: &Sizes) -> Result<Option<Self>> {
        if !cx.has(MASK) {
            return Ok(None);
        }
        let q = cx.shape(0)?;
        let to = [&q[..q.len() - 1], &[sizes.n]].concat();
        let strides = broadcast_strides(cx.shape(MASK)?, &to);
        let batch = to.len() - 2;
        let heads = offsets(&to[..batch], &strides[..batch]);
        let steps = [strides[batch] as usize, strides[batch + 1] as usize];
        Ok(Some(Self { view: cx.view(MASK)?, heads, steps }))
    }

    fn at(&self, head: usize, row: usize) -> usize {
        self.heads[head] + row * self.steps[0]
    }

    fn apply(&self, head: usize, row: usize, scores: &mut [T]) {
        let first = self.at(head, row);
        let step = self.steps[1];
        for (i, score) in scores.iter_mut().enumerate() {
            let at = first + i * step;
            match self.view {
                View::Bool(seen) if seen[at] => {}
                View::Work(added) => *score += added[at],
                _ => *score = T::of(f64::NEG_INFINITY),
            }
        }
    }
}

/// Scores to probabilities; a row that sees nothing has none.
fn softmax<T: Real>(row: &mut [T]) {
    let most = row.iter().fold(f64::NEG_INFINITY, |most, x| most.max(x.wide()));
    if most == f64::NEG_INFINITY && row.iter().all(|x| x.wide() == f64::NEG_INFINITY) {
        return row.fill(T::ZERO);
    }
    let mut sum = 0.0;
    for x in row.iter_mut() {
        let e = (x.wide() - most).exp();
        sum += e;
        *x = T::of(e);
    }
    let factor = 1.0 / sum;
    for x in row.iter_mut() {
        *x = T::of(x.wide() * factor);
    }
}

/// A block of queries of one head.
#[derive(Clone, Copy)]
struct Block {
    head: usize,
    first: usize,
    rows: usize,
    /// Keys that any of them sees.
    keys: usize,
}

impl Sizes {
    fn block(&self, head: usize, first: usize) -> Block {
        let rows = self.block.min(self.m - first);
        let keys = if self.causal { self.n.min(first + rows) } else { self.n };
        Block { head, first, rows, keys }
    }

    /// Probabilities [rows, keys] of a block.
    fn probabilities<T: Real>(&self, block: Block, given: &Given<'_, T>, p: &mut [T]) {
        let Block { head, first, rows, keys } = block;
        let q = matrix(&given.q[(head * self.m + first) * self.d..], rows, self.d);
        let k = matrix(self.keys_of(head, given.k, self.d), keys, self.d);
        let how = How { scale: T::of(self.scale), add: false, threads: 1 };
        product::multiply(p, q, k.t(), how);
        for (i, row) in p.chunks_mut(keys.max(1)).enumerate() {
            if let Some(mask) = &given.mask {
                mask.apply(head, first + i, row);
            }
            let seen = if self.causal { keys.min(first + i + 1) } else { keys };
            row[seen..].fill(T::ZERO);
            softmax(&mut row[..seen]);
        }
    }

    fn keys_of<'a, T>(&self, head: usize, x: &'a [T], width: usize) -> &'a [T] {
        let size = self.n * width;
        &x[head / self.shared * size..][..size]
    }
}

/// Pieces of `size` elements of a derivative, or as many times nothing.
fn parts<T>(d: &mut Option<Vec<T>>, size: usize, count: usize) -> Vec<Option<&mut [T]>> {
    match d {
        Some(d) if size > 0 => d.chunks_mut(size).map(Some).collect(),
        _ => (0..count).map(|_| None).collect(),
    }
}

/// What the reverse rule of one matrix of keys adds to.
struct Targets<'a, T> {
    /// Of all queries that it serves.
    q: Option<&'a mut [T]>,
    k: Option<&'a mut [T]>,
    v: Option<&'a mut [T]>,
}

/// What is read.
struct Given<'a, T> {
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    mask: Option<Mask<'a, T>>,
    /// The derivative along the result; empty in a forward.
    d: &'a [T],
}

impl<T: Real> Given<'_, T> {
    /// All queries of the matrix of keys `of`; `d_mask` is called with the derivatives along a block's scores.
    fn back(&self, sizes: &Sizes, of: usize, to: Targets<'_, T>, mut d_mask: impl FnMut(Block, &[T])) {
        let Targets { q: mut d_q, k: mut d_k, v: mut d_v } = to;
        let &Sizes { shared, m, n, d, e, .. } = sizes;
        let mut tables = [(); 2].map(|()| vec![T::ZERO; sizes.block * n]);
        for head in of * shared..(of + 1) * shared {
            let q = &self.q[head * m * d..][..m * d];
            let k = sizes.keys_of(head, self.k, d);
            let v = sizes.keys_of(head, self.v, e);
            for first in (0..m).step_by(sizes.block) {
                let block = sizes.block(head, first);
                let Block { rows, keys, .. } = block;
                let [p, d_p] = &mut tables;
                let p = &mut p[..rows * keys];
                let d_p = &mut d_p[..rows * keys];
                sizes.probabilities(block, self, p);
                let out = matrix(&self.d[(head * m + first) * e..], rows, e);
                if let Some(d_v) = &mut d_v {
                    product::multiply(d_v, matrix(p, rows, keys).t(), out, product::add(1));
                }
                product::multiply(d_p, out, matrix(v, keys, e).t(), product::set(1));
                back_softmax(p, d_p, keys);
                d_mask(block, d_p);
                let scores = matrix(d_p, rows, keys);
                let how = How { scale: T::of(sizes.scale), add: true, threads: 1 };
                if let Some(d_q) = &mut d_q {
                    let at = (head % shared * m + first) * d;
                    product::multiply(&mut d_q[at..], scores, matrix(k, keys, d), how);
                }
                if let Some(d_k) = &mut d_k {
                    product::multiply(d_k, scores.t(), matrix(&q[first * d..], rows, d), how);
                }
            }
        }
    }
}

/// From derivatives along probabilities to those along scores.
fn back_softmax<T: Real>(p: &[T], d_p: &mut [T], keys: usize) {
    for (p, d_p) in p.chunks(keys.max(1)).zip(d_p.chunks_mut(keys.max(1))) {
        let sum = crate::sums::dot(p, d_p);
        for (p, d_p) in p.iter().zip(d_p) {
            *d_p = T::of(p.wide() * (d_p.wide() - sum));
        }
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let q = cx.work(0)?;
        let k = cx.work(1)?;
        let v = cx.work(2)?;
        let Some(sizes) = self.sizes(q, k, v) else {
            let expected = "expected q [..., heads, m, d], k [..., heads', n, d], v [..., heads', n, e] with heads a \
                            multiple of heads'";
            return operand(1, format!("found q {q:?}, k {k:?}, v {v:?}, {expected}"));
        };
        if cx.has(MASK) {
            let scores = [&q[..q.len() - 1], &[sizes.n]].concat();
            let mask = cx.typed(MASK)?;
            if mask.kind == ValueType::I64 || broadcast(&[&mask.shape, &scores]).as_ref() != Some(&scores) {
                let found = format!("{} {:?}", mask.kind.name(), mask.shape);
                return operand(
                    MASK,
                    format!("found {found}, expected BOOL or WORK that broadcasts to {scores:?}"),
                );
            }
        }
        Ok(vec![Typed::work([&q[..q.len() - 1], &[sizes.e]].concat())])
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        let Some(sizes) = self.sizes(cx.shape(0), cx.shape(1), cx.shape(2)) else { return 0.0 };
        let Sizes { heads, m, n, d, e, .. } = sizes;
        2.0 * heads as f64 * m as f64 * n as f64 * (d + e + 8) as f64
    }

    fn reads(&self, what: Read, _wants: &dyn Fn(usize) -> bool) -> bool {
        matches!(what, Read::Operand(_))
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let Some(sizes) = self.sizes(cx.shape(0), cx.shape(1), cx.shape(2)) else { return 0 };
        let Sizes { heads, shared, m, n, d, e, block, .. } = sizes;
        let product = |m, n, k| product::scratch(m, n, k, cx.size);
        let jobs = if cx.back() { heads / shared } else { heads * m.div_ceil(block.max(1)) };
        let jobs = if cx.wants(MASK) { 1 } else { jobs.min(cx.threads).max(1) };
        let products = match cx.back() {
            false => product(block, n, d).max(product(block, e, n)),
            true => [product(block, n, d), product(block, n, e), product(n, e, block), product(block, d, n)]
                .into_iter()
                .chain([product(n, d, block)])
                .max()
                .unwrap_or(0),
        };
        let tables = if cx.back() { 2 } else { 1 };
        let apart: usize = (0..=MASK).map(|i| cx.made_apart(i)).sum();
        apart * cx.size
            + jobs * (tables * block * n * cx.size + products)
            + (heads + heads * m.div_ceil(block.max(1)) * 4) * 8
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let sizes = self.of(cx)?;
        let Sizes { m, e, block, .. } = sizes;
        let mask = Mask::new(cx, &sizes)?;
        let given = Given { q: cx.work(0)?, k: cx.work(1)?, v: cx.work(2)?, d: &[], mask };
        let mut out = vec![T::ZERO; numel(cx.out(0)?)];
        if out.is_empty() {
            return Ok(vec![Data::Work(out)]);
        }
        let heads = out.chunks_mut(m * e).enumerate();
        let blocks = heads.flat_map(|(head, out)| {
            out.chunks_mut(block * e).enumerate().map(move |(i, out)| (head, i * block, out))
        });
        parallel::each(cx.threads, blocks, |(head, first, out)| {
            let block = sizes.block(head, first);
            let mut p = vec![T::ZERO; block.rows * block.keys];
            sizes.probabilities(block, &given, &mut p);
            let v = matrix(sizes.keys_of(head, given.v, e), block.keys, e);
            product::multiply(out, matrix(&p, block.rows, block.keys), v, product::set(1));
        });
        Ok(vec![Data::Work(out)])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let sizes = self.of(cx)?;
        let Sizes { heads, shared, m, n, d, e, .. } = sizes;
        let mask = Mask::new(cx, &sizes)?;
        let d_out = cx.d()?;
        if d_out.is_empty() {
            return Ok(());
        }
        let given = Given { q: cx.work(0)?, k: cx.work(1)?, v: cx.work(2)?, d: d_out, mask };
        let mut d_q = grads.take(0);
        let mut d_k = grads.take(1);
        let mut d_v = grads.take(2);
        let mut d_mask = grads.take(MASK);
        let count = heads / shared;
        let q_parts = parts(&mut d_q, shared * m * d, count);
        let k_parts = parts(&mut d_k, n * d, count);
        let v_parts = parts(&mut d_v, n * e, count);
        let jobs = q_parts.into_iter().zip(k_parts).zip(v_parts).enumerate();
        let jobs = jobs.map(|(of, ((q, k), v))| (of, Targets { q, k, v }));
        match (&mut d_mask, &given.mask) {
            (Some(target), Some(mask)) => {
                let mut add = |block: Block, d: &[T]| mask_back(mask, block, d, target);
                jobs.for_each(|(of, to)| given.back(&sizes, of, to, &mut add));
            }
            _ => parallel::each(cx.threads, jobs, |(of, to)| given.back(&sizes, of, to, |_, _| ())),
        }
        for (i, d) in [d_q, d_k, d_v, d_mask].into_iter().enumerate() {
            d.into_iter().for_each(|d| grads.give(i, d));
        }
        Ok(())
    }
}

/// Adds the derivatives along a block's scores to those of an added mask.
fn mask_back<T: Real>(mask: &Mask<'_, T>, block: Block, d: &[T], target: &mut [T]) {
    for (i, row) in d.chunks(block.keys.max(1)).enumerate() {
        let first = mask.at(block.head, block.first + i);
        for (j, d) in row.iter().enumerate() {
            target[first + j * mask.steps[1]] += *d;
        }
    }
}
