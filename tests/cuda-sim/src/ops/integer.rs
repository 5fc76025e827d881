//! Arithmetic and bits of integers.
//!
//! Owns: `.u`, `.s` and `.b` operations, carries, bit fields. May not touch: memory, conversions, comparisons.

use super::{Form, Lane, Name, Type, division, lanes};
use crate::program::{Ins, Pair, Run};
use crate::warp::{ALL, Machine};

pub fn pick(name: &Name<'_>) -> Option<Form> {
    let kind = name.first();
    if kind.is_float() {
        return None;
    }
    if let Some(form) = carry(name).or_else(|| bits(name)).or_else(|| division::pick(name)) {
        return Some(form);
    }
    match kind {
        Type::Pred => predicate(name),
        Type::U(16) | Type::B(16) => unsigned16(name),
        Type::U(32) | Type::B(32) => unsigned32(name),
        Type::U(64) | Type::B(64) => unsigned64(name),
        Type::S(16) => signed16(name),
        Type::S(32) => signed32(name),
        Type::S(64) => signed64(name),
        _ => None,
    }
}

/// What treats a register as a row of bits.
macro_rules! patterns {
    ($name:expr, $t:ty, $bits:expr) => {
        match $name.base {
            "mov" => Some(lanes!($t, |a: $t| a)),
            "and" => Some(lanes!($t, |a: $t, b: $t| a & b)),
            "or" => Some(lanes!($t, |a: $t, b: $t| a | b)),
            "xor" => Some(lanes!($t, |a: $t, b: $t| a ^ b)),
            "not" => Some(lanes!($t, |a: $t| !a)),
            "cnot" => Some(lanes!($t, |a: $t| if a == 0 { 1 } else { 0 })),
            // A shift by the width or more clears the register, or fills it with the sign.
            "shl" => Some(lanes!($t, |a: $t, b: u32| if b < $bits { a << (b & ($bits - 1)) } else { 0 })),
            "shr" => Some(lanes!($t, |a: $t, b: u32| {
                let most = a >> ($bits - 1);
                if b < $bits {
                    a >> (b & ($bits - 1))
                } else if <$t>::MIN == 0 {
                    0
                } else {
                    most
                }
            })),
            "sad" => Some(lanes!($t, |a: $t, b: $t, c: $t| (a.abs_diff(b) as $t).wrapping_add(c))),
            _ => None,
        }
    };
}

macro_rules! family {
    ($fn:ident, $t:ty, $raw:ty, $wide:ty, $bits:expr) => {
        fn $fn(name: &Name<'_>) -> Option<Form> {
            let (wide, high) = (name.has("wide"), name.has("hi"));
            match name.base {
                "add" => Some(lanes!($t, |a: $t, b: $t| a.wrapping_add(b))),
                "sub" => Some(lanes!($t, |a: $t, b: $t| a.wrapping_sub(b))),
                "mul" | "mad" if wide => widening::$fn(name),
                "mul" if high => Some(lanes!($t, |a: $t, b: $t| ((a as $wide * b as $wide) >> $bits) as $t)),
                "mad" if high => Some(lanes!($t, |a: $t, b: $t, c: $t| {
                    (((a as $wide * b as $wide) >> $bits) as $t).wrapping_add(c)
                })),
                "mul" => Some(lanes!($t, |a: $t, b: $t| a.wrapping_mul(b))),
                "mad" => Some(lanes!($t, |a: $t, b: $t, c: $t| a.wrapping_mul(b).wrapping_add(c))),
                // A division by zero is not an error on a GPU: the quotient has all bits set.
                "div" => Some(lanes!($t, |a: $t, b: $t| if b == 0 { !0 } else { a.wrapping_div(b) })),
                "rem" => Some(lanes!($t, |a: $t, b: $t| if b == 0 { a } else { a.wrapping_rem(b) })),
                "min" => Some(lanes!($t, |a: $t, b: $t| if a < b { a } else { b })),
                "max" => Some(lanes!($t, |a: $t, b: $t| if a > b { a } else { b })),
                "neg" => Some(lanes!($t, |a: $t| (0 as $t).wrapping_sub(a))),
                "abs" => Some(lanes!($t, |a: $t| if a as $wide >= 0 as $wide {
                    a
                } else {
                    (0 as $t).wrapping_sub(a)
                })),
                _ => patterns!(name, $t, $bits),
            }
        }
    };
}

family!(unsigned16, u16, u16, u32, 16);
family!(unsigned32, u32, u32, u64, 32);
family!(unsigned64, u64, u64, u128, 64);
family!(signed16, i16, u16, i32, 16);
family!(signed32, i32, u32, i64, 32);
family!(signed64, i64, u64, i128, 64);

/// Products of twice the width.
mod widening {
    use super::{Form, Name, lanes};

    macro_rules! widening {
        ($($fn:ident: $t:ty => $wide:ty),*) => { $(
            pub fn $fn(name: &Name<'_>) -> Option<Form> {
                Some(match name.base {
                    "mul" => lanes!($wide, |a: $t, b: $t| a as $wide * b as $wide),
                    _ => lanes!($wide, |a: $t, b: $t, c: $wide| (a as $wide * b as $wide).wrapping_add(c)),
                })
            }
        )* };
    }

    widening!(unsigned16: u16 => u32, unsigned32: u32 => u64, signed16: i16 => i32, signed32: i32 => i64);

    pub fn unsigned64(_: &Name<'_>) -> Option<Form> {
        None
    }

    pub fn signed64(_: &Name<'_>) -> Option<Form> {
        None
    }
}

fn predicate(name: &Name<'_>) -> Option<Form> {
    macro_rules! of_masks {
        ($n:expr, |$a:ident, $b:ident| $e:expr) => {{
            unsafe fn run(m: &mut Machine<'_>, i: &Ins, mask: u32) {
                // SAFETY: the offsets are of predicates, which `decode` saw to.
                unsafe {
                    let ($a, $b) = (m.predicate(i.s[0]), m.predicate(i.s[1]));
                    m.set_predicate(i.d, $e, mask);
                }
            }
            // All bits of a predicate that is one for all lanes are alike: as well as those of lanes that returned.
            unsafe fn one(m: &mut Machine<'_>, i: &Ins, _: u32) {
                // SAFETY: as above.
                unsafe { run(m, i, ALL) }
            }
            Some(Form { pair: Pair { run, one: Some(one) }, widths: vec![1; $n + 1] })
        }};
    }
    match name.base {
        "mov" => of_masks!(1, |a, _b| a),
        "not" => of_masks!(1, |a, _b| !a),
        "and" => of_masks!(2, |a, b| a & b),
        "or" => of_masks!(2, |a, b| a | b),
        "xor" => of_masks!(2, |a, b| a ^ b),
        _ => None,
    }
}

fn bits(name: &Name<'_>) -> Option<Form> {
    let narrow = name.first().bits() == 32;
    Some(match (name.base, narrow) {
        ("popc", true) => lanes!(u32, |a: u32| a.count_ones()),
        ("popc", false) => lanes!(u32, |a: u64| a.count_ones()),
        ("clz", true) => lanes!(u32, |a: u32| a.leading_zeros()),
        ("clz", false) => lanes!(u32, |a: u64| a.leading_zeros()),
        ("brev", true) => lanes!(u32, |a: u32| a.reverse_bits()),
        ("brev", false) => lanes!(u64, |a: u64| a.reverse_bits()),
        ("bfind", true) => lanes!(u32, |a: u32| 31u32.wrapping_sub(a.leading_zeros())),
        ("bfind", false) => lanes!(u32, |a: u64| 63u32.wrapping_sub(a.leading_zeros())),
        ("bfe", true) if name.first() == Type::S(32) => {
            lanes!(u32, |a: u32, b: u32, c: u32| field(a as i32 as u64, b, c, 32, true) as u32)
        }
        ("bfe", false) if name.first() == Type::S(64) => {
            lanes!(u64, |a: u64, b: u32, c: u32| field(a, b, c, 64, true))
        }
        ("bfe", true) => lanes!(u32, |a: u32, b: u32, c: u32| field(u64::from(a), b, c, 32, false) as u32),
        ("bfe", false) => lanes!(u64, |a: u64, b: u32, c: u32| field(a, b, c, 64, false)),
        ("bfi", true) => {
            lanes!(u32, |a: u32, b: u32, c: u32, d: u32| insert(u64::from(a), u64::from(b), c, d) as u32)
        }
        ("bfi", false) => lanes!(u64, |a: u64, b: u64, c: u32, d: u32| insert(a, b, c, d)),
        ("prmt", true) if name.parts.len() == 1 => lanes!(u32, |a: u32, b: u32, c: u32| permute(a, b, c)),
        ("shf", true) => return funnel(name),
        _ => return None,
    })
}

/// The bits `[start, start + length)`; beyond the register they are copies of its top bit where signed.
#[inline(always)]
fn field(value: u64, start: u32, length: u32, width: u32, signed: bool) -> u64 {
    let (start, length) = (start & 255, length & 255);
    if length == 0 {
        return 0;
    }
    let shifted =
        if signed { ((value as i64) >> start.min(63)) as u64 } else { value.checked_shr(start).unwrap_or(0) };
    if length >= width {
        return shifted;
    }
    let low = shifted & ((1u64 << length) - 1);
    // The sign is the field's top bit, or the register's where the field reaches beyond it.
    let top = (start + length - 1).min(width - 1);
    if signed && value >> top & 1 == 1 { low | !((1u64 << length) - 1) } else { low }
}

#[inline(always)]
fn insert(value: u64, into: u64, start: u32, length: u32) -> u64 {
    let (start, length) = (start & 255, length & 255);
    let ones = if length >= 64 { !0 } else { (1u64 << length) - 1 };
    let mask = ones.checked_shl(start).unwrap_or(0);
    into & !mask | value.checked_shl(start).unwrap_or(0) & mask
}

/// Four bytes chosen out of eight; a choice with bit 3 set spreads that byte's sign.
#[inline(always)]
fn permute(a: u32, b: u32, choice: u32) -> u32 {
    let (bytes, mut made) = (u64::from(b) << 32 | u64::from(a), 0);
    for n in 0..4 {
        let pick = choice >> (4 * n) & 15;
        let byte = (bytes >> (8 * (pick & 7)) & 255) as u8;
        let byte = if pick & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte };
        made |= u32::from(byte) << (8 * n);
    }
    made
}

fn funnel(name: &Name<'_>) -> Option<Form> {
    Some(match (name.has("l"), name.has("wrap")) {
        (true, true) => lanes!(u32, |a: u32, b: u32, c: u32| ((join(a, b) << (c & 31)) >> 32) as u32),
        (true, false) => lanes!(u32, |a: u32, b: u32, c: u32| ((join(a, b) << c.min(32)) >> 32) as u32),
        (false, true) => lanes!(u32, |a: u32, b: u32, c: u32| (join(a, b) >> (c & 31)) as u32),
        (false, false) => lanes!(u32, |a: u32, b: u32, c: u32| (join(a, b) >> c.min(32)) as u32),
    })
}

#[inline(always)]
fn join(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Additions and products in a chain of words: `.cc` leaves a carry, `addc` and its like take it.
fn carry(name: &Name<'_>) -> Option<Form> {
    let (takes, leaves) = (matches!(name.base, "addc" | "subc" | "madc"), name.has("cc"));
    if !takes && !leaves {
        return None;
    }
    let run: Run = match (name.base, name.first().bits()) {
        ("add" | "addc", 32) => chain_add::<u32>,
        ("add" | "addc", 64) => chain_add::<u64>,
        ("sub" | "subc", 32) => chain_sub::<u32>,
        ("sub" | "subc", 64) => chain_sub::<u64>,
        ("mad" | "madc", 32) if name.has("hi") => chain_mad_high::<u32>,
        ("mad" | "madc", 64) if name.has("hi") => chain_mad_high::<u64>,
        ("mad" | "madc", 32) => chain_mad_low::<u32>,
        ("mad" | "madc", 64) => chain_mad_low::<u64>,
        _ => return None,
    };
    let sources = if name.base.starts_with("mad") { 3 } else { 2 };
    Some(Form { pair: Pair::alone(run), widths: vec![name.first().bits(); sources + 1] })
}

/// Bits of an instruction's `code` in a chain.
pub const TAKES_CARRY: u32 = 1;
pub const LEAVES_CARRY: u32 = 2;

trait Word: Lane + Into<u128> {
    fn cut(value: u128) -> Self;
}

impl Word for u32 {
    fn cut(value: u128) -> Self {
        value as u32
    }
}

impl Word for u64 {
    fn cut(value: u128) -> Self {
        value as u64
    }
}

macro_rules! chain {
    ($name:ident, $third:expr, |$x:ident, $carry:ident| $e:expr) => {
        unsafe fn $name<T: Word>(m: &mut Machine<'_>, i: &Ins, mask: u32) {
            let third = if $third { 2 } else { 1 };
            // SAFETY: the offsets are of registers of this width, which `decode` saw to.
            let (a, b, c) = unsafe { (m.read::<T>(i.s[0]), m.read::<T>(i.s[1]), m.read::<T>(i.s[third])) };
            let (mut out, mut carries) = ([T::default(); 32], 0);
            for l in 0..32 {
                let $x: [u128; 3] = [a[l].into(), b[l].into(), c[l].into()];
                let $carry = if i.code & TAKES_CARRY != 0 { u128::from(m.state.carry >> l & 1) } else { 0 };
                // The carry of a sum, and the borrow of a difference, is the first bit beyond the word.
                let made: u128 = $e;
                out[l] = T::cut(made);
                carries |= ((made >> T::BITS & 1) as u32) << l;
            }
            if i.code & LEAVES_CARRY != 0 {
                m.state.carry = m.state.carry & !mask | carries & mask;
            }
            // SAFETY: as above.
            unsafe { m.write(i.d, &out, mask) }
        }
    };
}

chain!(chain_add, false, |x, carry| x[0] + x[1] + carry);
chain!(chain_sub, false, |x, carry| x[0].wrapping_sub(x[1]).wrapping_sub(carry));
chain!(chain_mad_low, true, |x, carry| {
    let word = (1u128 << T::BITS) - 1;
    (x[0].wrapping_mul(x[1]) & word) + x[2] + carry
});
chain!(chain_mad_high, true, |x, carry| (x[0].wrapping_mul(x[1]) >> T::BITS) + x[2] + carry);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_cut_and_put() {
        assert_eq!(field(0xabcd, 4, 8, 32, false), 0xbc);
        assert_eq!(field(0xabcd, 4, 8, 32, true) as u32, 0xffff_ffbc);
        assert_eq!(field(0xffff_ffff_8000_0000, 28, 8, 32, true) as u32, 0xffff_fff8);
        assert_eq!(field(1, 40, 4, 32, false), 0);
        assert_eq!(field(!0, 0, 64, 64, false), !0);
        assert_eq!(insert(0xff, 0, 8, 4), 0xf00);
        assert_eq!(insert(0xff, 0x1234, 200, 4), 0x1234);
    }

    #[test]
    fn bytes_are_permuted() {
        assert_eq!(permute(0x3322_1100, 0x7766_5544, 0x7531), 0x7755_3311);
        assert_eq!(permute(0x0000_0080, 0, 0x8888), 0xffff_ffff);
    }
}
