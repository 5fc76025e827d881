//! Loads and stores.
//!
//! Owns: how lanes' addresses become host addresses and how values go through them. May not touch: which ranges are
//! allowed; `warp` has them.
//!
//! A lane that does not take part gets the address of one that does: then a load may read all 32 lanes.

use super::{Lane, Type};
use crate::fault::{Fault, ILLEGAL_ADDRESS, MISALIGNED_ADDRESS};
use crate::program::{Ins, Pair, Space};
use crate::warp::{ALL, Machine, Reach};

/// Marks of generic addresses: no process has memory there.
pub const SHARED_WINDOW: u64 = 1 << 60;
pub const LOCAL_WINDOW: u64 = 1 << 61;

/// A value in memory that a register of type `R` takes in or gives out.
pub trait Cell<R>: Lane {
    fn widen(self) -> R;
    fn cut(register: R) -> Self;
}

macro_rules! cells {
    ($($m:ty: $($r:ty),+;)*) => { $($(impl Cell<$r> for $m {
        #[inline(always)]
        fn widen(self) -> $r { self as $r }
        #[inline(always)]
        fn cut(register: $r) -> Self { register as $m }
    })+)* };
}

cells! {
    u8: u16, u32, u64; i8: u16, u32, u64; u16: u16, u32, u64; i16: u16, u32, u64;
    u32: u32, u64; i32: u32, u64; u64: u64;
}

/// Host addresses of the lanes, checked; false after a fault.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
pub(super) unsafe fn addresses(m: &mut Machine<'_>, i: &Ins, reach: Reach, at: &mut [u64; 32]) -> bool {
    // SAFETY: the offset is of a register of the width that `wide` tells.
    if i.wide {
        *at = unsafe { m.read::<u64>(i.s[0]) };
    } else {
        let narrow = unsafe { m.read::<u32>(i.s[0]) };
        for l in 0..32 {
            at[l] = u64::from(narrow[l]);
        }
    }
    if reach.mask != ALL {
        let first = at[reach.mask.trailing_zeros() as usize & 31];
        for l in 0..32 {
            at[l] = if reach.mask >> l & 1 != 0 { at[l] } else { first };
        }
    }
    for l in 0..32 {
        at[l] = at[l].wrapping_add(i.offset as u64);
    }
    let in_global = match i.space {
        Space::Global if !m.checked || m.check_global(at, reach, i) => Some(reach.mask),
        Space::Global => None,
        Space::Generic => generic(m, at, reach, i),
        space => window(m, at, reach, i, space).then_some(0),
    };
    let Some(mask) = in_global else { return false };
    if mask != 0 {
        count(m, at, Reach { mask, ..reach });
    }
    true
}

/// Host address of an access of all lanes to one place, checked; `None` after a fault.
#[inline(always)]
unsafe fn one_address(m: &mut Machine<'_>, i: &Ins, reach: Reach) -> Option<u64> {
    // SAFETY: as for `addresses`.
    let base = unsafe { if i.wide { *m.lanes::<u64>(i.s[0]) } else { u64::from(*m.lanes::<u32>(i.s[0])) } };
    let at = base.wrapping_add(i.offset as u64);
    if i.space == Space::Global {
        if m.checked && !m.check_one(at, reach, i) {
            return None;
        }
        let sectors = if m.checked { 32 * (((at + reach.bytes - 1) >> 5) - (at >> 5) + 1) } else { 0 };
        tally(m, reach, sectors);
        return Some(at);
    }
    let (base, length, _) = m.window(i.space);
    if length < reach.bytes || at > length - reach.bytes || at & (reach.bytes - 1) != 0 {
        m.refuse(&[at; 32], reach, i, i.space);
        return None;
    }
    Some(base + at)
}

#[inline(always)]
pub(super) fn count(m: &mut Machine<'_>, at: &[u64; 32], reach: Reach) {
    let sectors = match m.checked {
        false => 0,
        true if reach.mask == ALL && evenly(at, reach.bytes) => row_of_sectors(at, reach.bytes),
        true => {
            let (all, len) = distinct_sectors(at, reach.mask, reach.bytes);
            m.recent.fresh(&all[..len], reach.store)
        }
    };
    tally(m, reach, 32 * sectors);
}

#[inline(always)]
fn tally(m: &mut Machine<'_>, reach: Reach, sectors: u64) {
    let lanes = if reach.mask == ALL { 32 } else { u64::from(reach.mask.count_ones()) };
    let moved = lanes * reach.bytes;
    let counts = &mut m.counts;
    if reach.store {
        counts.stored += moved;
        counts.store_sectors += sectors;
    } else {
        counts.loaded += moved;
        counts.load_sectors += sectors;
    }
}

/// Sectors of 32 bytes that lanes one behind the other touch.
fn row_of_sectors(at: &[u64; 32], bytes: u64) -> u64 {
    ((at[31] + bytes - 1) >> 5) - (at[0] >> 5) + 1
}

/// Distinct sectors of 32 bytes that the lanes of a mask touch, sorted.
fn distinct_sectors(at: &[u64; 32], mask: u32, bytes: u64) -> ([u64; 64], usize) {
    let (mut all, mut count) = ([0u64; 64], 0);
    for lane in (0..32).filter(|lane| mask >> lane & 1 == 1) {
        for sector in [at[lane] >> 5, (at[lane] + bytes - 1) >> 5] {
            // Neighbouring lanes mostly touch one sector: most repetitions end here.
            if count == 0 || all[count - 1] != sector {
                all[count] = sector;
                count += 1;
            }
        }
    }
    let seen = &mut all[..count];
    if !seen.is_sorted() {
        seen.sort_unstable();
    }
    let mut kept = 0;
    for i in 0..count {
        if i == 0 || all[i] != all[i - 1] {
            all[kept] = all[i];
            kept += 1;
        }
    }
    (all, kept)
}

/// Accesses with gaps between lanes that a first cache still knows: halves of a sector that are taken by one
/// instruction after the other reach memory once.
#[derive(Default)]
pub struct Recent {
    accesses: std::collections::VecDeque<(bool, Vec<u64>)>,
}

impl Recent {
    /// A few vectors' worth of two halves each.
    const KNOWN: usize = 8;

    /// How many of the sectors none of the last accesses of the same kind touched.
    fn fresh(&mut self, all: &[u64], store: bool) -> u64 {
        let known = |sector: &u64| {
            self.accesses
                .iter()
                .any(|(stored, known)| *stored == store && known.binary_search(sector).is_ok())
        };
        let fresh = all.iter().filter(|sector| !known(sector)).count() as u64;
        if self.accesses.len() == Self::KNOWN {
            self.accesses.pop_front();
        }
        self.accesses.push_back((store, all.to_vec()));
        fresh
    }
}

/// Shared, local and parameter addresses are offsets into a buffer of the simulator, so they are always checked.
#[inline(always)]
fn window(m: &mut Machine<'_>, at: &mut [u64; 32], reach: Reach, i: &Ins, space: Space) -> bool {
    let (base, length, stride) = m.window(space);
    let last = length.wrapping_sub(reach.bytes);
    let (mut outside, mut odd) = (last, 0);
    for address in at.iter() {
        // A difference is negative for an address beyond the last.
        outside |= *address | last.wrapping_sub(*address);
        odd |= *address;
    }
    if outside >> 63 != 0 || odd & (reach.bytes - 1) != 0 {
        m.refuse(at, reach, i, space);
        return false;
    }
    for l in 0..32 {
        at[l] += base + stride * l as u64;
    }
    true
}

/// Each lane's address tells its space by its mark: the lanes that go to global memory, or `None` after a fault.
#[inline(always)]
fn generic(m: &mut Machine<'_>, at: &mut [u64; 32], reach: Reach, i: &Ins) -> Option<u32> {
    let marks = at.iter().fold(0, |marks, address| marks | address) & (SHARED_WINDOW | LOCAL_WINDOW);
    if marks == 0 {
        return (!m.checked || m.check_global(at, reach, i)).then_some(reach.mask);
    }
    let given = *at;
    let of = |mark: u64| {
        let of_space = |l: &usize| given[*l] & (SHARED_WINDOW | LOCAL_WINDOW) == mark;
        (0..32).filter(of_space).fold(0, |part, l| part | 1u32 << l)
    };
    for (space, mark) in [(Space::Shared, SHARED_WINDOW), (Space::Local, LOCAL_WINDOW), (Space::Global, 0)] {
        let part = of(mark);
        let reach = Reach { mask: part & reach.mask, ..reach };
        if reach.mask == 0 || (space == Space::Global && !m.checked) {
            continue;
        }
        let first = given[reach.mask.trailing_zeros() as usize];
        let mut own = given.map(|address| address & !mark);
        (0..32).filter(|l| part >> l & 1 == 0).for_each(|l| own[l] = first & !mark);
        let reached = match space {
            Space::Global => m.check_global(&own, reach, i),
            _ => window(m, &mut own, reach, i, space),
        };
        if !reached {
            return None;
        }
        (0..32).filter(|l| part >> l & 1 == 1).for_each(|l| at[l] = own[l]);
    }
    Some(of(0) & reach.mask)
}

#[inline(always)]
fn evenly(at: &[u64; 32], stride: u64) -> bool {
    let mut odd = 0;
    for l in 0..32 {
        odd |= at[l] ^ at[0].wrapping_add(stride * l as u64);
    }
    odd == 0
}

/// # Safety
/// The addresses are valid for reads of `M` at `shift` bytes beyond them.
#[inline(always)]
unsafe fn gather<M: Lane>(at: &[u64; 32], shift: u64) -> [M; 32] {
    // SAFETY: the caller's promise; a kernel whose accesses race has no defined result on a GPU either.
    unsafe {
        let stride = at[1].wrapping_sub(at[0]);
        if stride == size_of::<M>() as u64 && evenly(at, stride) {
            return ((at[0] + shift) as *const [M; 32]).read_unaligned();
        }
        if stride == 0 && evenly(at, 0) {
            return [((at[0] + shift) as *const M).read_unaligned(); 32];
        }
        let mut values = [M::default(); 32];
        for l in 0..32 {
            values[l] = ((at[l] + shift) as *const M).read_unaligned();
        }
        values
    }
}

/// # Safety
/// The addresses are valid for writes of `M` at `shift` bytes beyond them.
#[inline(always)]
unsafe fn scatter<M: Lane>(at: &[u64; 32], shift: u64, values: &[M; 32], mask: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        if mask == ALL && evenly(at, size_of::<M>() as u64) {
            ((at[0] + shift) as *mut [M; 32]).write_unaligned(*values);
            return;
        }
        let mut rest = mask;
        while rest != 0 {
            let l = rest.trailing_zeros() as usize;
            ((at[l] + shift) as *mut M).write_unaligned(values[l]);
            rest &= rest - 1;
        }
    }
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
unsafe fn load<M: Cell<R>, R: Lane>(m: &mut Machine<'_>, i: &Ins, mask: u32) {
    let bytes = size_of::<M>() as u64;
    // SAFETY: `addresses` has checked them as far as this kernel is checked; registers are as `decode` says.
    unsafe {
        let reach = Reach { mask, bytes: bytes * u64::from(i.code), store: false };
        let mut at = [0; 32];
        if !addresses(m, i, reach, &mut at) {
            return;
        }
        let whole = if mask == m.state.live { ALL } else { mask };
        for n in 0..i.code as usize {
            let values: [M; 32] = gather(&at, bytes * n as u64);
            let mut out = [R::default(); 32];
            for l in 0..32 {
                out[l] = values[l].widen();
            }
            m.write(i.extra[n], &out, whole);
        }
    }
}

/// A load from one address for all lanes.
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
unsafe fn load_one<M: Cell<R>, R: Lane>(m: &mut Machine<'_>, i: &Ins, mask: u32) {
    let bytes = size_of::<M>() as u64;
    // SAFETY: as for `load`.
    unsafe {
        let reach = Reach { mask, bytes: bytes * u64::from(i.code), store: false };
        let Some(at) = one_address(m, i, reach) else { return };
        for n in 0..i.code as usize {
            let value = ((at + bytes * n as u64) as *const M).read_unaligned();
            m.write(i.extra[n], &[value.widen(); 32], ALL);
        }
    }
}

#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
unsafe fn store<M: Cell<R>, R: Lane>(m: &mut Machine<'_>, i: &Ins, mask: u32) {
    let bytes = size_of::<M>() as u64;
    // SAFETY: as for `load`.
    unsafe {
        let reach = Reach { mask, bytes: bytes * u64::from(i.code), store: true };
        let mut at = [0; 32];
        if !addresses(m, i, reach, &mut at) {
            return;
        }
        for n in 0..i.code as usize {
            let values = m.read::<R>(i.extra[n]);
            let mut out = [M::default(); 32];
            for l in 0..32 {
                out[l] = M::cut(values[l]);
            }
            scatter(&at, bytes * n as u64, &out, mask);
        }
    }
}

macro_rules! table {
    ($form:ident, $kind:expr, $width:expr, $($bits:pat => $m:ty: $($w:pat => $r:ty),+;)*) => {
        match $kind {
            $($bits => match $width { $($w => Some($form::<$m, $r>()),)+ _ => None },)*
            _ => None,
        }
    };
}

fn loading<M: Cell<R>, R: Lane>() -> Pair {
    Pair { run: load::<M, R>, one: Some(load_one::<M, R>) }
}

fn storing<M: Cell<R>, R: Lane>() -> Pair {
    Pair::alone(store::<M, R>)
}

/// What moves a value of this type between memory and a register of this width.
pub fn pick(is_load: bool, kind: Type, width: u8) -> Option<Pair> {
    if is_load {
        table!(loading, kind, width,
            Type::S(8) => i8: 16 => u16, 32 => u32, 64 => u64;
            Type::S(16) => i16: 16 => u16, 32 => u32, 64 => u64;
            Type::S(32) => i32: 32 => u32, 64 => u64;
            Type::U(8) | Type::B(8) => u8: 16 => u16, 32 => u32, 64 => u64;
            Type::U(16) | Type::B(16) | Type::F(16) | Type::Bf16 => u16: 16 => u16, 32 => u32, 64 => u64;
            Type::U(32) | Type::B(32) | Type::F(32) => u32: 32 => u32, 64 => u64;
            Type::U(64) | Type::B(64) | Type::S(64) | Type::F(64) => u64: 64 => u64;
        )
    } else {
        table!(storing, kind.bits(), width,
            8 => u8: 16 => u16, 32 => u32, 64 => u64;
            16 => u16: 16 => u16, 32 => u32, 64 => u64;
            32 => u32: 32 => u32, 64 => u64;
            64 => u64: 64 => u64;
        )
    }
}

/// The sentence for an address that may not be used.
pub fn refusal(address: u64, reach: Reach, space: Space) -> Fault {
    let (what, bytes) = (if reach.store { "store" } else { "load" }, reach.bytes);
    let space = format!("{space:?}").to_lowercase();
    if !address.is_multiple_of(bytes) {
        let text = format!("misaligned {bytes}-byte {what}, {space} address {address:#x}");
        return Fault::new(MISALIGNED_ADDRESS, text);
    }
    Fault::new(ILLEGAL_ADDRESS, format!("{bytes}-byte {what} out of bounds, {space} address {address:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_counted_once() {
        let row = |stride: u64| std::array::from_fn(|l| 0x1000 + stride * l as u64);
        let sectors = |at: &[u64; 32], mask, bytes| distinct_sectors(at, mask, bytes).1;
        assert_eq!((sectors(&row(4), !0, 4), row_of_sectors(&row(4), 4)), (4, 4));
        assert_eq!((sectors(&row(8), !0, 8), row_of_sectors(&row(8), 8)), (8, 8));
        assert_eq!(sectors(&row(32), !0, 4), 32);
        assert_eq!(sectors(&row(0), !0, 4), 1);
        assert_eq!((sectors(&row(16), !0, 16), row_of_sectors(&row(16), 16)), (16, 16));
        assert_eq!(sectors(&row(4), 0xff, 4), 1);
        let back: [u64; 32] = std::array::from_fn(|l| 0x1000 + 4 * (31 - l as u64));
        assert_eq!(sectors(&back, !0, 4), 4);
    }

    #[test]
    fn the_second_half_of_a_sector_is_not_fetched_again() {
        let half = |first: u64| distinct_sectors(&std::array::from_fn(|l| first + 32 * l as u64), !0, 16);
        let mut recent = Recent::default();
        let mut fresh = |first, store| {
            let (all, len) = half(first);
            recent.fresh(&all[..len], store)
        };
        assert_eq!([fresh(0x1000, false), fresh(0x1010, false)], [32, 0]);
        // What is written is not what was read, and another range is another.
        assert_eq!([fresh(0x1000, true), fresh(0x9000, false)], [32, 32]);
    }
}
