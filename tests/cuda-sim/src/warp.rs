//! A warp: 32 lanes in lockstep, which part at branches and meet again.
//!
//! Owns: registers, the lanes' places in the code, who waits for whom, the cached ranges of allowed memory.
//! May not touch: what an instruction computes; the order of warps.
//!
//! Of the lanes' places the smallest one runs, together with all lanes that are there: code after a branch lies
//! below both its sides, so that the lanes meet there by themselves. Lanes that wait at an exchange are parked
//! until the others that its mask names arrive.

use crate::counters::Counts;
use crate::fault::{ASSERT, Fault, LAUNCH_FAILED, LAUNCH_TIMEOUT};
use crate::ops::Lane;
use crate::ops::memory::{Recent, refusal};
use crate::program::{Ins, Kind, NONE, Program, Space};

/// The mask of a full warp.
pub const ALL: u32 = u32::MAX;

/// Instructions of one warp between two waits after which a kernel counts as one that never ends.
const PATIENCE: u64 = 20_000_000_000;

/// What belongs to one warp.
#[derive(Clone)]
pub struct State {
    /// The register file: a register holds its 32 lanes one after the other.
    pub registers: *mut u8,
    pub local: *mut u8,
    pub places: [u32; 32],
    /// Lanes that have not returned.
    pub live: u32,
    /// Lanes that wait for others of their warp.
    pub parked: u32,
    /// Lanes that wait for the whole block.
    pub waiting: u32,
    /// Whether lanes went different ways, ever: from then on a register may hold more than one value, whatever the
    /// program says. Lanes that only returned do not count.
    pub parted: bool,
    /// Each lane's carry of `add.cc` and its like.
    pub carry: u32,
}

/// The memory that the lanes of a block share.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    pub shared: *mut u8,
    pub shared_bytes: usize,
    pub local_bytes: usize,
    pub parameters: &'a [u8],
    /// Allocated ranges, in order; looked at where a kernel is checked.
    pub ranges: &'a [(u64, u64)],
}

/// An access of some lanes to so many bytes each.
#[derive(Clone, Copy)]
pub struct Reach {
    pub mask: u32,
    pub bytes: u64,
    pub store: bool,
}

/// What runs one warp after the other.
pub struct Machine<'a> {
    pub state: State,
    pub checked: bool,
    pub counts: Counts,
    /// What a first cache would still know.
    pub recent: Recent,
    pub fault: Option<Fault>,
    pub memory: Memory<'a>,
    /// The range that each access of the code last fell in.
    pub sites: Vec<(u64, u64)>,
    /// Where the warp is, for messages.
    pub block: [u32; 3],
    pub warp: u32,
}

/// Why a warp stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    Done,
    Barrier,
    Fault,
}

impl Machine<'_> {
    /// The first lane of a register.
    ///
    /// # Safety
    /// `at` is the offset of a register of this width.
    #[inline(always)]
    pub unsafe fn lanes<T: Lane>(&self, at: u32) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.state.registers.add(at as usize).cast::<T>() }
    }

    /// # Safety
    /// `at` is the offset of a register of this width.
    #[inline(always)]
    pub unsafe fn read<T: Lane>(&self, at: u32) -> [T; 32] {
        // SAFETY: the caller's promise; registers are aligned to 64 bytes.
        unsafe { *self.state.registers.add(at as usize).cast::<[T; 32]>() }
    }

    /// # Safety
    /// `at` is the offset of a register of this width.
    #[inline(always)]
    pub unsafe fn write<T: Lane>(&mut self, at: u32, values: &[T; 32], mask: u32) {
        // SAFETY: the caller's promise; nobody else holds a reference into the register file.
        let register = unsafe { &mut *self.state.registers.add(at as usize).cast::<[T; 32]>() };
        if mask == ALL {
            *register = *values;
            return;
        }
        // SAFETY: `cuInit` has seen to the processor's features.
        #[allow(unused_unsafe, reason = "safe where there are no such features")]
        unsafe {
            blend(register, values, mask);
        }
    }

    /// # Safety
    /// `at` is the offset of a predicate.
    #[inline(always)]
    pub unsafe fn predicate(&self, at: u32) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { *self.state.registers.add(at as usize).cast::<u32>() }
    }

    /// # Safety
    /// `at` is the offset of a predicate.
    #[inline(always)]
    pub unsafe fn set_predicate(&mut self, at: u32, value: u32, mask: u32) {
        // SAFETY: the caller's promise.
        unsafe {
            let register = self.state.registers.add(at as usize).cast::<u32>();
            *register = *register & !mask | value & mask;
        }
    }

    /// Host address, length and distance between lanes of a space that the simulator holds.
    #[inline(always)]
    pub fn window(&self, space: Space) -> (u64, u64, u64) {
        let memory = &self.memory;
        match space {
            Space::Shared => (memory.shared as u64, memory.shared_bytes as u64, 0),
            Space::Local => (self.state.local as u64, memory.local_bytes as u64, memory.local_bytes as u64),
            _ => (memory.parameters.as_ptr() as u64, memory.parameters.len() as u64, 0),
        }
    }

    /// Whether all lanes' accesses lie in live allocations and are aligned; else the fault is noted.
    #[inline(always)]
    pub fn check_global(&mut self, at: &[u64; 32], reach: Reach, i: &Ins) -> bool {
        let (start, end) = self.sites[i.target as usize];
        let last = end - reach.bytes;
        let (mut outside, mut odd) = (0, 0);
        for address in at {
            // One of the differences is negative for an address outside: ranges lie in the lower half of all.
            outside |= address.wrapping_sub(start) | last.wrapping_sub(*address);
            odd |= *address;
        }
        (outside >> 63 == 0 && odd & (reach.bytes - 1) == 0) || self.check_each(at, reach, i)
    }

    /// As [`Machine::check_global`], for one address of all lanes.
    #[inline(always)]
    pub fn check_one(&mut self, at: u64, reach: Reach, i: &Ins) -> bool {
        let (start, end) = self.sites[i.target as usize];
        let inside = at >= start && at <= end - reach.bytes && at & (reach.bytes - 1) == 0;
        inside || self.check_each(&[at; 32], reach, i)
    }

    #[cold]
    fn check_each(&mut self, at: &[u64; 32], reach: Reach, i: &Ins) -> bool {
        for l in (0..32).filter(|l| reach.mask >> l & 1 == 1) {
            let address = at[l];
            let after = self.memory.ranges.partition_point(|range| range.0 <= address);
            let range = after.checked_sub(1).map(|n| self.memory.ranges[n]);
            match range.filter(|range| address < range.1 && range.1 - address >= reach.bytes) {
                Some(range) if address.is_multiple_of(reach.bytes) => self.sites[i.target as usize] = range,
                _ => {
                    self.fail_at(refusal(address, reach, Space::Global), i, l as u32);
                    return false;
                }
            }
        }
        true
    }

    /// Notes that an access to a space that the simulator holds went wrong.
    #[cold]
    pub fn refuse(&mut self, at: &[u64; 32], reach: Reach, i: &Ins, space: Space) {
        let (_, length, _) = self.window(space);
        let bytes = reach.bytes;
        let wrong =
            |address: u64| !address.is_multiple_of(bytes) || length < bytes || address > length - bytes;
        let lane = (0..32).find(|l| reach.mask >> l & 1 == 1 && wrong(at[*l])).unwrap_or(0);
        self.fail_at(refusal(at[lane], reach, space), i, lane as u32);
    }

    pub fn fail(&mut self, fault: Fault, i: &Ins) {
        self.fail_at(fault, i, 0);
    }

    #[cold]
    fn fail_at(&mut self, fault: Fault, i: &Ins, lane: u32) {
        let (block, thread, line) = (self.block, self.warp * 32 + lane, i.line);
        let text = format!("{} (PTX line {line}, block {block:?}, thread {thread})", fault.text);
        self.fault.get_or_insert(Fault::new(fault.code, text));
    }

    /// Runs until all lanes have returned or wait at a barrier.
    ///
    /// # Safety
    /// The register file is the program's, with its specials filled in.
    #[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
    pub unsafe fn run(&mut self, program: &Program) -> Stop {
        while self.fault.is_none() {
            let runnable = self.state.live & !self.state.parked & !self.state.waiting;
            if runnable == 0 {
                return self.stop(program);
            }
            let (place, mask, next) = if self.state.parted {
                select(&self.state.places, runnable)
            } else {
                (self.state.places[runnable.trailing_zeros() as usize & 31], runnable, u32::MAX)
            };
            // SAFETY: the caller's promise.
            unsafe { self.segment(program, place, mask, next) };
        }
        Stop::Fault
    }

    fn stop(&mut self, program: &Program) -> Stop {
        let State { live, parked, waiting, .. } = self.state;
        if live == 0 {
            return Stop::Done;
        }
        if parked == 0 && waiting == live {
            return Stop::Barrier;
        }
        let place = self.state.places[parked.trailing_zeros() as usize & 31];
        let text = format!("deadlock: lanes {parked:#x} wait for lanes that never come");
        self.fail(Fault::new(LAUNCH_FAILED, text), &program.code[place as usize]);
        Stop::Fault
    }

    /// Runs lanes that are at one place until they part, wait, return, or come to where others are.
    ///
    /// # Safety
    /// As for [`Machine::run`].
    #[inline(always)]
    unsafe fn segment(&mut self, program: &Program, mut place: u32, mut mask: u32, next: u32) {
        let (mut steps, mut width) = (0u64, u64::from(mask.count_ones()));
        while place < next {
            let i = &program.code[place as usize];
            let mut here = mask;
            if i.guard != NONE {
                // SAFETY: guards are predicates of the register file.
                here &= unsafe { self.predicate(i.guard) } ^ i.flip;
            }
            steps += 1;
            if i.kind <= Kind::Helper {
                // SAFETY: the instruction is of this program.
                if here != 0 && !unsafe { self.step(i, here) } {
                    break;
                }
                if i.kind >= Kind::Approximate {
                    self.account(i.kind, here, &mut steps);
                }
                place += 1;
                continue;
            }
            match i.kind {
                Kind::Branch if here == mask && steps < PATIENCE => place = i.target,
                Kind::Branch if here == 0 => place += 1,
                _ => {
                    self.counts.instructions += steps * width;
                    steps = 0;
                    match self.turn(i, place, mask, here) {
                        Some(left) => (mask, place) = (left, place + 1),
                        None => return,
                    }
                    width = u64::from(mask.count_ones());
                }
            }
        }
        self.counts.instructions += steps * width;
        self.put(mask, place);
    }

    /// Carries an instruction out; false after a fault.
    ///
    /// # Safety
    /// The instruction is of the program whose register file this is.
    #[inline(always)]
    unsafe fn step(&mut self, i: &Ins, here: u32) -> bool {
        let run = if self.state.parted { i.run } else { i.together };
        // What lanes compute that have returned does not matter.
        let all = here == self.state.live && i.kind != Kind::Memory;
        // SAFETY: the caller's promise.
        unsafe { run(self, i, if all { ALL } else { here }) };
        self.fault.is_none()
    }

    #[inline(always)]
    fn account(&mut self, kind: Kind, here: u32, steps: &mut u64) {
        match kind {
            Kind::Approximate => self.counts.approximate += u64::from(here.count_ones()),
            Kind::Helper => *steps -= 1,
            _ => {}
        }
    }

    /// Sets the place of the lanes of a mask.
    #[inline(always)]
    fn put(&mut self, mask: u32, place: u32) {
        for l in 0..32 {
            self.state.places[l] = if mask >> l & 1 != 0 { place } else { self.state.places[l] };
        }
    }

    /// An instruction after which the lanes may not go on together: the lanes that do, or `None`.
    #[inline(always)]
    fn turn(&mut self, i: &Ins, place: u32, mask: u32, here: u32) -> Option<u32> {
        match i.kind {
            Kind::Branch if here == mask => {
                self.fail(Fault::new(LAUNCH_TIMEOUT, "the kernel does not end"), i);
                None
            }
            Kind::Branch => {
                self.state.parted = true;
                self.put(here, i.target);
                self.put(mask & !here, place + 1);
                None
            }
            _ if here == 0 => Some(mask),
            Kind::Exit => {
                self.state.live &= !here;
                // Who waits for a lane that has returned waits no longer.
                self.state.parked = 0;
                self.put(mask & !here, place + 1);
                None
            }
            Kind::Barrier => {
                self.state.parted |= here != mask;
                self.put(mask & !here, place + 1);
                self.put(here, place);
                self.state.waiting |= here;
                None
            }
            Kind::Sync => self.exchange(i, place, mask, here),
            _ => {
                self.fail(
                    Fault::new(
                        if i.code == 0 { LAUNCH_FAILED } else { ASSERT },
                        ABORTED[i.code as usize & 1],
                    ),
                    i,
                );
                None
            }
        }
    }

    /// An exchange runs when every lane that its mask names is here.
    fn exchange(&mut self, i: &Ins, place: u32, mask: u32, here: u32) -> Option<u32> {
        // SAFETY: the fourth operand of an exchange is the register of its member mask.
        let members = unsafe { self.read::<u32>(i.s[3]) }[here.trailing_zeros() as usize & 31];
        if here & !members != 0 {
            let text = format!("lanes {:#x} are not in their own member mask", here & !members);
            self.fail(Fault::new(LAUNCH_FAILED, text), i);
            return None;
        }
        let parked = self.state.parked;
        let before = (0..32).filter(|l| parked >> l & 1 == 1 && self.state.places[*l] == place);
        let arrived = before.fold(here, |arrived, l| arrived | 1 << l);
        if members & self.state.live & !arrived != 0 {
            self.state.parted = true;
            self.put(here, place);
            self.put(mask & !here, place + 1);
            self.state.parked |= here;
            return None;
        }
        self.state.parked &= !arrived;
        // SAFETY: the instruction is of this program.
        unsafe { (i.run)(self, i, arrived) };
        if self.fault.is_some() {
            return None;
        }
        Some(mask | arrived)
    }
}

/// Puts some lanes' values in a register.
#[inline(never)]
#[cfg_attr(target_arch = "x86_64", target_feature(enable = "avx2,fma"))]
fn blend<T: Lane>(register: &mut [T; 32], values: &[T; 32], mask: u32) {
    for l in 0..32 {
        register[l] = if mask >> l & 1 != 0 { values[l] } else { register[l] };
    }
}

const ABORTED: [&str; 2] = ["the kernel trapped", "an assertion of the kernel failed"];

/// The smallest place of the lanes, the lanes that are there, and the next place where others are.
#[inline(always)]
fn select(places: &[u32; 32], runnable: u32) -> (u32, u32, u32) {
    let mut own = [u32::MAX; 32];
    let mut place = u32::MAX;
    for l in 0..32 {
        own[l] = if runnable >> l & 1 != 0 { places[l] } else { u32::MAX };
        place = place.min(own[l]);
    }
    let (mut mask, mut next) = (0, u32::MAX);
    for (l, own) in own.into_iter().enumerate() {
        mask |= u32::from(own == place) << l;
        next = next.min(if own == place { u32::MAX } else { own });
    }
    (place, mask, next)
}
