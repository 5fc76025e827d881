//! What instructions do: one small function for each operation and type, over the 32 lanes of a warp.
//!
//! Owns: the meaning of every instruction. May not touch: operands' names or the order in which warps run.
//!
//! Safety: all functions here are [`Run`](crate::program::Run)s; `decode` gives them offsets inside the register file, of registers
//! whose width is the one in the operation's [`Form`].

pub mod atomic;
pub mod compare;
pub mod convert;
pub mod division;
pub mod exchange;
pub mod float;
pub mod integer;
pub mod memory;

use crate::numbers::{Bf16, F16};
use crate::program::Pair;

/// A value that a register holds for each lane.
pub trait Lane: Copy + Default {
    const BITS: u8;
}

macro_rules! lane {
    ($($t:ty: $bits:expr),*) => { $(impl Lane for $t { const BITS: u8 = $bits; })* };
}

lane!(u8: 8, i8: 8, u16: 16, i16: 16, u32: 32, i32: 32, u64: 64, i64: 64, f32: 32, f64: 64, F16: 16, Bf16: 16);

/// An operation and the widths of its registers, the destination first; a width of 1 is a predicate.
#[derive(Clone)]
pub struct Form {
    pub pair: Pair,
    pub widths: Vec<u8>,
}

/// The type in an instruction's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    Pred,
    B(u8),
    U(u8),
    S(u8),
    F(u8),
    Bf16,
}

impl Type {
    pub fn parse(word: &str) -> Option<Self> {
        if word == "pred" || word == "bf16" {
            return Some(if word == "pred" { Self::Pred } else { Self::Bf16 });
        }
        let bits: u8 = word.get(1..)?.parse().ok().filter(|bits| [8, 16, 32, 64].contains(bits))?;
        match word.as_bytes()[0] {
            b'b' => Some(Self::B(bits)),
            b'u' => Some(Self::U(bits)),
            b's' => Some(Self::S(bits)),
            b'f' => Some(Self::F(bits)),
            _ => None,
        }
    }

    pub fn bits(self) -> u8 {
        match self {
            Self::Pred => 1,
            Self::B(bits) | Self::U(bits) | Self::S(bits) | Self::F(bits) => bits,
            Self::Bf16 => 16,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Self::F(_) | Self::Bf16)
    }
}

/// A name cut at its dots: `mul`, `wide.s32`.
pub struct Name<'a> {
    pub base: &'a str,
    pub parts: Vec<&'a str>,
    pub types: Vec<Type>,
}

impl<'a> Name<'a> {
    pub fn new(text: &'a str) -> Self {
        let mut words = text.split('.').filter(|word| !word.is_empty());
        let base = words.next().unwrap_or("");
        let parts: Vec<_> = words.collect();
        // `shfl.sync.b32` and `ld.v2.f32`: the type is the last word that is one.
        let types = parts.iter().filter_map(|word| Type::parse(word)).collect();
        Self { base, parts, types }
    }

    pub fn has(&self, word: &str) -> bool {
        self.parts.contains(&word)
    }

    /// The first type; untyped instructions work on 32 bits.
    pub fn first(&self) -> Type {
        self.types.first().copied().unwrap_or(Type::B(32))
    }

    pub fn approximate(&self) -> bool {
        ["approx", "ftz", "full"].iter().any(|word| self.has(word))
    }
}

/// An operation that computes each lane from the same lane of its sources.
macro_rules! lanes {
    ($d:ty, |$($x:ident: $t:ty),+| $e:expr) => {{
        #[inline(always)]
        fn each($($x: $t),+) -> $d {
            $e
        }
        #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
        unsafe fn run(m: &mut $crate::warp::Machine<'_>, i: &$crate::program::Ins, mask: u32) {
            let mut n = 0;
            // SAFETY: the offsets are of registers of these widths, which `decode` saw to. Eight lanes are read
            // before they are written: the destination may be a source.
            unsafe {
                $(let $x = m.lanes::<$t>(i.s[n]); n += 1;)+
                debug_assert!(n <= 4);
                let mut made = [<$d>::default(); 32];
                let to = if mask == $crate::warp::ALL { m.lanes::<$d>(i.d) } else { made.as_mut_ptr() };
                for at in [0, 8, 16, 24] {
                    $(let $x = $x.add(at).cast::<[$t; 8]>().read();)+
                    let mut out = [<$d>::default(); 8];
                    for l in 0..8 {
                        out[l] = each($($x[l]),+);
                    }
                    to.add(at).cast::<[$d; 8]>().write(out);
                }
                if mask != $crate::warp::ALL {
                    m.write(i.d, &made, mask);
                }
            }
        }
        #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
        unsafe fn one(m: &mut $crate::warp::Machine<'_>, i: &$crate::program::Ins, _: u32) {
            let mut n = 0;
            // SAFETY: as above.
            unsafe {
                $(let $x = *m.lanes::<$t>(i.s[n]); n += 1;)+
                debug_assert!(n <= 4);
                m.write(i.d, &[each($($x),+); 32], $crate::warp::ALL);
            }
        }
        $crate::ops::Form {
            pair: $crate::program::Pair { run, one: Some(one) },
            widths: vec![<$d as $crate::ops::Lane>::BITS, $(<$t as $crate::ops::Lane>::BITS),+],
        }
    }};
}

pub(crate) use lanes;

/// The operation of a name, where it is one that computes lane by lane.
pub fn arithmetic(name: &Name<'_>) -> Option<Form> {
    float::pick(name).or_else(|| integer::pick(name))
}
