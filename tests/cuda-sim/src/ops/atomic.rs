//! Atomic operations.
//!
//! Owns: what they combine, and how. May not touch: addresses; `memory` makes and checks them.

use super::memory::{addresses, count};
use super::{Lane, Name, Type};
use crate::numbers::{Bf16, F16};
use crate::program::{Ins, Run, Space};
use crate::warp::{Machine, Reach};

/// A value that atomic operations work on.
pub trait Atomic: Lane + PartialEq {
    fn combine(code: u32, old: Self, new: Self) -> Self;
}

const WORDS: [&str; 10] = ["add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"];
const COMPARE_AND_SWAP: u32 = 7;

macro_rules! atomic_integer {
    ($($t:ty),*) => { $(impl Atomic for $t {
        fn combine(code: u32, old: Self, new: Self) -> Self {
            match code {
                0 => old.wrapping_add(new),
                1 => old.min(new),
                2 => old.max(new),
                3 => old & new,
                4 => old | new,
                5 => old ^ new,
                8 => if old >= new { 0 } else { old + 1 },
                9 => if old == 0 || old > new { new } else { old - 1 },
                _ => new,
            }
        }
    })* };
}

atomic_integer!(u16, u32, u64, i32, i64);

macro_rules! atomic_float {
    ($($t:ty: |$a:ident, $b:ident| $sum:expr),*) => { $(impl Atomic for $t {
        fn combine(code: u32, $a: Self, $b: Self) -> Self {
            if code == 0 { $sum } else { $b }
        }
    })* };
}

atomic_float!(
    f32: |a, b| a + b,
    f64: |a, b| a + b,
    F16: |a, b| F16::from_f64(a.to_f64() + b.to_f64()),
    Bf16: |a, b| Bf16::from_f64(a.to_f64() + b.to_f64())
);

/// Lane by lane, in order. Blocks of a grid with such an instruction do not run at the same time.
unsafe fn atomic<T: Atomic>(m: &mut Machine<'_>, i: &Ins, mask: u32) {
    let bytes = size_of::<T>() as u64;
    // SAFETY: as for `load` and `store`.
    unsafe {
        let reach = Reach { mask, bytes, store: true };
        let mut at = [0; 32];
        if !addresses(m, i, reach, &mut at) {
            return;
        }
        if matches!(i.space, Space::Global | Space::Generic) {
            count(m, &at, Reach { store: false, ..reach });
        }
        let (new, other) = (m.read::<T>(i.s[1]), m.read::<T>(i.s[2]));
        let mut before = [T::default(); 32];
        for l in (0..32).filter(|l| mask >> l & 1 == 1) {
            let cell = at[l] as *mut T;
            before[l] = cell.read_unaligned();
            let after = match i.code {
                COMPARE_AND_SWAP if before[l] == new[l] => other[l],
                COMPARE_AND_SWAP => before[l],
                code => T::combine(code, before[l], new[l]),
            };
            cell.write_unaligned(after);
        }
        m.write(i.d, &before, mask);
    }
}

/// The atomic operation of a name, with its code and width.
pub fn pick_atomic(name: &Name<'_>) -> Option<(Run, u32, u8)> {
    let code = WORDS.iter().position(|word| name.has(word))? as u32;
    let kind = name.first();
    let run: Run = match kind {
        Type::F(32) => atomic::<f32>,
        Type::F(64) => atomic::<f64>,
        Type::F(16) => atomic::<F16>,
        Type::Bf16 => atomic::<Bf16>,
        Type::S(32) => atomic::<i32>,
        Type::S(64) => atomic::<i64>,
        Type::U(16) | Type::B(16) => atomic::<u16>,
        Type::U(32) | Type::B(32) => atomic::<u32>,
        Type::U(64) | Type::B(64) => atomic::<u64>,
        _ => return None,
    };
    Some((run, code, kind.bits()))
}
