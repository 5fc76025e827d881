//! Counter-based noise: Philox4x32-10 (Salmon et al. 2011), so that no perturbation is ever stored.
//!
//! The noise of element `i` of the parameter with rank `t` (names sorted as bytes) in draw `k` for purpose `p` under
//! `seed` is lane `i % 4` of the block with counter `(i / 4, t, k, p)` and key `(seed mod 2^32, seed / 2^32)`.
//! Normals are Box-Muller on the lanes (0, 1) and (2, 3) with `u = (word + 1/2) / 2^32`, in the precision of the run:
//! in f32 they follow those in f64 to 3e-7.
//!
//! Owns: the map from (seed, tensor, draw, purpose, element) to a number. May not touch: what is perturbed with it.

use crate::device::functions::{direction, radius};
use crate::device::real::Real;
use crate::device::widest::MulAdd;

const M0: u32 = 0xD251_1F53;
const M1: u32 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;

/// Blocks that are made at once: so many that the compiler keeps the loops over them and makes vectors of them, and so
/// few that they stay in the first cache.
const BLOCKS: usize = 128;
/// Numbers that are made at once.
pub const NUMBERS: usize = 4 * BLOCKS;

/// The last word of the counter: the same draw for another purpose is independent noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Purpose {
    /// Normal with mean 0 and variance 1.
    Gauss = 0,
    /// Uniform on (-1, 1).
    Uniform = 1,
    /// -1 or 1, each with probability one half.
    Sign = 2,
    /// Standard normal, for directions of a landscape.
    Direction = 3,
    /// Uniform on (0, 1), a number for each example instead of each parameter: chooses a class.
    Class = 4,
    /// As [`Purpose::Class`]: puts the examples in an order of chance.
    Order = 5,
}

/// Names one draw of noise over all parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Draw {
    /// The seed of the run.
    pub seed: u64,
    /// Number of the draw.
    pub index: u32,
    /// What it is for.
    pub purpose: Purpose,
}

/// One block of Philox4x32 with ten rounds.
#[inline(always)]
pub fn philox(counter: [u32; 4], [mut k0, mut k1]: [u32; 2]) -> [u32; 4] {
    // Words lie in lanes of 64 bits, as the products need them; what is in their upper halves does not matter.
    let mut words = counter.map(u64::from);
    for _ in 0..10 {
        let product0 = u64::from(M0) * u64::from(words[0] as u32);
        let product1 = u64::from(M1) * u64::from(words[2] as u32);
        let word0 = (product1 >> 32) ^ words[1] ^ u64::from(k0);
        let word2 = (product0 >> 32) ^ words[3] ^ u64::from(k1);
        words = [word0, product1, word2, product0];
        k0 = k0.wrapping_add(W0);
        k1 = k1.wrapping_add(W1);
    }
    words.map(|word| word as u32)
}

/// Two normals from two words.
#[inline(always)]
fn box_muller<M: MulAdd, T: Real>(m: M, length: u32, angle: u32) -> [T; 2] {
    let length = radius::<M, T>(m, length);
    let (sin, cos) = direction::<M, T>(m, angle);
    [length * cos, length * sin]
}

/// Where numbers are made: lane by lane, then in order.
struct NoiseScratch<T> {
    words: [[u32; BLOCKS]; 4],
    planes: [[T; BLOCKS]; 4],
    numbers: [T; NUMBERS],
}

impl Draw {
    /// Makes numbers `NUMBERS * chunk ..` of the parameter with rank `tensor`.
    #[inline(always)]
    fn fill<M: MulAdd, T: Real>(&self, m: M, tensor: u32, chunk: usize, scratch: &mut NoiseScratch<T>) {
        match self.purpose {
            Purpose::Sign => self.blocks(
                tensor,
                chunk,
                scratch,
                #[inline(always)]
                |words| words.map(|w| T::ONE.flip(w >> 31)),
            ),
            // Signed about the middle, so that numbers near zero keep all their places.
            Purpose::Class | Purpose::Order => self.blocks(
                tensor,
                chunk,
                scratch,
                #[inline(always)]
                |words| words.map(|w| (T::of_unsigned(w) + T::of(0.5)) * T::of(1.0 / 4_294_967_296.0)),
            ),
            Purpose::Uniform => self.blocks(
                tensor,
                chunk,
                scratch,
                #[inline(always)]
                |words| {
                    let unit = T::of(1.0 / 2_147_483_648.0);
                    words.map(|w| (T::of_signed((w ^ (1 << 31)) as i32) + T::of(0.5)) * unit)
                },
            ),
            Purpose::Gauss | Purpose::Direction => self.blocks(
                tensor,
                chunk,
                scratch,
                #[inline(always)]
                |[a, b, c, d]| {
                    let [first, second] = box_muller(m, a, b);
                    let [third, fourth] = box_muller(m, c, d);
                    [first, second, third, fourth]
                },
            ),
        }
    }

    #[allow(clippy::needless_range_loop, reason = "over one index, loops become vectors")]
    #[inline(always)]
    fn blocks<T: Real>(
        &self,
        tensor: u32,
        chunk: usize,
        scratch: &mut NoiseScratch<T>,
        f: impl Fn([u32; 4]) -> [T; 4],
    ) {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        let first = (chunk * BLOCKS) as u32;
        let NoiseScratch { words, planes: [a, b, c, d], numbers } = scratch;
        // Two loops: integers and floats in one would want more registers than there are.
        for i in 0..BLOCKS {
            let block = philox([first + i as u32, tensor, self.index, self.purpose as u32], key);
            [words[0][i], words[1][i], words[2][i], words[3][i]] = block;
        }
        for i in 0..BLOCKS {
            [a[i], b[i], c[i], d[i]] = f([words[0][i], words[1][i], words[2][i], words[3][i]]);
        }
        for (i, block) in numbers.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            *block = [a[i], b[i], c[i], d[i]];
        }
    }

    /// The numbers of the parameter with rank `tensor` from element `start` on, a multiple of [`NUMBERS`].
    #[inline(always)]
    pub fn from(self, tensor: u32, start: usize) -> NoiseFrom {
        NoiseFrom { draw: self, tensor, start }
    }

    /// The random bits of one example, named by its key: the first two words of the block with counter
    /// `(key mod 2^32, key / 2^32, draw, purpose)`, the first of them above.
    pub fn bits(&self, example: u64) -> u64 {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        let block = philox([example as u32, (example >> 32) as u32, self.index, self.purpose as u32], key);
        u64::from(block[0]) << 32 | u64::from(block[1])
    }

    /// The uniform number in (0, 1) of one example, of its upper 53 bits.
    pub fn uniform(&self, example: u64) -> f64 {
        ((self.bits(example) >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
    }

    /// The numbers of elements `0..len`, in f64: for tests.
    #[cfg(test)]
    pub fn vector(&self, tensor: u32, len: usize) -> Vec<f64> {
        let mut all = vec![0.0; len];
        self.from(tensor, 0).each(crate::device::widest::Fused, len, |first, noise| {
            all[first..first + noise.len()].copy_from_slice(noise);
        });
        all
    }
}

/// A draw's numbers for one parameter, from an element on.
#[derive(Clone, Copy)]
pub struct NoiseFrom {
    draw: Draw,
    tensor: u32,
    /// Index of the first element within the parameter.
    pub start: usize,
}

impl NoiseFrom {
    /// Calls `with(first, noise)` for runs of numbers that cover `len` elements; `first` counts from the start.
    #[inline(always)]
    pub fn each<M: MulAdd, T: Real>(&self, m: M, len: usize, mut with: impl FnMut(usize, &[T])) {
        debug_assert_eq!(self.start % NUMBERS, 0, "noise is made {NUMBERS} at a time");
        let words = [[0; BLOCKS]; 4];
        let planes = [[T::ZERO; BLOCKS]; 4];
        let mut scratch = NoiseScratch { words, planes, numbers: [T::ZERO; NUMBERS] };
        for first in (0..len).step_by(NUMBERS) {
            self.draw.fill(m, self.tensor, (self.start + first) / NUMBERS, &mut scratch);
            with(first, &scratch.numbers[..NUMBERS.min(len - first)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::widest::{Apart, Fused};

    #[test]
    fn known_answers_of_random123() {
        let ones = [u32::MAX; 4];
        let pi = [0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344];
        let cases = [
            ([0; 4], [0; 2], [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]),
            (ones, [u32::MAX; 2], [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]),
            (pi, [0xA409_3822, 0x299F_31D0], [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1]),
        ];
        for (counter, key, want) in cases {
            assert_eq!(philox(counter, key), want);
        }
    }

    /// Element by element as the module's text has it, with libm.
    fn defined(draw: Draw, tensor: u32, i: u32) -> f64 {
        let key = [draw.seed as u32, (draw.seed >> 32) as u32];
        let words = philox([i / 4, tensor, draw.index, draw.purpose as u32], key);
        let unit = |j: usize| (f64::from(words[j]) + 0.5) / 4_294_967_296.0;
        let lane = (i % 4) as usize;
        let pair = (i % 4 / 2 * 2) as usize;
        match draw.purpose {
            Purpose::Sign => 1.0 - 2.0 * f64::from(words[lane] >> 31),
            Purpose::Uniform => 2.0 * unit(lane) - 1.0,
            Purpose::Class | Purpose::Order => unit(lane),
            Purpose::Gauss | Purpose::Direction => {
                let (sin, cos) = libm::sincos(std::f64::consts::TAU * unit(pair + 1));
                let length = (-2.0 * libm::log(unit(pair))).sqrt();
                length * if i.is_multiple_of(2) { cos } else { sin }
            }
        }
    }

    const PURPOSES: [Purpose; 4] = [Purpose::Gauss, Purpose::Uniform, Purpose::Sign, Purpose::Direction];

    #[test]
    fn a_number_for_an_example_belongs_to_its_key() {
        let draw = |index, purpose| Draw { seed: 11 << 32 | 5, index, purpose };
        let block = philox([7, 3, 2, Purpose::Order as u32], [5, 11]);
        let bits = u64::from(block[0]) << 32 | u64::from(block[1]);
        assert_eq!(draw(2, Purpose::Order).bits(3 << 32 | 7), bits);
        let draws = 2_000;
        let uniform = |index| draw(index, Purpose::Class).uniform(u64::MAX - 1);
        let mean = (0..draws).map(uniform).sum::<f64>() / f64::from(draws);
        assert!((mean - 0.5).abs() < 0.03, "{mean}");
    }

    #[test]
    fn vectors_follow_the_definition_in_both_precisions() {
        for purpose in PURPOSES {
            let draw = Draw { seed: u64::MAX - 5, index: 3, purpose };
            let check = |i: usize, found: f64, tolerance: f64| {
                let want = defined(draw, 7, i as u32);
                assert!((found - want).abs() < tolerance, "{purpose:?} {i}: {found} {want}");
            };
            draw.from(7, 0).each(Fused, 10_003, |first, noise: &[f64]| {
                noise.iter().enumerate().for_each(|(i, x)| check(first + i, *x, 1e-14));
            });
            draw.from(7, 2 * NUMBERS).each(Apart, 10_003, |first, noise: &[f32]| {
                noise
                    .iter()
                    .enumerate()
                    .for_each(|(i, x)| check(2 * NUMBERS + first + i, f64::from(*x), 2e-6));
            });
        }
    }

    #[test]
    fn moments_of_the_purposes() {
        for (purpose, variance) in
            [(Purpose::Gauss, 1.0), (Purpose::Uniform, 1.0 / 3.0), (Purpose::Sign, 1.0)]
        {
            let n = 200_000;
            let draw = Draw { seed: 1, index: 0, purpose };
            let noise = draw.vector(0, n);
            let mean = noise.iter().sum::<f64>() / n as f64;
            let square = noise.iter().map(|x| x * x).sum::<f64>() / n as f64;
            assert!(mean.abs() < 0.01 && (square - variance).abs() < 0.01, "{purpose:?}: {mean} {square}");
        }
    }

    #[test]
    fn a_part_is_a_part_of_the_whole() {
        let draw = Draw { seed: 4, index: 3, purpose: Purpose::Gauss };
        let whole = draw.vector(2, 2000);
        let mut part = vec![0.0; 700];
        draw.from(2, NUMBERS)
            .each(Fused, 700, |first, noise| part[first..first + noise.len()].copy_from_slice(noise));
        assert_eq!(part, whole[NUMBERS..NUMBERS + 700]);
    }
}
