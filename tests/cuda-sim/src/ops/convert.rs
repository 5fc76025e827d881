//! Conversions between types.
//!
//! Owns: `cvt` and the widening of registers. May not touch: arithmetic.
//!
//! The common conversions are functions of their own; the others go through a wide value of each lane, which is slow
//! but has one place for every rule.

use super::{Form, Name, Type, lanes};
use crate::numbers::{Bf16, F16, Rounding, narrow};
use crate::program::{Ins, Pair};
use crate::warp::{ALL, Machine};

/// A common conversion whose registers are as wide as its types.
pub fn common(name: &Name<'_>) -> Option<Form> {
    if name.has("sat") || ["rz", "rm", "rp"].iter().any(|word| name.has(word)) {
        return None;
    }
    let (to, from) = (name.types.first()?, name.types.get(1)?);
    let whole = ["rni", "rzi", "rmi", "rpi"].iter().any(|word| name.has(word));
    match (to, from) {
        (Type::F(_) | Type::Bf16, Type::F(_) | Type::Bf16) if whole => None,
        (Type::U(64) | Type::S(64), Type::U(32)) => Some(lanes!(u64, |a: u32| u64::from(a))),
        (Type::U(64) | Type::S(64), Type::S(32)) => Some(lanes!(i64, |a: i32| i64::from(a))),
        (Type::U(32) | Type::S(32), Type::U(64) | Type::S(64)) => Some(lanes!(u32, |a: u64| a as u32)),
        (Type::U(32) | Type::S(32), Type::U(16)) => Some(lanes!(u32, |a: u16| u32::from(a))),
        (Type::U(16) | Type::S(16), Type::U(32) | Type::S(32)) => Some(lanes!(u16, |a: u32| a as u16)),
        (Type::F(64), Type::F(32)) => Some(lanes!(f64, |a: f32| f64::from(a))),
        (Type::F(32), Type::F(64)) => Some(lanes!(f32, |a: f64| a as f32)),
        (Type::F(32), Type::U(32)) => Some(lanes!(f32, |a: u32| a as f32)),
        (Type::F(32), Type::S(32)) => Some(lanes!(f32, |a: i32| a as f32)),
        (Type::F(64), Type::U(32)) => Some(lanes!(f64, |a: u32| f64::from(a))),
        (Type::F(64), Type::S(32)) => Some(lanes!(f64, |a: i32| f64::from(a))),
        (Type::F(64), Type::U(64)) => Some(lanes!(f64, |a: u64| a as f64)),
        (Type::F(32), Type::F(16)) => Some(lanes!(f32, |a: F16| a.to_f64() as f32)),
        (Type::F(32), Type::Bf16) => Some(lanes!(f32, |a: Bf16| a.to_f64() as f32)),
        (Type::F(16), Type::F(32)) => Some(lanes!(F16, |a: f32| F16::from_f64(f64::from(a)))),
        (Type::Bf16, Type::F(32)) => Some(lanes!(Bf16, |a: f32| Bf16::from_f64(f64::from(a)))),
        _ => None,
    }
}

/// One lane's value on its way: integers keep all their bits, floats of every format fit a f64.
#[derive(Clone, Copy)]
enum Value {
    Whole(i128),
    Real(f64),
}

/// Numbers of types and roundings, packed in an instruction's `code`.
pub fn pack(name: &Name<'_>, from_width: u8, to_width: u8) -> Option<u32> {
    let (to, from) = (number(*name.types.first()?)?, number(*name.types.get(1)?)?);
    let place = |words: [&str; 4]| words.iter().position(|word| name.has(word)).unwrap_or(0) as u32;
    let (round, whole) = (place(["rn", "rz", "rm", "rp"]), place(["rni", "rzi", "rmi", "rpi"]));
    let integral = u32::from(["rni", "rzi", "rmi", "rpi"].iter().any(|word| name.has(word)));
    let widths = u32::from(from_width / 32) << 16 | u32::from(to_width / 32) << 20;
    Some(
        to | from << 4
            | round << 8
            | whole << 10
            | integral << 12
            | u32::from(name.has("sat")) << 13
            | widths,
    )
}

fn number(kind: Type) -> Option<u32> {
    Some(match kind {
        Type::U(bits) | Type::B(bits) => u32::from(bits).trailing_zeros() - 3,
        Type::S(bits) => u32::from(bits).trailing_zeros() - 3 + 4,
        Type::F(bits) => u32::from(bits).trailing_zeros() - 4 + 8,
        Type::Bf16 => 11,
        Type::Pred => return None,
    })
}

/// Any conversion, by the types in the instruction's `code`.
pub const GENERAL: Pair = Pair { run: general, one: Some(general_one) };

unsafe fn general(m: &mut Machine<'_>, i: &Ins, mask: u32) {
    // SAFETY: the widths in `code` are those of the registers, which `decode` saw to.
    unsafe {
        let raw = match i.code >> 16 & 3 {
            0 => m.read::<u16>(i.s[0]).map(u64::from),
            1 => m.read::<u32>(i.s[0]).map(u64::from),
            _ => m.read::<u64>(i.s[0]),
        };
        let out = raw.map(|bits| store(convert(load(bits, i.code >> 4 & 15), i.code), i.code));
        match i.code >> 20 & 3 {
            0 => m.write(i.d, &out.map(|bits| bits as u16), mask),
            1 => m.write(i.d, &out.map(|bits| bits as u32), mask),
            _ => m.write(i.d, &out, mask),
        }
    }
}

unsafe fn general_one(m: &mut Machine<'_>, i: &Ins, _: u32) {
    // SAFETY: as above.
    unsafe {
        let raw = match i.code >> 16 & 3 {
            0 => u64::from(*m.lanes::<u16>(i.s[0])),
            1 => u64::from(*m.lanes::<u32>(i.s[0])),
            _ => *m.lanes::<u64>(i.s[0]),
        };
        let out = store(convert(load(raw, i.code >> 4 & 15), i.code), i.code);
        match i.code >> 20 & 3 {
            0 => m.write(i.d, &[out as u16; 32], ALL),
            1 => m.write(i.d, &[out as u32; 32], ALL),
            _ => m.write(i.d, &[out; 32], ALL),
        }
    }
}

fn load(bits: u64, kind: u32) -> Value {
    match kind {
        0..=3 => Value::Whole(i128::from(bits & (!0 >> (64 - (8 << kind))))),
        4..=7 => {
            let spare = 64 - (8 << (kind - 4));
            Value::Whole(i128::from((bits << spare) as i64 >> spare))
        }
        8 => Value::Real(F16(bits as u16).to_f64()),
        9 => Value::Real(f64::from(f32::from_bits(bits as u32))),
        10 => Value::Real(f64::from_bits(bits)),
        _ => Value::Real(Bf16(bits as u16).to_f64()),
    }
}

fn convert(value: Value, code: u32) -> Value {
    let (to, saturates) = (code & 15, code >> 13 & 1 == 1);
    match value {
        Value::Whole(x) if to < 8 && saturates => Value::Whole(clamp(x, to)),
        Value::Whole(x) if to < 8 => Value::Whole(x),
        Value::Whole(x) => Value::Whole(x),
        Value::Real(x) if to < 8 => Value::Whole(whole(x, code, to)),
        Value::Real(x) => {
            let x = if code >> 12 & 1 == 1 { rounded(x, code >> 10 & 3) } else { x };
            Value::Real(if saturates { if x > 0.0 { x.min(1.0) } else { 0.0 } } else { x })
        }
    }
}

fn limits(kind: u32) -> (i128, i128) {
    match kind {
        0..=3 => (0, (1i128 << (8 << kind)) - 1),
        _ => (-(1i128 << ((8 << (kind - 4)) - 1)), (1i128 << ((8 << (kind - 4)) - 1)) - 1),
    }
}

fn clamp(x: i128, kind: u32) -> i128 {
    let (least, most) = limits(kind);
    x.clamp(least, most)
}

/// A float to an integer always saturates; a NaN becomes zero.
fn whole(x: f64, code: u32, kind: u32) -> i128 {
    let mode = if code >> 12 & 1 == 1 { code >> 10 & 3 } else { 1 };
    clamp(rounded(x, mode) as i128, kind)
}

fn rounded(x: f64, mode: u32) -> f64 {
    match mode {
        0 => x.round_ties_even(),
        1 => x.trunc(),
        2 => x.floor(),
        _ => x.ceil(),
    }
}

fn store(value: Value, code: u32) -> u64 {
    let rounding = Rounding::from_code(code >> 8 & 3);
    match (value, code & 15) {
        // An integer goes to f32 in one rounding, which a way over f64 would not be for 64 bits.
        (Value::Whole(x), 9) if rounding == Rounding::Nearest => u64::from((x as f32).to_bits()),
        (Value::Whole(x), 9) => {
            let high = x as f64;
            u64::from(narrow(high, (x - high as i128) as f64, rounding).to_bits())
        }
        (Value::Whole(x), 10) => (x as f64).to_bits(),
        (Value::Whole(x), 8) => u64::from(F16::from_f64(x as f64).0),
        (Value::Whole(x), 11) => u64::from(Bf16::from_f64(x as f64).0),
        (Value::Whole(x), kind) => {
            let (least, _) = limits(kind);
            let width = 8u32 << (kind & 3);
            let bits = x as u64 & (!0 >> (64 - width));
            // A signed value fills the register above its type with its sign.
            if least < 0 && width < 64 {
                ((bits << (64 - width)) as i64 >> (64 - width)) as u64
            } else {
                bits
            }
        }
        (Value::Real(x), 8) => u64::from(F16::from_f64(x).0),
        (Value::Real(x), 9) => u64::from(narrow(x, 0.0, rounding).to_bits()),
        (Value::Real(x), 10) => x.to_bits(),
        (Value::Real(x), _) => u64::from(Bf16::from_f64(x).0),
    }
}

/// `mov` between a register and a vector of its parts.
pub fn join(whole: u8, part: u8) -> Option<Form> {
    Some(match (whole, part) {
        (32, 16) => lanes!(u32, |a: u16, b: u16| u32::from(a) | u32::from(b) << 16),
        (64, 32) => lanes!(u64, |a: u32, b: u32| u64::from(a) | u64::from(b) << 32),
        (64, 16) => lanes!(u64, |a: u16, b: u16, c: u16, d: u16| {
            u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32 | u64::from(d) << 48
        }),
        _ => return None,
    })
}

/// One part of a register.
pub fn part(whole: u8, part: u8, place: usize) -> Option<Form> {
    Some(match (whole, part, place) {
        (32, 16, 0) => lanes!(u16, |a: u32| a as u16),
        (32, 16, 1) => lanes!(u16, |a: u32| (a >> 16) as u16),
        (64, 32, 0) => lanes!(u32, |a: u64| a as u32),
        (64, 32, 1) => lanes!(u32, |a: u64| (a >> 32) as u32),
        (64, 16, 0) => lanes!(u16, |a: u64| a as u16),
        (64, 16, 1) => lanes!(u16, |a: u64| (a >> 16) as u16),
        (64, 16, 2) => lanes!(u16, |a: u64| (a >> 32) as u16),
        (64, 16, 3) => lanes!(u16, |a: u64| (a >> 48) as u16),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::ops::Lane;

    fn converted(name: &str, bits: u64) -> u64 {
        let name = Name::new(name);
        let width = |kind: Type| kind.bits().max(16);
        let code = pack(&name, width(name.types[1]), width(name.types[0])).unwrap();
        store(convert(load(bits, code >> 4 & 15), code), code)
    }

    #[test]
    fn integers_are_cut_extended_and_clamped() {
        assert_eq!(converted("cvt.u32.u64", 0x1_0000_0002), 2);
        assert_eq!(converted("cvt.s64.s8", 0x80), 0xffff_ffff_ffff_ff80);
        assert_eq!(converted("cvt.sat.u8.s32", 300), 255);
        assert_eq!(converted("cvt.sat.u8.s32", -3i64 as u64), 0);
    }

    #[test]
    fn floats_become_integers_in_the_named_rounding() {
        let bits = |x: f32| u64::from(x.to_bits());
        assert_eq!(converted("cvt.rni.s32.f32", bits(2.5)), 2);
        assert_eq!(converted("cvt.rpi.s32.f32", bits(2.1)), 3);
        assert_eq!(converted("cvt.rzi.u32.f32", bits(-1.5)), 0);
        assert_eq!(converted("cvt.rzi.s32.f32", bits(1e20)) as u32, i32::MAX as u32);
        assert_eq!(converted("cvt.rzi.s32.f32", bits(f32::NAN)), 0);
    }

    #[test]
    fn integers_become_floats_in_the_named_rounding() {
        let made = |name: &str, x: u64| f32::from_bits(converted(name, x) as u32);
        assert_eq!(made("cvt.rn.f32.s32", 16_777_217), 16_777_216.0);
        assert_eq!(made("cvt.rp.f32.s32", 16_777_217), 16_777_218.0);
        assert_eq!(made("cvt.rz.f32.s32", -16_777_217i64 as u64), -16_777_216.0);
        assert_eq!(made("cvt.rn.f32.u64", u64::MAX), u64::MAX as f32);
    }

    #[test]
    fn floats_become_other_floats() {
        let made = |name: &str, x: f32| f32::from_bits(converted(name, u64::from(x.to_bits())) as u32);
        assert_eq!(made("cvt.rmi.f32.f32", -1.5), -2.0);
        assert_eq!(made("cvt.sat.f32.f32", 1.5), 1.0);
        assert_eq!(made("cvt.sat.f32.f32", f32::NAN), 0.0);
        assert_eq!(converted("cvt.rn.bf16.f32", u64::from(1.5f32.to_bits())), 0x3fc0);
        let third = 1.0f64 / 3.0;
        assert_eq!(
            f32::from_bits(converted("cvt.rz.f32.f64", third.to_bits()) as u32),
            (third as f32).next_down()
        );
    }

    #[test]
    fn widths_of_lanes_are_known() {
        assert_eq!((<F16 as Lane>::BITS, <f64 as Lane>::BITS), (16, 64));
    }
}
