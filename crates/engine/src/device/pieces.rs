//! Parameters in pieces of a fixed size: what makes sums independent of threads and of the width of vectors.
//!
//! Owns: how slots are cut, and how sums over pieces are joined. May not touch: what is summed.

use super::real::Real;
use super::widest::MulAdd;
use crate::device::norms::Norms;
use crate::device::slot::Slot;
use rayon::prelude::*;

/// Elements of one piece: a multiple of what the noise makes at once, small enough for the first caches.
pub const PIECE: usize = 1 << 14;

/// Lanes of a sum: enough to hide the latency of additions in the widest vectors.
const LANES: usize = 32;

/// A part of one slot: the index of the slot, its first element there, and the elements.
pub struct Piece<D> {
    pub slot: usize,
    pub start: usize,
    pub data: D,
}

/// Indices of the slots in the order in which they lie.
fn by_offset(slots: &[Slot]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..slots.len()).collect();
    order.sort_by_key(|i| slots[*i].offset);
    order
}

/// The elements of all slots in pieces, to be written.
pub fn cut<'a, T>(slots: &[Slot], data: &'a mut [T]) -> Vec<Piece<&'a mut [T]>> {
    let mut pieces = Vec::new();
    let mut rest = data;
    let mut at = 0;
    for i in by_offset(slots) {
        let slot = &slots[i];
        let (mine, behind) = rest.split_at_mut(slot.offset - at).1.split_at_mut(slot.len);
        (rest, at) = (behind, slot.offset + slot.len);
        let chunks = mine.chunks_mut(PIECE).enumerate();
        pieces.extend(chunks.map(|(k, data)| Piece { slot: i, start: k * PIECE, data }));
    }
    pieces
}

/// The same pieces, with their lengths instead of their elements.
pub fn places(slots: &[Slot]) -> Vec<Piece<usize>> {
    let of = |i: usize| {
        let len = slots[i].len;
        let starts = (0..len).step_by(PIECE);
        starts.map(move |start| Piece { slot: i, start, data: PIECE.min(len - start) })
    };
    by_offset(slots).into_iter().flat_map(of).collect()
}

/// The elements of `x` that lie in the piece of `len` elements at `start` of `slot`.
pub fn part<'a, T>(x: &'a [T], slot: &Slot, start: usize, len: usize) -> &'a [T] {
    &x[slot.offset + start..][..len]
}

/// Runs `work` on every piece, which answers with a sum; joins the sums by slot, in order.
pub fn sums_of<D: Send>(
    slots: &[Slot],
    pieces: Vec<Piece<D>>,
    work: impl Fn(Piece<D>) -> f64 + Send + Sync,
) -> Vec<f64> {
    let owners: Vec<usize> = pieces.iter().map(|piece| piece.slot).collect();
    let parts: Vec<f64> = pieces.into_par_iter().map(work).collect();
    let mut sums = vec![0.0; slots.len()];
    for (slot, part) in owners.into_iter().zip(parts) {
        sums[slot] += part;
    }
    sums
}

/// Runs `work` on every piece, which answers with a sum of squares.
pub fn norms_of<D: Send>(
    slots: &[Slot],
    pieces: Vec<Piece<D>>,
    work: impl Fn(Piece<D>) -> f64 + Send + Sync,
) -> Norms {
    Norms { squares: sums_of(slots, pieces, work) }
}

/// A sum of products in lanes.
pub struct Products([f64; LANES]);

impl Products {
    /// The sum over no elements: zero in every lane.
    pub const NONE: Self = Self([0.0; LANES]);

    /// Adds x · y.
    #[inline(always)]
    pub fn add<M: MulAdd, T: Real>(&mut self, m: M, x: &[T], y: &[T]) {
        let (blocks, rest) = x.as_chunks::<LANES>();
        let (others, last) = y.as_chunks::<LANES>();
        for (block, other) in blocks.iter().zip(others) {
            for ((lane, x), y) in self.0.iter_mut().zip(block).zip(other) {
                *lane = m.fma(x.wide(), y.wide(), *lane);
            }
        }
        for ((lane, x), y) in self.0.iter_mut().zip(rest).zip(last) {
            *lane = m.fma(x.wide(), y.wide(), *lane);
        }
    }

    /// Adds x · x.
    #[inline(always)]
    pub fn add_squares<M: MulAdd, T: Real>(&mut self, m: M, x: &[T]) {
        self.add(m, x, x);
    }

    /// The total over all lanes, added in order.
    #[inline(always)]
    pub fn sum(self) -> f64 {
        let mut total = 0.0;
        for lane in self.0 {
            total += lane;
        }
        total
    }
}
