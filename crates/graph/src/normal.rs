//! Normalization of rows by their own moments: what LAYER_NORM, RMS_NORM and GROUP_NORM share.
//!
//! Owns: moments, forward and reverse. May not touch: axes and channels.

use crate::operation::{Context, Gradients, Read};
use crate::parallel;
use crate::real::Real;
use crate::sums::{add_columns, sum, sum_of};
use crate::wrong::Result;

/// Whether the reverse of a norm of operand 0 with weight 1 and bias 2 reads one.
pub fn reads(what: Read, wants: &dyn Fn(usize) -> bool) -> bool {
    match what {
        Read::Operand(0) => wants(0) || wants(1),
        Read::Operand(1) => wants(0),
        _ => false,
    }
}

/// How rows are normalized.
pub struct Normal {
    /// Elements of a row.
    pub width: usize,
    /// Added to the variance, or to the mean square.
    pub epsilon: f64,
    /// Whether the mean is taken away.
    pub centered: bool,
    /// After how many rows the weights begin anew.
    pub period: usize,
    /// Neighbours in a row that share a weight.
    pub spread: usize,
}

/// Mean and reciprocal of the deviation of a row.
#[derive(Clone, Copy, Default)]
struct Moments {
    mean: f64,
    factor: f64,
}

/// A row, to be reversed.
struct Row<'a, T> {
    place: usize,
    moments: Moments,
    x: &'a [T],
    d: &'a [T],
}

impl Normal {
    fn moments<T: Real>(&self, row: &[T]) -> Moments {
        let n = row.len() as f64;
        let mean = if self.centered { sum(row) / n } else { 0.0 };
        let square = sum_of(row, |x| (x - mean) * (x - mean)) / n;
        Moments { mean, factor: 1.0 / (square + self.epsilon).sqrt() }
    }

    /// The place of the weight of element `i` of a row.
    fn weight(&self, row: usize, i: usize) -> usize {
        (row % self.period) * (self.width / self.spread) + i / self.spread
    }

    fn each_row<T: Real>(&self, threads: usize, out: &mut [T], f: impl Fn(usize, &mut [T]) + Sync + Send) {
        if self.width > 0 {
            let piece = parallel::rows(self.width) * self.width;
            parallel::pieces(threads, out, piece, |first, out| {
                out.chunks_mut(self.width).enumerate().for_each(|(i, out)| f(first / self.width + i, out));
            });
        }
    }

    /// Operand 0 normalized, times operand `w`, plus operand `b`.
    pub fn forward<T: Real>(&self, cx: &Context<'_, T>, w: usize, b: usize) -> Result<Vec<T>> {
        let x = cx.work(0)?;
        let weight = if cx.has(w) { Some(cx.work(w)?) } else { None };
        let bias = if cx.has(b) { Some(cx.work(b)?) } else { None };
        let mut out = vec![T::ZERO; x.len()];
        self.each_row(cx.threads, &mut out, |row, out| {
            let x = &x[row * self.width..][..self.width];
            let Moments { mean, factor } = self.moments(x);
            for (i, (out, x)) in out.iter_mut().zip(x).enumerate() {
                let at = self.weight(row, i);
                let scaled = (x.wide() - mean) * factor * weight.map_or(1.0, |weight| weight[at].wide());
                *out = T::of(scaled + bias.map_or(0.0, |bias| bias[at].wide()));
            }
        });
        Ok(out)
    }

    /// Adds the derivatives along operand 0, `w` and `b`.
    pub fn backward<T: Real>(
        &self,
        cx: &Context<'_, T>,
        grads: &mut Gradients<'_, T>,
        [w, b]: [usize; 2],
    ) -> Result<()> {
        let d = cx.d()?;
        let rows = d.len() / self.width.max(1);
        if let Some(target) = grads.target(b) {
            self.add_weights(cx.threads, target, rows, |at| d[at].wide());
        }
        if !grads.wants(0) && !grads.wants(w) {
            return Ok(());
        }
        let x = cx.work(0)?;
        let mut moments = vec![Moments::default(); rows];
        parallel::pieces(cx.threads, &mut moments, parallel::rows(self.width), |first, moments| {
            for (i, moments) in moments.iter_mut().enumerate() {
                *moments = self.moments(&x[(first + i) * self.width..][..self.width]);
            }
        });
        if let Some(target) = grads.target(w) {
            self.add_weights(cx.threads, target, rows, |at| {
                let Moments { mean, factor } = moments[at / self.width];
                d[at].wide() * (x[at].wide() - mean) * factor
            });
        }
        if let Some(target) = grads.target(0) {
            let weight = if cx.has(w) { Some(cx.work(w)?) } else { None };
            self.each_row(cx.threads, target, |row, target| {
                let at = row * self.width..(row + 1) * self.width;
                let row = Row { place: row, moments: moments[row], x: &x[at.clone()], d: &d[at] };
                self.back_row(row, weight, target);
            });
        }
        Ok(())
    }

    fn back_row<T: Real>(&self, row: Row<'_, T>, weight: Option<&[T]>, target: &mut [T]) {
        let Row { place, moments: Moments { mean, factor }, x, d } = row;
        let n = self.width as f64;
        let scaled =
            |i: usize| d[i].wide() * weight.map_or(1.0, |weight| weight[self.weight(place, i)].wide());
        let normal = |i: usize| (x[i].wide() - mean) * factor;
        let mut of_d = 0.0;
        let mut of_both = 0.0;
        for i in 0..self.width {
            let scaled = scaled(i);
            of_d += scaled;
            of_both += scaled * normal(i);
        }
        let of_d = if self.centered { of_d / n } else { 0.0 };
        let of_both = of_both / n;
        for (i, target) in target.iter_mut().enumerate() {
            *target += T::of(factor * (scaled(i) - of_d - normal(i) * of_both));
        }
    }

    /// Adds to each weight the sum of `f` over the elements that it multiplies.
    fn add_weights<T: Real>(
        &self,
        threads: usize,
        target: &mut [T],
        rows: usize,
        f: impl Fn(usize) -> f64 + Sync + Send,
    ) {
        if self.spread == 1 && self.period == 1 {
            return add_columns(threads, target, rows, |row, column| f(row * self.width + column));
        }
        let channels = self.width / self.spread;
        if channels == 0 {
            return;
        }
        parallel::pieces(threads, target, 1, |channel, target| {
            let row = channel / channels;
            let first = channel % channels * self.spread;
            let sum: f64 = (row..rows)
                .step_by(self.period)
                .flat_map(|row| (0..self.spread).map(move |i| row * self.width + first + i))
                .map(&f)
                .sum();
            target[0] += T::of(sum);
        });
    }

    /// Bytes that a backward lays by.
    pub fn scratch(&self, elements: usize) -> usize {
        elements / self.width.max(1) * size_of::<Moments>()
    }
}
