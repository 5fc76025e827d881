//! One pass over the parameters of a snapshot for everything that is told of them: moments, norms, extremes and counts,
//! alone and against the initialization and the previous snapshot.
//!
//! It reads the bytes that the trainer sent, before they are rounded to the precision of the run, and can do so as they
//! arrive. Pieces have a fixed size and are joined in order, so that neither chunks nor threads change a bit.
//!
//! Owns: the sums and their order. May not touch: networks, noise, where the bytes come from.

use super::widest::{MulAdd, widest};
use crate::domain::{Against, Dtype, Fault, Moments, Move, References, TensorStatistics};

/// Elements that are widened at once: the three sides of a comparison fit the first cache.
const BLOCK: usize = 1 << 10;
const LANES: usize = 16;

type Lanes = [f64; LANES];

/// Adds `f` of each element to the lanes of several sums.
#[inline(always)]
fn fold<const N: usize>(len: usize, sums: &mut [Lanes; N], f: impl Fn(usize) -> [f64; N]) {
    let whole = len - len % LANES;
    for first in (0..whole).step_by(LANES) {
        for lane in 0..LANES {
            let terms = f(first + lane);
            for (sum, term) in sums.iter_mut().zip(terms) {
                sum[lane] += term;
            }
        }
    }
    for i in whole..len {
        for (sum, term) in sums.iter_mut().zip(f(i)) {
            sum[i - whole] += term;
        }
    }
}

/// Greatest of |f| over the elements, lane by lane; not a number counts as nothing.
#[inline(always)]
fn greatest(len: usize, lanes: &mut Lanes, f: impl Fn(usize) -> f64) {
    let whole = len - len % LANES;
    for first in (0..whole).step_by(LANES) {
        for (lane, top) in lanes.iter_mut().enumerate() {
            let x = f(first + lane).abs();
            *top = if x > *top { x } else { *top };
        }
    }
    for i in whole..len {
        lanes[i - whole] = lanes[i - whole].max(f(i).abs());
    }
}

fn total(lanes: &Lanes) -> f64 {
    lanes.iter().sum()
}

fn top(lanes: &Lanes) -> f64 {
    lanes.iter().copied().fold(0.0, f64::max)
}

/// Sums shifted by the first number of the piece, so that constant numbers have a variance of exactly zero.
fn shifted(count: f64, shift: f64, [sum, shifted_square, square]: [f64; 3]) -> Moments {
    let spread = (shifted_square - sum * sum / count).max(0.0);
    Moments { count, mean: shift + sum / count, spread, square }
}

/// The numbers of a block and those that they are compared with.
#[derive(Clone, Copy)]
struct Block<'a> {
    w: &'a [f64],
    init: Option<&'a [f64]>,
    previous: Option<&'a [f64]>,
}

/// Sums over the blocks of one piece.
#[derive(Default)]
struct Sums {
    count: f64,
    /// First numbers of w and of w - init.
    shifts: Option<[f64; 2]>,
    /// w - shift, its square, w², not finite.
    own: [Lanes; 4],
    largest: Lanes,
    /// delta - shift, its square, delta², init², w init.
    init: [Lanes; 5],
    farthest: Lanes,
    /// step², previous², before², step before.
    since: [Lanes; 4],
}

impl Sums {
    #[inline(always)]
    fn add<M: MulAdd>(&mut self, m: M, block: Block<'_>) {
        let Block { w, init, previous } = block;
        let n = w.len();
        let first = |init: Option<&[f64]>| [w[0], w[0] - init.map_or(0.0, |init| init[0])];
        let [shift, delta_shift] = *self.shifts.get_or_insert_with(|| first(init));
        self.count += n as f64;
        fold(n, &mut self.own, |i| {
            let (x, d) = (w[i], w[i] - shift);
            [d, d * d, x * x, if x.abs() <= f64::MAX { 0.0 } else { 1.0 }]
        });
        greatest(n, &mut self.largest, |i| w[i]);
        if let Some(init) = init {
            let init = &init[..n];
            fold(n, &mut self.init, |i| {
                let delta = w[i] - init[i];
                let d = delta - delta_shift;
                [d, d * d, delta * delta, init[i] * init[i], w[i] * init[i]]
            });
            greatest(n, &mut self.farthest, |i| w[i] - init[i]);
        }
        let Some(previous) = previous else { return };
        let (previous, init) = (&previous[..n], &init.unwrap_or(previous)[..n]);
        fold(n, &mut self.since, |i| {
            let (step, before) = (w[i] - previous[i], previous[i] - init[i]);
            [m.fma(step, step, 0.0), previous[i] * previous[i], before * before, step * before]
        });
    }

    fn finish(self, with_init: bool, with_previous: bool) -> TensorStatistics {
        let [shift, delta_shift] = self.shifts.unwrap_or_default();
        let own = self.own.each_ref().map(total);
        let init = self.init.each_ref().map(total);
        let since = self.since.each_ref().map(total);
        TensorStatistics {
            name: String::new(),
            w: shifted(self.count, shift, [own[0], own[1], own[2]]),
            largest: top(&self.largest),
            non_finite: own[3],
            init: with_init.then(|| Against {
                delta: shifted(self.count, delta_shift, [init[0], init[1], init[2]]),
                farthest: top(&self.farthest),
                init_square: init[3],
                dot: init[4],
            }),
            since: with_previous.then(|| Move {
                step_square: since[0],
                previous_square: since[1],
                before: with_init.then_some([since[2], since[3]]),
            }),
        }
    }
}

/// One parameter's bytes, and what they are compared with.
pub struct Tensor<'a> {
    /// Of its layout.
    pub index: usize,
    /// Of its bytes.
    pub dtype: Dtype,
    /// What it is compared with.
    pub references: &'a References,
}

impl Tensor<'_> {
    /// Statistics of the piece that begins with element `start`, which must be a multiple of [`super::cpu::PIECE`]; `bytes` are
    /// those of the whole piece, or of what is left of the tensor.
    ///
    /// # Errors
    /// When a reference cannot be read back.
    pub fn piece(&self, start: usize, bytes: &[u8]) -> Result<TensorStatistics, Fault> {
        let size = self.dtype.size() as usize;
        let References { init, previous } = self.references;
        let (mut w, mut a, mut b) = ([0.0; BLOCK], [0.0; BLOCK], [0.0; BLOCK]);
        let mut sums = Sums::default();
        for (i, bytes) in bytes.chunks(BLOCK * size).enumerate() {
            let (n, at) = (bytes.len() / size, start + i * BLOCK);
            widest!(|_m| self.dtype.widen(bytes, &mut w[..n]));
            if let Some(init) = init {
                init.read(self.index, at, &mut a[..n])?;
            }
            if let Some(previous) = previous {
                previous.read(self.index, at, &mut b[..n])?;
            }
            let init = init.as_ref().map(|_| &a[..n]);
            let previous = previous.as_ref().map(|_| &b[..n]);
            widest!(|m| sums.add(m, Block { w: &w[..n], init, previous }));
        }
        Ok(sums.finish(init.is_some(), previous.is_some()))
    }
}
