//! What lanes of a warp tell each other.
//!
//! Owns: `shfl`, `vote`, `activemask`, `redux`, `match`. May not touch: who waits for whom; `warp` has seen to that.

use super::{Name, Type};
use crate::fault::{Fault, LAUNCH_FAILED};
use crate::program::{Ins, NONE, Run};
use crate::warp::Machine;

/// The bits of an instruction's `code`: how a shuffle finds its partner, or how a vote counts.
pub fn code(name: &Name<'_>) -> Option<u32> {
    let words: &[&str] = match name.base {
        "shfl" => &["up", "down", "bfly", "idx"],
        "vote" => &["ballot", "any", "all", "uni"],
        "redux" => &["add", "min", "max", "and", "or", "xor"],
        "match" => &["any", "all"],
        _ => return Some(0),
    };
    words.iter().position(|word| name.has(word)).map(|place| place as u32)
}

pub fn pick(name: &Name<'_>) -> Option<Run> {
    Some(match (name.base, name.first()) {
        ("shfl", _) => shuffle,
        ("vote", _) => vote,
        ("redux", Type::S(32)) => reduce_signed,
        ("redux", _) => reduce,
        ("match", Type::B(64)) => matching::<u64>,
        ("match", _) => matching::<u32>,
        ("bar", _) => nothing,
        _ => return None,
    })
}

/// For instructions that the running loop carries out by itself.
///
/// # Safety
/// None is needed: it touches nothing.
pub unsafe fn nothing(_: &mut Machine<'_>, _: &Ins, _: u32) {}

/// The lane that `lane` reads from, and whether it lies inside the segment.
fn partner(code: u32, lane: u32, by: u32, clamp: u32) -> (u32, bool) {
    let (by, limit, segment) = (by & 31, clamp & 31, clamp >> 8 & 31);
    let last = lane & segment | limit & !segment;
    let first = lane & segment;
    match code {
        0 => (lane.wrapping_sub(by), lane as i32 - by as i32 >= last as i32),
        1 => (lane + by, lane + by <= last),
        2 => (lane ^ by, lane ^ by <= last),
        _ => (first | by & !segment, first | by & !segment <= last),
    }
}

unsafe fn shuffle(m: &mut Machine<'_>, i: &Ins, mask: u32) {
    // SAFETY: `decode` gives 32-bit registers and a predicate.
    unsafe {
        let (value, by, clamp) = (m.read::<u32>(i.s[0]), m.read::<u32>(i.s[1]), m.read::<u32>(i.s[2]));
        let (mut out, mut inside) = ([0; 32], 0);
        for lane in 0..32u32 {
            let (from, valid) = partner(i.code, lane, by[lane as usize], clamp[lane as usize]);
            let from = if valid { from } else { lane };
            out[lane as usize] = value[from as usize & 31];
            inside |= u32::from(valid) << lane;
            // What comes from a lane that does not take part is undefined.
            if mask >> lane & 1 == 1 && mask >> from & 1 == 0 && m.checked {
                let text = format!("shfl.sync: lane {lane} reads lane {from}, which is not there");
                m.fail(Fault::new(LAUNCH_FAILED, text), i);
            }
        }
        m.write(i.d, &out, mask);
        if i.extra[0] != NONE {
            m.set_predicate(i.extra[0], inside, mask);
        }
    }
}

unsafe fn vote(m: &mut Machine<'_>, i: &Ins, mask: u32) {
    // SAFETY: `decode` gives a predicate, and a destination that fits the kind of vote.
    unsafe {
        let yes = (m.predicate(i.s[0]) ^ i.s[1]) & mask;
        let everyone = |outcome: bool| if outcome { !0 } else { 0 };
        match i.code {
            0 => m.write(i.d, &[yes; 32], mask),
            1 => m.set_predicate(i.d, everyone(yes != 0), mask),
            2 => m.set_predicate(i.d, everyone(yes == mask), mask),
            _ => m.set_predicate(i.d, everyone(yes == mask || yes == 0), mask),
        }
    }
}

fn members<T: Copy>(values: [T; 32], mask: u32) -> impl Iterator<Item = T> {
    (0..32).filter(move |lane| mask >> lane & 1 == 1).map(move |lane| values[lane])
}

unsafe fn reduce(m: &mut Machine<'_>, i: &Ins, mask: u32) {
    // SAFETY: `decode` gives 32-bit registers.
    unsafe {
        let all = members(m.read::<u32>(i.s[0]), mask);
        let result = match i.code {
            0 => all.fold(0, u32::wrapping_add),
            1 => all.min().unwrap_or(0),
            2 => all.max().unwrap_or(0),
            3 => all.fold(!0, |a, b| a & b),
            4 => all.fold(0, |a, b| a | b),
            _ => all.fold(0, |a, b| a ^ b),
        };
        m.write(i.d, &[result; 32], mask);
    }
}

unsafe fn reduce_signed(m: &mut Machine<'_>, i: &Ins, mask: u32) {
    // SAFETY: `decode` gives 32-bit registers.
    unsafe {
        let all = members(m.read::<i32>(i.s[0]), mask);
        let result = match i.code {
            0 => all.fold(0, i32::wrapping_add),
            1 => all.min().unwrap_or(0),
            _ => all.max().unwrap_or(0),
        };
        m.write(i.d, &[result; 32], mask);
    }
}

unsafe fn matching<T: super::Lane + PartialEq>(m: &mut Machine<'_>, i: &Ins, mask: u32) {
    // SAFETY: `decode` gives a source of this width and 32-bit destinations.
    unsafe {
        let values = m.read::<T>(i.s[0]);
        let same = |lane: usize| {
            (0..32)
                .filter(|other| mask >> other & 1 == 1 && values[*other] == values[lane])
                .fold(0, |a, b| a | 1u32 << b)
        };
        let mut out: [u32; 32] = std::array::from_fn(same);
        if i.code == 1 {
            let agree = out[mask.trailing_zeros() as usize & 31] == mask;
            out = [if agree { mask } else { 0 }; 32];
            if i.extra[0] != NONE {
                m.set_predicate(i.extra[0], if agree { !0 } else { 0 }, mask);
            }
        }
        m.write(i.d, &out, mask);
    }
}

/// `activemask`: the lanes that are here.
///
/// # Safety
/// The destination is a register of 32 bits.
pub unsafe fn active(m: &mut Machine<'_>, i: &Ins, mask: u32) {
    // SAFETY: `decode` gives a 32-bit destination.
    unsafe { m.write(i.d, &[mask; 32], mask) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partners_stay_in_their_segment() {
        assert_eq!(partner(1, 30, 1, 31), (31, true));
        assert_eq!(partner(1, 31, 1, 31), (32, false));
        assert!(!partner(0, 0, 1, 0).1);
        assert_eq!(partner(0, 5, 1, 0), (4, true));
        assert_eq!(partner(2, 5, 4, 31), (1, true));
        // Segments of eight lanes: __shfl_down_sync(.., 1, 8).
        assert_eq!(partner(1, 6, 1, 0x181f), (7, true));
        assert!(!partner(1, 7, 1, 0x181f).1);
        assert_eq!(partner(3, 13, 2, 0x181f), (10, true));
    }
}
