//! Parameter arithmetic on the CPU: the specification that other devices are held to.
//!
//! Every function goes over the slots of a layout in pieces of a fixed size; sums are in f64, over fixed lanes of each
//! piece, and are joined in order, so that no result depends on the number of threads or the width of vectors.
//!
//! Owns: perturb, ascend, shrink, norms. May not touch: networks, losses.

use super::real::Real;
use super::widest::{MulAdd, widest};
use crate::engine::network::layout::Slot;
use crate::engine::noise::Draw;
use crate::engine::norms::Norms;
use rayon::prelude::*;

/// Elements of one piece: a multiple of what the noise makes at once, small enough for the first caches.
pub const PIECE: usize = 1 << 14;

/// Lanes of a sum: enough to hide the latency of additions in the widest vectors.
const LANES: usize = 32;

/// A part of one slot: the index of the slot, its first element there, and the elements.
struct Piece<D> {
    slot: usize,
    start: usize,
    data: D,
}

/// Indices of the slots in the order in which they lie.
fn by_offset(slots: &[Slot]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..slots.len()).collect();
    order.sort_by_key(|i| slots[*i].offset);
    order
}

/// The elements of all slots in pieces, to be written.
fn cut<'a, T>(slots: &[Slot], data: &'a mut [T]) -> Vec<Piece<&'a mut [T]>> {
    let (mut pieces, mut rest, mut at) = (Vec::new(), data, 0);
    for i in by_offset(slots) {
        let slot = &slots[i];
        let (mine, behind) = rest.split_at_mut(slot.offset - at).1.split_at_mut(slot.len);
        (rest, at) = (behind, slot.offset + slot.len);
        let chunks = mine.chunks_mut(PIECE).enumerate();
        pieces.extend(chunks.map(|(k, data)| Piece { slot: i, start: k * PIECE, data }));
    }
    pieces
}

/// The same pieces without their elements.
fn places(slots: &[Slot]) -> Vec<Piece<usize>> {
    let of = |i: usize| {
        let len = slots[i].len;
        let starts = (0..len).step_by(PIECE);
        starts.map(move |start| Piece { slot: i, start, data: PIECE.min(len - start) })
    };
    by_offset(slots).into_iter().flat_map(of).collect()
}

/// Runs `work` on every piece, which answers with a sum of squares; joins them by slot, in order.
fn norms_of<D: Send>(
    slots: &[Slot],
    pieces: Vec<Piece<D>>,
    work: impl Fn(Piece<D>) -> f64 + Send + Sync,
) -> Norms {
    let owners: Vec<usize> = pieces.iter().map(|piece| piece.slot).collect();
    let parts: Vec<f64> = pieces.into_par_iter().map(work).collect();
    let mut squares = vec![0.0; slots.len()];
    for (slot, part) in owners.into_iter().zip(parts) {
        squares[slot] += part;
    }
    Norms { squares }
}

/// A sum of squares in lanes.
struct Squares([f64; LANES]);

impl Squares {
    const NONE: Self = Self([0.0; LANES]);

    #[inline(always)]
    fn add<M: MulAdd, T: Real>(&mut self, m: M, x: &[T]) {
        let (blocks, rest) = x.as_chunks::<LANES>();
        for block in blocks {
            for (lane, x) in self.0.iter_mut().zip(block) {
                *lane = m.fma(x.wide(), x.wide(), *lane);
            }
        }
        for (lane, x) in self.0.iter_mut().zip(rest) {
            *lane = m.fma(x.wide(), x.wide(), *lane);
        }
    }

    #[inline(always)]
    fn sum(self) -> f64 {
        let mut total = 0.0;
        for lane in self.0 {
            total += lane;
        }
        total
    }
}

/// Squares of the norms of a draw's noise, by slot, as it is in `T`.
pub fn noise_norms<T: Real>(slots: &[Slot], draw: Draw) -> Norms {
    #[inline(always)]
    fn kernel<M: MulAdd, T: Real>(m: M, draw: Draw, at: (u32, usize), len: usize) -> f64 {
        let mut squares = Squares::NONE;
        draw.each(
            m,
            at,
            len,
            #[inline(always)]
            |_, noise: &[T]| squares.add(m, noise),
        );
        squares.sum()
    }
    norms_of(slots, places(slots), |Piece { slot, start, data }| {
        widest!(|m| kernel::<_, T>(m, draw, (slots[slot].rank, start), data))
    })
}

/// Squares of the norms of `x`, by slot.
pub fn norms<T: Real>(slots: &[Slot], x: &[T]) -> Norms {
    #[inline(always)]
    fn kernel<M: MulAdd, T: Real>(m: M, x: &[T]) -> f64 {
        let mut squares = Squares::NONE;
        squares.add(m, x);
        squares.sum()
    }
    norms_of(slots, places(slots), |Piece { slot, start, data }| {
        widest!(|m| kernel(m, &x[slots[slot].offset + start..][..data]))
    })
}

/// out = w0 + scale * noise, a scale for each slot.
pub fn perturb<T: Real>(slots: &[Slot], (out, w0): (&mut [T], &[T]), draw: Draw, scales: &[f64]) {
    cut(slots, out).into_par_iter().for_each(|Piece { slot, start, data }| {
        let (w0, at) = (&w0[slots[slot].offset + start..][..data.len()], (slots[slot].rank, start));
        let scale = T::of(scales[slot]);
        widest!(|m| perturb_piece(m, (data, w0), (draw, at), scale));
    });
}

#[inline(always)]
fn perturb_piece<M: MulAdd, T: Real>(
    m: M,
    (out, w0): (&mut [T], &[T]),
    (draw, at): (Draw, (u32, usize)),
    scale: T,
) {
    draw.each(
        m,
        at,
        out.len(),
        #[inline(always)]
        |first, noise: &[T]| {
            let (out, w0) = (&mut out[first..][..noise.len()], &w0[first..][..noise.len()]);
            for ((out, w0), noise) in out.iter_mut().zip(w0).zip(noise) {
                *out = m.fma(*noise, scale, *w0);
            }
        },
    );
}

/// out = w0 + delta.
pub fn displace<T: Real>(slots: &[Slot], out: &mut [T], w0: &[T], delta: &[T]) {
    cut(slots, out).into_par_iter().for_each(|Piece { slot, start, data }| {
        let from = slots[slot].offset + start;
        let (w0, delta) = (&w0[from..][..data.len()], &delta[from..][..data.len()]);
        for ((out, w0), delta) in data.iter_mut().zip(w0).zip(delta) {
            *out = *w0 + *delta;
        }
    });
}

/// x = factor * x + noise_scale * noise (with a noise scale for each slot), or without noise; returns the norms.
pub fn scale_and_perturb<T: Real>(
    slots: &[Slot],
    x: &mut [T],
    factor: f64,
    noise: Option<(Draw, &[f64])>,
) -> Norms {
    norms_of(slots, cut(slots, x), |Piece { slot, start, data }| {
        let at = (slots[slot].rank, start);
        let noise = noise.map(|(draw, scales)| ((draw, at), T::of(scales[slot])));
        widest!(|m| scale_and_perturb_piece(m, data, T::of(factor), noise))
    })
}

/// Names a piece's noise: the draw, the rank of the tensor and the first element; and its scale.
type ScaledNoise<T> = ((Draw, (u32, usize)), T);

#[inline(always)]
fn scale_and_perturb_piece<M: MulAdd, T: Real>(
    m: M,
    x: &mut [T],
    factor: T,
    noise: Option<ScaledNoise<T>>,
) -> f64 {
    let mut squares = Squares::NONE;
    match noise {
        Some(((draw, at), scale)) => draw.each(
            m,
            at,
            x.len(),
            #[inline(always)]
            |first, noise: &[T]| {
                let x = &mut x[first..][..noise.len()];
                for (x, noise) in x.iter_mut().zip(noise) {
                    *x = m.fma(*noise, scale, factor * *x);
                }
                squares.add(m, x);
            },
        ),
        None => {
            for x in x.iter_mut() {
                *x = factor * *x;
            }
            squares.add(m, x);
        }
    }
    squares.sum()
}

/// x = x + factor * y; returns the norms of x.
pub fn add_scaled<T: Real>(slots: &[Slot], x: &mut [T], factor: f64, y: &[T]) -> Norms {
    #[inline(always)]
    fn kernel<M: MulAdd, T: Real>(m: M, x: &mut [T], factor: T, y: &[T]) -> f64 {
        for (x, y) in x.iter_mut().zip(y) {
            *x = m.fma(factor, *y, *x);
        }
        let mut squares = Squares::NONE;
        squares.add(m, x);
        squares.sum()
    }
    norms_of(slots, cut(slots, x), |Piece { slot, start, data }| {
        let y = &y[slots[slot].offset + start..][..data.len()];
        widest!(|m| kernel(m, data, T::of(factor), y))
    })
}

/// x = factor * x, a factor for each slot.
pub fn scale<T: Real>(slots: &[Slot], x: &mut [T], factors: &[f64]) {
    cut(slots, x).into_par_iter().for_each(|Piece { slot, data, .. }| {
        let factor = T::of(factors[slot]);
        data.iter_mut().for_each(|x| *x *= factor);
    });
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
        let (a, b) = (DRAW.vector(0, 7), DRAW.vector(1, 40_000));
        for i in [0, 2, 16_383, 16_384, 39_999] {
            assert!((w[i] - (w0[i] + 2.0 * b[i])).abs() < 1e-13, "{i}");
        }
        assert!((w[40_005] - (w0[40_005] + 0.5 * a[5])).abs() < 1e-13);
        let mut delta = vec![0.0; w0.len()];
        let norms = scale_and_perturb(&slots, &mut delta, 0.0, Some((DRAW, &[1.0, 1.0])));
        assert_eq!(norms, noise_norms::<f64>(&slots, DRAW));
        assert!((norms.squares[0] - a.iter().map(|x| x * x).sum::<f64>()).abs() < 1e-12);
        let mut again = vec![0.0; w0.len()];
        scale(&slots, &mut delta, &[0.5, 2.0]);
        displace(&slots, &mut again, &w0, &delta);
        assert!(w.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-13));
    }

    #[test]
    fn slots_may_lie_apart_and_in_any_order() {
        let mut slots = slots();
        slots[0].offset = 40_100;
        let mut x = vec![1f32; 40_200];
        scale(&slots, &mut x, &[3.0, 2.0]);
        assert_eq!(
            (x[0], x[39_999], x[40_000], x[40_100], x[40_106], x[40_107]),
            (2.0, 2.0, 1.0, 3.0, 3.0, 1.0)
        );
        assert_eq!(norms(&slots, &x).squares, [63.0, 160_000.0]);
        assert_eq!(add_scaled(&slots, &mut x, 1.0, &vec![1f32; 40_200]).squares, [7.0 * 16.0, 360_000.0]);
    }
}
