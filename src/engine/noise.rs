//! Counter-based noise: Philox4x32-10 (Salmon et al. 2011), so that no perturbation is ever stored.
//!
//! The noise of element `i` of the parameter with rank `t` (names sorted as bytes) in draw `k` for purpose `p` under
//! `seed` is lane `i % 4` of the block with counter `(i / 4, t, k, p)` and key `(seed mod 2^32, seed / 2^32)`.
//! Normals are Box-Muller on the lanes (0, 1) and (2, 3) with `u = (word + 1/2) / 2^32`.
//!
//! Owns: the map from (seed, tensor, draw, purpose, element) to a number. May not touch: what is perturbed with it.

use std::f64::consts::TAU;

const M0: u32 = 0xD251_1F53;
const M1: u32 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;

/// The last word of the counter: the same draw for another purpose is independent noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(dead_code, reason = "all purposes are specified here; the measures that need the others are to come")]
pub enum Purpose {
    /// Standard normal.
    Gauss = 0,
    /// Uniform on (-1, 1).
    Uniform = 1,
    /// -1 or 1.
    Sign = 2,
    /// Standard normal, for directions of a landscape.
    Direction = 3,
}

/// Names one draw of noise over all parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Draw {
    /// Of the run.
    pub seed: u64,
    /// Number of the draw.
    pub index: u32,
    /// What it is for.
    pub purpose: Purpose,
}

/// One block of Philox4x32 with ten rounds.
pub fn philox(mut counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let p0 = u64::from(M0) * u64::from(counter[0]);
        let p1 = u64::from(M1) * u64::from(counter[2]);
        counter =
            [(p1 >> 32) as u32 ^ counter[1] ^ k0, p1 as u32, (p0 >> 32) as u32 ^ counter[3] ^ k1, p0 as u32];
        k0 = k0.wrapping_add(W0);
        k1 = k1.wrapping_add(W1);
    }
    counter
}

fn unit(word: u32) -> f64 {
    (f64::from(word) + 0.5) / 4_294_967_296.0
}

fn box_muller(radius: u32, angle: u32) -> (f64, f64) {
    let r = (-2.0 * libm::log(unit(radius))).sqrt();
    let (sin, cos) = libm::sincos(TAU * unit(angle));
    (r * cos, r * sin)
}

impl Draw {
    /// The four numbers of elements `4 * block ..` of the parameter with rank `tensor`.
    pub fn block(&self, tensor: u32, block: u32) -> [f64; 4] {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        let words = philox([block, tensor, self.index, self.purpose as u32], key);
        match self.purpose {
            Purpose::Sign => words.map(|w| if w >> 31 == 0 { 1.0 } else { -1.0 }),
            Purpose::Uniform => words.map(|w| 2.0 * unit(w) - 1.0),
            Purpose::Gauss | Purpose::Direction => {
                let (a, b) = box_muller(words[0], words[1]);
                let (c, d) = box_muller(words[2], words[3]);
                [a, b, c, d]
            }
        }
    }

    /// Calls `with(element, noise)` for elements `start..start + len` of the parameter with rank `tensor`;
    /// `start` must be a multiple of 4.
    pub fn each(&self, tensor: u32, start: usize, len: usize, mut with: impl FnMut(usize, f64)) {
        debug_assert_eq!(start % 4, 0, "noise is made in blocks of four");
        for first in (0..len).step_by(4) {
            let block = self.block(tensor, ((start + first) / 4) as u32);
            for (lane, noise) in block.iter().enumerate().take(len - first) {
                with(first + lane, *noise);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn moments_of_the_purposes() {
        let moments = |purpose| {
            let draw = Draw { seed: 1, index: 0, purpose };
            let n = 200_000;
            let (mut mean, mut square) = (0.0, 0.0);
            draw.each(0, 0, n, |_, x| {
                mean += x / n as f64;
                square += x * x / n as f64;
            });
            (mean, square)
        };
        for (purpose, variance) in
            [(Purpose::Gauss, 1.0), (Purpose::Uniform, 1.0 / 3.0), (Purpose::Sign, 1.0)]
        {
            let (mean, square) = moments(purpose);
            assert!(mean.abs() < 0.01 && (square - variance).abs() < 0.01, "{purpose:?}: {mean} {square}");
        }
    }

    #[test]
    fn a_part_is_a_part_of_the_whole() {
        let draw = Draw { seed: u64::MAX - 5, index: 3, purpose: Purpose::Gauss };
        let (mut whole, mut part) = (vec![0.0; 23], vec![0.0; 7]);
        draw.each(2, 0, 23, |i, x| whole[i] = x);
        draw.each(2, 16, 7, |i, x| part[i] = x);
        assert_eq!(part, whole[16..]);
    }
}
