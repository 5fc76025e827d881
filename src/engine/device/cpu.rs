//! Parameter arithmetic on the CPU: the specification that other devices are held to.
//!
//! Every function goes over the slots of a layout. Elements are computed in f64 and rounded once; sums run over fixed
//! pieces and are joined in order, so that no result depends on the number of threads.
//!
//! Owns: perturb, ascend, shrink, norms, moments. May not touch: networks, losses.

use super::real::Real;
use crate::domain::{Fault, ParameterSource};

use crate::engine::network::layout::Slot;
use crate::engine::noise::Draw;
use crate::engine::statistics::{Moments, Move, Norms};
use rayon::prelude::*;

/// Elements of one piece: a multiple of the noise's block, small enough for the first caches.
const PIECE: usize = 1 << 14;

/// Squares of the norms of a draw's noise, by slot.
pub fn noise_norms(slots: &[Slot], draw: Draw) -> Norms {
    let square = |slot: &Slot| {
        pieces(slot.len, |start, len| {
            let mut sum = 0.0;
            draw.each(slot.rank, start, len, |_, x| sum += x * x);
            sum
        })
    };
    Norms { squares: slots.iter().map(square).collect() }
}

fn pieces(len: usize, square: impl Fn(usize, usize) -> f64 + Sync) -> f64 {
    let starts = (0..len).into_par_iter().step_by(PIECE);
    let parts: Vec<f64> = starts.map(|start| square(start, PIECE.min(len - start))).collect();
    parts.into_iter().sum()
}

/// Squares of the norms of `x`, by slot.
pub fn norms<T: Real>(slots: &[Slot], x: &[T]) -> Norms {
    let square = |slot: &Slot| {
        let x = &x[slot.range()];
        pieces(slot.len, |start, len| x[start..start + len].iter().map(|v| v.wide() * v.wide()).sum())
    };
    Norms { squares: slots.iter().map(square).collect() }
}

/// out = w0 + scale * noise, a scale for each slot.
pub fn perturb<T: Real>(slots: &[Slot], (out, w0): (&mut [T], &[T]), draw: Draw, scales: &[f64]) {
    for (slot, scale) in slots.iter().zip(scales) {
        let out = out[slot.range()].par_chunks_mut(PIECE);
        out.zip(w0[slot.range()].par_chunks(PIECE)).enumerate().for_each(|(i, (out, w0))| {
            draw.each(slot.rank, i * PIECE, out.len(), |j, noise| {
                out[j] = T::of(w0[j].wide() + scale * noise)
            });
        });
    }
}

/// out = w0 + delta.
pub fn displace<T: Real>(slots: &[Slot], out: &mut [T], w0: &[T], delta: &[T]) {
    for slot in slots {
        let out = out[slot.range()].par_chunks_mut(PIECE);
        let from = w0[slot.range()].par_chunks(PIECE).zip(delta[slot.range()].par_chunks(PIECE));
        out.zip(from).for_each(|(out, (w0, delta))| {
            for ((out, w0), delta) in out.iter_mut().zip(w0).zip(delta) {
                *out = *w0 + *delta;
            }
        });
    }
}

/// x = factor * x + noise_scale * noise (with a noise scale for each slot), or without noise; returns the norms.
pub fn scale_and_perturb<T: Real>(
    slots: &[Slot],
    x: &mut [T],
    factor: f64,
    noise: Option<(Draw, &[f64])>,
) -> Norms {
    let squares = slots.iter().enumerate().map(|(s, slot)| {
        let parts: Vec<f64> = x[slot.range()]
            .par_chunks_mut(PIECE)
            .enumerate()
            .map(|(i, x)| {
                x.iter_mut().for_each(|x| *x = T::of(factor * x.wide()));
                if let Some((draw, scales)) = noise {
                    draw.each(slot.rank, i * PIECE, x.len(), |j, n| {
                        x[j] = T::of(x[j].wide() + scales[s] * n)
                    });
                }
                x.iter().map(|v| v.wide() * v.wide()).sum()
            })
            .collect();
        parts.into_iter().sum()
    });
    Norms { squares: squares.collect() }
}

/// x = x + factor * y; returns the norms of x.
pub fn add_scaled<T: Real>(slots: &[Slot], x: &mut [T], factor: f64, y: &[T]) -> Norms {
    let squares = slots.iter().map(|slot| {
        let both = x[slot.range()].par_chunks_mut(PIECE).zip(y[slot.range()].par_chunks(PIECE));
        let parts: Vec<f64> = both
            .map(|(x, y)| {
                for (x, y) in x.iter_mut().zip(y) {
                    *x = T::of(x.wide() + factor * y.wide());
                }
                x.iter().map(|v| v.wide() * v.wide()).sum()
            })
            .collect();
        parts.into_iter().sum()
    });
    Norms { squares: squares.collect() }
}

/// x = factor * x, a factor for each slot.
pub fn scale<T: Real>(slots: &[Slot], x: &mut [T], factors: &[f64]) {
    for (slot, factor) in slots.iter().zip(factors) {
        x[slot.range()].par_iter_mut().for_each(|x| *x = T::of(x.wide() * factor));
    }
}

/// Number of elements that are not finite, and the first slot that has one.
pub fn non_finite<'a, T: Real>(slots: &'a [Slot], x: &[T]) -> Option<(usize, &'a str)> {
    let count = |slot: &Slot| x[slot.range()].par_iter().filter(|v| !v.wide().is_finite()).count();
    let found: Vec<(usize, &str)> =
        slots.iter().map(|slot| (count(slot), slot.name.as_str())).filter(|(n, _)| *n > 0).collect();
    found.first().map(|(_, name)| (found.iter().map(|(n, _)| n).sum(), *name))
}

/// Sums of numbers, shifted by the first of them so that a constant tensor has a variance of exactly zero.
#[derive(Default, Clone, Copy)]
struct Sums {
    shift: f64,
    count: f64,
    sum: f64,
    shifted_square: f64,
    square: f64,
}

impl Sums {
    fn add(&mut self, x: f64) {
        if self.count == 0.0 {
            self.shift = x;
        }
        let d = x - self.shift;
        self.count += 1.0;
        self.sum += d;
        self.shifted_square += d * d;
        self.square += x * x;
    }

    fn moments(self) -> Moments {
        if self.count == 0.0 {
            return Moments::default();
        }
        let spread = (self.shifted_square - self.sum * self.sum / self.count).max(0.0);
        Moments { count: self.count, mean: self.shift + self.sum / self.count, spread, square: self.square }
    }
}

/// Moments of one slot, alone and against a reference.
#[derive(Default, Clone, Copy)]
pub struct Against {
    /// Of the parameters.
    pub w: Moments,
    /// Of their difference to the reference.
    pub delta: Moments,
    /// Sum of squares of the reference.
    pub reference_square: f64,
    /// Scalar product with the reference.
    pub dot: f64,
}

fn in_pieces<T: Real>(w: &[T], mut with: impl FnMut(usize, &[T]) -> Result<(), Fault>) -> Result<(), Fault> {
    w.chunks(PIECE).enumerate().try_for_each(|(i, piece)| with(i * PIECE, piece))
}

/// Moments of the slot with index `index` of the layout, against `reference` when there is one.
///
/// # Errors
/// When the reference cannot be read.
pub fn moments<T: Real>(
    index: usize,
    w: &[T],
    reference: Option<&dyn ParameterSource>,
) -> Result<Against, Fault> {
    let mut all = Against::default();
    let mut buffer = vec![0.0; PIECE.min(w.len())];
    in_pieces(w, |start, piece| {
        let (mut own, mut delta) = (Sums::default(), Sums::default());
        piece.iter().for_each(|x| own.add(x.wide()));
        all.w = all.w.join(own.moments());
        let Some(reference) = reference else { return Ok(()) };
        let old = &mut buffer[..piece.len()];
        reference.read(index, start, old)?;
        for (x, old) in piece.iter().zip(old) {
            delta.add(x.wide() - *old);
            all.reference_square += *old * *old;
            all.dot += x.wide() * *old;
        }
        all.delta = all.delta.join(delta.moments());
        Ok(())
    })?;
    Ok(all)
}

/// Adds the move of one slot since `previous`, seen from `init` when there is one.
///
/// # Errors
/// When a reference cannot be read.
pub fn add_move<T: Real>(
    index: usize,
    w: &[T],
    (previous, init): (&dyn ParameterSource, Option<&dyn ParameterSource>),
    total: &mut Move,
) -> Result<(), Fault> {
    let (mut last, mut first) = (vec![0.0; PIECE.min(w.len())], vec![0.0; PIECE.min(w.len())]);
    let (mut before, mut dot) = (0.0, 0.0);
    in_pieces(w, |start, piece| {
        let last = &mut last[..piece.len()];
        previous.read(index, start, last)?;
        for (x, last) in piece.iter().zip(last.iter()) {
            let step = x.wide() - last;
            total.step_square += step * step;
            total.previous_square += last * last;
        }
        let Some(init) = init else { return Ok(()) };
        let first = &mut first[..piece.len()];
        init.read(index, start, first)?;
        for ((x, last), first) in piece.iter().zip(last.iter()).zip(first.iter()) {
            before += (last - first) * (last - first);
            dot += (x.wide() - last) * (last - first);
        }
        Ok(())
    })?;
    if init.is_some() {
        total.before_square = Some(total.before_square.unwrap_or(0.0) + before);
        total.dot = Some(total.dot.unwrap_or(0.0) + dot);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::noise::Purpose;

    fn slots() -> Vec<Slot> {
        let slot = |name: &str, offset, len, rank| Slot { name: name.into(), offset, len, rank };
        vec![slot("a", 40_000, 7, 0), slot("b", 0, 40_000, 1)]
    }

    const DRAW: Draw = Draw { seed: 9, index: 2, purpose: Purpose::Gauss };

    #[test]
    fn a_perturbation_regenerates_its_noise() {
        let slots = slots();
        let w0: Vec<f64> = (0..40_007).map(|i| i as f64 * 1e-3).collect();
        let mut w = vec![0.0; w0.len()];
        perturb(&slots, (&mut w, &w0), DRAW, &[0.5, 2.0]);
        assert_eq!(w[2], w0[2] + 2.0 * DRAW.block(1, 0)[2]);
        assert_eq!(w[40_005], w0[40_005] + 0.5 * DRAW.block(0, 1)[1]);
        let mut delta = vec![0.0; w0.len()];
        let norms = scale_and_perturb(&slots, &mut delta, 0.0, Some((DRAW, &[1.0, 1.0])));
        assert_eq!(norms, noise_norms(&slots, DRAW));
        let mut again = vec![0.0; w0.len()];
        scale(&slots, &mut delta, &[0.5, 2.0]);
        displace(&slots, &mut again, &w0, &delta);
        assert_eq!(w, again);
    }

    #[test]
    fn moments_of_a_constant_are_exact() {
        let constant = vec![1.1f32; 30_000];
        let against = moments(0, &constant, None).expect("no reference");
        assert_eq!(against.w.variance(), 0.0);
        assert_eq!(against.w.mean, f64::from(1.1f32));
    }

    #[test]
    fn non_finite_elements_are_counted() {
        let slots = slots();
        let mut x = vec![0f32; 40_007];
        assert_eq!(non_finite(&slots, &x), None);
        x[1] = f32::NAN;
        x[39_999] = f32::INFINITY;
        assert_eq!(non_finite(&slots, &x), Some((2, "b")));
    }
}
