//! One pass over the parameters of a snapshot for everything that is told of them: moments, norms, extremes and counts,
//! alone and against the initialization and the previous snapshot.
//!
//! It reads the bytes that the trainer sent, before they are rounded to the precision of the run, and can do so as they
//! arrive. Pieces have a fixed size and are joined in order, so that neither chunks nor threads change a bit.
//!
//! Owns: the sums and their order. May not touch: networks, noise, where the bytes come from.

use super::widest::{MulAdd, widest};
use clino_domain::{Against, Dtype, Fault, Moments, Move, ParameterSource, References, TensorStatistics};
use std::ops::{Add, Sub};
use std::sync::Arc;

/// Elements that are widened at once where they do not come as f32: they stay in the first cache.
const BLOCK: usize = 1 << 10;
const LANES: usize = 8;

/// A number, or several of them in lanes.
trait Number: Copy + Add<Output = Self> + Sub<Output = Self> {
    /// self * b + c.
    fn times_plus<M: MulAdd>(self, m: M, b: Self, c: Self) -> Self;
}

impl Number for f64 {
    #[inline(always)]
    fn times_plus<M: MulAdd>(self, m: M, b: Self, c: Self) -> Self {
        m.fma(self, b, c)
    }
}

#[derive(Clone, Copy)]
struct Lanes([f64; LANES]);

impl Lanes {
    const ZERO: Self = Self([0.0; LANES]);

    #[inline(always)]
    fn each(f: impl Fn(usize) -> f64) -> Self {
        Self(std::array::from_fn(f))
    }

    /// Lane by lane the greater of this and |x|; not a number counts as nothing.
    #[inline(always)]
    fn or_larger(self, x: Self) -> Self {
        Self::each(
            #[inline(always)]
            |lane| if x.0[lane].abs() > self.0[lane] { x.0[lane].abs() } else { self.0[lane] },
        )
    }
}

impl Add for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self::each(
            #[inline(always)]
            |lane| self.0[lane] + other.0[lane],
        )
    }
}

impl Sub for Lanes {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self::each(
            #[inline(always)]
            |lane| self.0[lane] - other.0[lane],
        )
    }
}

impl Number for Lanes {
    #[inline(always)]
    fn times_plus<M: MulAdd>(self, m: M, b: Self, c: Self) -> Self {
        Self::each(
            #[inline(always)]
            |lane| m.fma(self.0[lane], b.0[lane], c.0[lane]),
        )
    }
}

/// Numbers in a row, to be taken a few at a time.
trait Row: Copy {
    fn len(self) -> usize;
    fn one(self, i: usize) -> f64;
    fn lanes(self, block: usize) -> Lanes;
}

impl Row for &[f64] {
    #[inline(always)]
    fn len(self) -> usize {
        <[f64]>::len(self)
    }
    #[inline(always)]
    fn one(self, i: usize) -> f64 {
        self[i]
    }
    #[inline(always)]
    fn lanes(self, block: usize) -> Lanes {
        Lanes(self.as_chunks().0[block])
    }
}

/// f32 as they were sent: widened on the way, so that memory and arithmetic overlap.
impl Row for &[[u8; 4]] {
    #[inline(always)]
    fn len(self) -> usize {
        <[[u8; 4]]>::len(self)
    }
    #[inline(always)]
    fn one(self, i: usize) -> f64 {
        f64::from(f32::from_le_bytes(self[i]))
    }
    #[inline(always)]
    fn lanes(self, block: usize) -> Lanes {
        let numbers = &self.as_chunks::<LANES>().0[block];
        Lanes::each(
            #[inline(always)]
            |lane| f64::from(f32::from_le_bytes(numbers[lane])),
        )
    }
}

/// `S` sums, `P` sums of products and `T` greatest magnitudes over numbers from `K` rows.
trait Terms<const K: usize, const S: usize, const P: usize, const T: usize> {
    /// What is summed, multiplied and summed, and looked at for its magnitude.
    fn of<X: Number>(numbers: [X; K], shift: X) -> ([X; S], [[X; 2]; P], [X; T]);
}

#[derive(Clone, Copy)]
struct Fold<const S: usize, const P: usize, const T: usize> {
    sums: [Lanes; S],
    products: [Lanes; P],
    tops: [Lanes; T],
}

impl<const S: usize, const P: usize, const T: usize> Default for Fold<S, P, T> {
    fn default() -> Self {
        Self { sums: [Lanes::ZERO; S], products: [Lanes::ZERO; P], tops: [Lanes::ZERO; T] }
    }
}

impl<const S: usize, const P: usize, const T: usize> Fold<S, P, T> {
    /// Adds the terms `W` of all numbers of the rows, which are equally long.
    #[inline(always)]
    fn add<W, const K: usize>(&mut self, m: impl MulAdd, rows: [impl Row; K], shift: f64)
    where
        W: Terms<K, S, P, T>,
    {
        // A local stays in registers.
        let mut fold = *self;
        let len = rows[0].len();
        for block in 0..len / LANES {
            let shift = Lanes([shift; LANES]);
            let (sums, products, tops) = W::of(
                rows.map(
                    #[inline(always)]
                    |row| row.lanes(block),
                ),
                shift,
            );
            for (sum, x) in fold.sums.iter_mut().zip(sums) {
                *sum = *sum + x;
            }
            for (sum, [a, b]) in fold.products.iter_mut().zip(products) {
                *sum = a.times_plus(m, b, *sum);
            }
            for (top, x) in fold.tops.iter_mut().zip(tops) {
                *top = top.or_larger(x);
            }
        }
        for (lane, i) in (len - len % LANES..len).enumerate() {
            let (sums, products, tops) = W::of(rows.map(|row| row.one(i)), shift);
            for (sum, x) in fold.sums.iter_mut().zip(sums) {
                sum.0[lane] += x;
            }
            for (sum, [a, b]) in fold.products.iter_mut().zip(products) {
                sum.0[lane] = a.times_plus(m, b, sum.0[lane]);
            }
            for (top, x) in fold.tops.iter_mut().zip(tops) {
                top.0[lane] = top.0[lane].max(x.abs());
            }
        }
        *self = fold;
    }

    /// Joins all lanes: sums are added, and the largest of each maximum is taken.
    fn finish(&self) -> ([f64; S], [f64; P], [f64; T]) {
        let total = |lanes: Lanes| lanes.0.iter().sum();
        let top = |lanes: Lanes| lanes.0.into_iter().fold(0.0, f64::max);
        (self.sums.map(total), self.products.map(total), self.tops.map(top))
    }
}

/// Parameters alone. d = w - shift; w, largest.
struct Alone;

impl Terms<1, 1, 2, 1> for Alone {
    #[inline(always)]
    fn of<X: Number>([w]: [X; 1], shift: X) -> ([X; 1], [[X; 2]; 2], [X; 1]) {
        let d = w - shift;
        ([d], [[d, d], [w, w]], [w])
    }
}

/// Parameters and those at initialization.
struct FromInit;

impl Terms<2, 2, 4, 2> for FromInit {
    #[inline(always)]
    fn of<X: Number>([w, init]: [X; 2], shift: X) -> ([X; 2], [[X; 2]; 4], [X; 2]) {
        let d = w - shift;
        let delta = w - init;
        ([d, delta], [[d, d], [w, w], [delta, delta], [init, init]], [w, delta])
    }
}

/// The move since the previous snapshot, and the one before it from the initialization.
struct Since;

impl Terms<3, 0, 4, 0> for Since {
    #[inline(always)]
    fn of<X: Number>([w, previous, init]: [X; 3], _: X) -> ([X; 0], [[X; 2]; 4], [X; 0]) {
        let step = w - previous;
        let before = previous - init;
        ([], [[step, step], [previous, previous], [before, before], [step, before]], [])
    }
}

/// Numbers and those that they are compared with, equally many.
#[derive(Clone, Copy)]
struct Sides<R> {
    w: R,
    init: Option<R>,
    previous: Option<R>,
}

/// Sums over one piece.
#[derive(Default)]
struct Sums {
    count: f64,
    /// The first number: sums are of differences to it, so that constant numbers have a variance of exactly zero and a
    /// mean far from zero costs no places.
    shift: Option<f64>,
    alone: Fold<1, 2, 1>,
    from_init: Fold<2, 4, 2>,
    since: Fold<0, 4, 0>,
    non_finite: f64,
}

impl Sums {
    #[inline(always)]
    fn add<R: Row>(&mut self, m: impl MulAdd, Sides { w, init, previous }: Sides<R>) {
        let shift = *self.shift.get_or_insert(w.one(0));
        self.count += w.len() as f64;
        match init {
            Some(init) => self.from_init.add::<FromInit, 2>(m, [w, init], shift),
            None => self.alone.add::<Alone, 1>(m, [w], shift),
        }
        if let Some(previous) = previous {
            self.since.add::<Since, 3>(m, [w, previous, init.unwrap_or(previous)], 0.0);
        }
        // Counted only where a sum tells that there may be any.
        if !(self.alone.finish().0[0] + self.from_init.finish().0[0]).is_finite() {
            self.non_finite += (0..w.len()).filter(|i| !w.one(*i).is_finite()).count() as f64;
        }
    }

    fn finish(self, with_init: bool, with_previous: bool) -> TensorStatistics {
        let n = self.count;
        let shift = self.shift.unwrap_or_default();
        let moments = |shift: f64, sum: f64, shifted_square: f64, square: f64| {
            let spread = (shifted_square - sum * sum / n).max(0.0);
            Moments { count: n, mean: shift + sum / n, spread, square }
        };
        let ([sum], [shifted, square], [largest]) = self.alone.finish();
        let alone = (moments(shift, sum, shifted, square), largest, None);
        let ([sum, delta], [shifted, square, delta_square, init_square], [largest, farthest]) =
            self.from_init.finish();
        let against = Against {
            delta: moments(0.0, delta, delta_square, delta_square),
            farthest,
            init_square,
            dot: (square + init_square - delta_square) / 2.0,
        };
        let both = (moments(shift, sum, shifted, square), largest, Some(against));
        let (w, largest, init) = if with_init { both } else { alone };
        let (_, [step_square, previous_square, before, dot], _) = self.since.finish();
        let since = Move { step_square, previous_square, before: with_init.then_some([before, dot]) };
        let since = with_previous.then_some(since);
        TensorStatistics { name: String::new(), w, largest, non_finite: self.non_finite, init, since }
    }
}

/// Bytes of numbers, and their dtype.
type Sent<'a> = (Dtype, &'a [u8]);

/// Adds one piece, widening what is not f32 block by block.
fn add_sent(sums: &mut Sums, sides: Sides<Sent<'_>>) {
    let Sides { w, init, previous } = sides;
    if [Some(w), init, previous].into_iter().flatten().all(|(dtype, _)| dtype == Dtype::F32) {
        fn row(sent: Sent<'_>) -> &[[u8; 4]] {
            sent.1.as_chunks().0
        }
        let sides = (row(w), init.map(row), previous.map(row));
        return widest!(|m| sums.add(m, Sides { w: sides.0, init: sides.1, previous: sides.2 }));
    }
    let count = w.1.len() / w.0.size() as usize;
    let mut wide = [[0.0; BLOCK]; 3];
    for start in (0..count).step_by(BLOCK) {
        let n = BLOCK.min(count - start);
        for ((dtype, bytes), out) in
            [Some(w), init, previous].into_iter().zip(&mut wide).filter_map(|(a, b)| Some((a?, b)))
        {
            let size = dtype.size() as usize;
            let bytes = &bytes[start * size..(start + n) * size];
            widest!(|_m| dtype.widen(bytes, &mut out[..n]));
        }
        let [w, a, b] = wide.each_ref().map(|side| &side[..n]);
        let sides = (init.map(|_| a), previous.map(|_| b));
        widest!(|m| sums.add(m, Sides { w, init: sides.0, previous: sides.1 }));
    }
}

/// One parameter's bytes, and what they are compared with.
pub struct TensorBytes<'a> {
    /// Index of the parameter in its layout.
    pub index: usize,
    /// How the bytes encode the elements.
    pub dtype: Dtype,
    /// What it is compared with.
    pub references: &'a References,
}

impl TensorBytes<'_> {
    /// Statistics of the piece that begins with element `start`, which must be a multiple of [`super::cpu::PIECE`]; `bytes` are
    /// those of the whole piece, or of what is left of the tensor.
    ///
    /// # Errors
    /// If a reference cannot be read back.
    pub fn piece(&self, start: usize, bytes: &[u8]) -> Result<TensorStatistics, Fault> {
        let References { init, previous } = self.references;
        let init = init.as_ref().filter(|init| init.has(self.index));
        let len = bytes.len() / self.dtype.size() as usize;
        let mut sums = Sums::default();
        let mut add = |init: Option<Sent<'_>>, previous: Option<Sent<'_>>| {
            add_sent(&mut sums, Sides { w: (self.dtype, bytes), init, previous })
        };
        let read = |source: &Arc<dyn ParameterSource>, with: &mut dyn FnMut(Sent<'_>)| {
            source.read(self.index, start, len, &mut |dtype, bytes| with((dtype, bytes)))
        };
        match (init, previous) {
            (None, None) => add(None, None),
            (Some(init), None) => read(init, &mut |init| add(Some(init), None))?,
            (None, Some(previous)) => read(previous, &mut |previous| add(None, Some(previous)))?,
            (Some(init), Some(previous)) => {
                let mut inner = Ok(());
                read(init, &mut |init| {
                    inner = read(previous, &mut |previous| add(Some(init), Some(previous)))
                })?;
                inner?;
            }
        }
        Ok(sums.finish(init.is_some(), previous.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::layout::{Habits, ParameterLayout};
    use clino_domain::{InMemory, Layout, Manifest, Snapshot, SnapshotHeader, TensorSpec};

    fn source(values: &[f64], dtype: Dtype) -> Arc<dyn ParameterSource> {
        let shape = vec![values.len()];
        let layout = ParameterLayout::new(vec![("a".into(), shape)], Habits::default()).expect("small");
        let spec = TensorSpec { dtype, ..layout.parameters()[0].clone() };
        let manifest = Manifest::new(vec![spec], vec![]).expect("sound");
        let header = SnapshotHeader::live(0);
        let snapshot = Snapshot::new(header, manifest, vec![bytes(values, dtype).into()]).expect("whole");
        Arc::new(InMemory::new(snapshot, &layout).expect("fits"))
    }

    fn bytes(values: &[f64], dtype: Dtype) -> Vec<u8> {
        match dtype {
            Dtype::F32 => values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    fn numbers(n: usize, seed: usize) -> Vec<f64> {
        (0..n).map(|i| f64::from((((i * 7919 + seed * 104_729) % 1009) as f32 - 400.0) / 64.0)).collect()
    }

    fn close(found: f64, want: f64) {
        assert!((found - want).abs() <= 1e-12 * want.abs().max(1.0), "found {found}, expected {want}");
    }

    #[test]
    fn they_are_what_their_names_say_in_every_dtype() {
        for n in [1, 7, 8, 1023, 5003] {
            let w = numbers(n, 1);
            let init = numbers(n, 2);
            let previous = numbers(n, 3);
            for dtypes in
                [[Dtype::F32; 3], [Dtype::F64, Dtype::F32, Dtype::F64], [Dtype::F32, Dtype::F64, Dtype::F32]]
            {
                let references = References {
                    init: Some(source(&init, dtypes[1])),
                    previous: Some(source(&previous, dtypes[2])),
                };
                let tensor = TensorBytes { index: 0, dtype: dtypes[0], references: &references };
                let found = tensor.piece(0, &bytes(&w, dtypes[0])).expect("in memory");
                let sum = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>();
                let mean = sum(&|i| w[i]) / n as f64;
                close(found.w.mean, mean);
                close(found.w.spread, sum(&|i| (w[i] - mean).powi(2)));
                close(found.w.square, sum(&|i| w[i] * w[i]));
                assert_eq!(found.largest, w.iter().fold(0.0, |a: f64, x| a.max(x.abs())));
                let init_found = found.init.expect("given");
                let since = found.since.expect("given");
                let delta = sum(&|i| w[i] - init[i]) / n as f64;
                close(init_found.delta.mean, delta);
                close(init_found.delta.spread, sum(&|i| (w[i] - init[i] - delta).powi(2)));
                close(init_found.delta.square, sum(&|i| (w[i] - init[i]).powi(2)));
                close(init_found.init_square, sum(&|i| init[i] * init[i]));
                close(init_found.dot, sum(&|i| w[i] * init[i]));
                close(since.step_square, sum(&|i| (w[i] - previous[i]).powi(2)));
                close(since.previous_square, sum(&|i| previous[i] * previous[i]));
                let [before, dot] = since.before.expect("with an initialization");
                close(before, sum(&|i| (previous[i] - init[i]).powi(2)));
                close(dot, sum(&|i| (w[i] - previous[i]) * (previous[i] - init[i])));
            }
        }
    }

    fn alone(values: &[f64]) -> TensorStatistics {
        let references = References::default();
        let tensor = TensorBytes { index: 0, dtype: Dtype::F64, references: &references };
        tensor.piece(0, &bytes(values, Dtype::F64)).expect("no references")
    }

    #[test]
    fn a_constant_has_no_variance_and_a_far_mean_costs_nothing() {
        let constant = alone(&vec![f64::from(1.1f32); 3000]);
        assert_eq!((constant.w.variance(), constant.w.mean), (0.0, f64::from(1.1f32)));
        let far: Vec<f64> = (0..4000).map(|i| 1e8 + f64::from(i % 4)).collect();
        close(alone(&far).w.variance(), 1.25);
    }

    #[test]
    fn what_is_not_finite_is_counted() {
        let mut values = numbers(3001, 1);
        values[3000] = f64::NAN;
        values[17] = f64::NEG_INFINITY;
        assert_eq!(alone(&values).non_finite, 2.0);
        assert_eq!(alone(&numbers(3001, 1)).non_finite, 0.0);
        assert_eq!(alone(&[1e200, 1e200]).non_finite, 0.0);
    }
}
