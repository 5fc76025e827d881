//! MATMUL: products of matrices, batch by batch.
//!
//! Owns: its rule. May not touch: other operators.

use crate::operation::{Context, Cost, Gradients, Infer, Operation, Read, Typed};
use crate::parallel;
use crate::product::{self, matrix};
use crate::real::Real;
use crate::shape::{broadcast, broadcast_strides, numel, offsets};
use crate::value::Data;
use crate::wrong::{Result, operand};
use clino_domain::graph::MatMul;

rule!(MatMul);

/// Sizes of all matrices.
struct Products {
    m: usize,
    n: usize,
    k: usize,
    /// The axes before those of the matrices, of the result.
    batch: Vec<usize>,
    /// Whether they make one product: all matrices on the left meet the same one on the right.
    one: bool,
}

/// [..., rows, columns] of an operand; a vector is a row on the left and a column on the right.
fn as_matrix(shape: &[usize], left: bool) -> (&[usize], [usize; 2]) {
    match shape {
        [size] if left => (&[], [1, *size]),
        [size] => (&[], [*size, 1]),
        [batch @ .., rows, columns] => (batch, [*rows, *columns]),
        [] => (&[], [1, 1]),
    }
}

impl Products {
    /// `None` where the shapes do not fit; the second value is the shape of the result.
    fn new(a: &[usize], b: &[usize]) -> Option<(Self, Vec<usize>)> {
        let (batch_a, [m, k]) = as_matrix(a, true);
        let (batch_b, [k_b, n]) = as_matrix(b, false);
        if a.is_empty() || b.is_empty() || k != k_b {
            return None;
        }
        let batch = broadcast(&[batch_a, batch_b])?;
        let mut shape = batch.clone();
        shape.extend((a.len() > 1).then_some(m));
        shape.extend((b.len() > 1).then_some(n));
        let one = batch_b.is_empty() && batch_a == batch;
        Some((Self { m, n, k, batch, one }, shape))
    }

    /// How many products there are, and rows of each.
    fn count(&self) -> [usize; 2] {
        let all = self.batch.iter().fold(1usize, |all, size| all.saturating_mul(*size));
        if self.one { [1, self.m.saturating_mul(all)] } else { [all, self.m] }
    }
}

/// Where all matrices lie, which takes a number for each: made when the node is computed.
struct Batches {
    m: usize,
    n: usize,
    k: usize,
    /// First elements of the matrices of a and b, by batch.
    a: Vec<usize>,
    b: Vec<usize>,
}

impl Batches {
    fn of<T: Real>(cx: &Context<'_, T>) -> Result<Self> {
        let [a, b] = [cx.shape(0)?, cx.shape(1)?];
        let Some((products, _)) = Products::new(a, b) else {
            return operand(1, "found a shape that does not fit");
        };
        let [_, m] = products.count();
        let Products { n, k, batch, one, .. } = products;
        if one {
            return Ok(Self { m, n, k, a: vec![0], b: vec![0] });
        }
        let places = |own: &[usize], size: usize| {
            let strides = broadcast_strides(own, &batch);
            offsets(&batch, &strides).into_iter().map(|at| at * size).collect::<Vec<_>>()
        };
        let [batch_a, batch_b] = [as_matrix(a, true).0, as_matrix(b, false).0];
        Ok(Self { m, n, k, a: places(batch_a, m * k), b: places(batch_b, k * n) })
    }

    /// Threads for the batches, and for each product.
    fn threads(&self, threads: usize) -> [usize; 2] {
        if self.a.len() >= threads.max(2) { [threads, 1] } else { [1, threads] }
    }
}

/// Adds products to parts of `target`, which begin at `places` and have `size` elements: side by side where they differ.
fn add_products<T: Real>(
    threads: usize,
    target: &mut [T],
    places: &[usize],
    size: usize,
    f: impl Fn(usize, &mut [T], usize) + Sync + Send,
) {
    let apart = places.windows(2).all(|pair| pair[1] == pair[0] + size) && places.first() == Some(&0);
    if apart && places.len() >= threads.max(2) {
        return parallel::pieces(threads, target, size, |first, target| f(first / size.max(1), target, 1));
    }
    for (i, at) in places.iter().enumerate() {
        f(i, &mut target[*at..][..size], threads);
    }
}

impl Operation for Rule<'_> {
    fn infer(&self, cx: &Infer<'_>) -> Result<Vec<Typed>> {
        let a = cx.work(0)?;
        let b = cx.work(1)?;
        match Products::new(a, b) {
            Some((_, shape)) => Ok(vec![Typed::work(shape)]),
            None => {
                operand(1, format!("found {b:?}, which {a:?} is not multiplied by: expected [..., k, n]"))
            }
        }
    }

    fn work(&self, cx: &Cost<'_>) -> f64 {
        2.0 * cx.out(0) as f64 * cx.shape(0).last().copied().unwrap_or(1) as f64
    }

    fn reads(&self, what: Read, wants: &dyn Fn(usize) -> bool) -> bool {
        product::reads(what, wants)
    }

    fn scratch(&self, cx: &Cost<'_>) -> usize {
        let Some((products, _)) = Products::new(cx.shape(0), cx.shape(1)) else { return 0 };
        let [count, m] = products.count();
        let Products { n, k, .. } = products;
        let one = match cx.back() {
            false => product::scratch(m, n, k, cx.size),
            true => product::scratch(m, k, n, cx.size).max(product::scratch(k, n, m, cx.size)),
        };
        // A place of each matrix on either side, and those that they are made of.
        let places = count.saturating_mul(4 * size_of::<usize>());
        one.saturating_mul(count.min(cx.threads)).saturating_add(places)
    }

    fn forward<T: Real>(&self, cx: &Context<'_, T>) -> Result<Vec<Data<T>>> {
        let batches = Batches::of(cx)?;
        let Batches { m, n, k, ref a, ref b } = batches;
        let x = cx.work(0)?;
        let y = cx.work(1)?;
        let mut out = vec![T::ZERO; numel(cx.out(0)?)];
        let [outer, inner] = batches.threads(cx.threads);
        parallel::pieces(outer, &mut out, m * n, |first, out| {
            let i = first / (m * n).max(1);
            product::multiply(out, matrix(&x[a[i]..], m, k), matrix(&y[b[i]..], k, n), product::set(inner));
        });
        Ok(vec![Data::Work(out)])
    }

    fn backward<T: Real>(&self, cx: &Context<'_, T>, grads: &mut Gradients<'_, T>) -> Result<()> {
        let Batches { m, n, k, a, b } = Batches::of(cx)?;
        let d = cx.d()?;
        if m * n == 0 {
            return Ok(());
        }
        if let Some(target) = grads.target(0) {
            let y = cx.work(1)?;
            add_products(cx.threads, target, &a, m * k, |i, target, threads| {
                let d = matrix(&d[i * m * n..], m, n);
                product::multiply(target, d, matrix(&y[b[i]..], k, n).t(), product::add(threads));
            });
        }
        if let Some(target) = grads.target(1) {
            let x = cx.work(0)?;
            add_products(cx.threads, target, &b, k * n, |i, target, threads| {
                let d = matrix(&d[i * m * n..], m, n);
                product::multiply(target, matrix(&x[a[i]..], m, k).t(), d, product::add(threads));
            });
        }
        Ok(())
    }
}
