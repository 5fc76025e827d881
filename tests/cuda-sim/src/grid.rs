//! A launch: blocks over the machine's threads, warps of a block in turn from barrier to barrier.
//!
//! Owns: orders, the buffers that a block needs, barriers. May not touch: what happens inside a warp.

use crate::counters::Counts;
use crate::fault::{Fault, INVALID_VALUE, LAUNCH_FAILED, OUT_OF_RESOURCES};
use crate::ops::memory::Recent;
use crate::options::Order;
use crate::program::{Program, Special};
use crate::warp::{Machine, Memory, State, Stop};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Lanes' instructions that take about as long as to wake another worker.
const WORTH_SHARING: u64 = 60_000;

/// Of a kernel's first launch nobody knows how long it takes: so many instructions are assumed for a thread.
const FIRST_GUESS: u64 = 30;

/// The most shared memory of a block, as of compute capability 8.0.
pub const SHARED_LIMIT: usize = 163 << 10;

/// An empty range, beyond all that a process has.
const NOWHERE: (u64, u64) = (1 << 62, 1 << 62);

/// Everything about a launch that is known when it starts.
pub struct Launch<'a> {
    pub program: &'a Program,
    pub parameters: &'a [u8],
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: usize,
    pub ranges: &'a [(u64, u64)],
    pub checked: bool,
    pub order: Order,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "memory, never read by this name")] [u8; 64]);

thread_local! {
    /// Buffers are kept by a worker: to clear new ones would cost more than most launches.
    static SPARE: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

impl Launch<'_> {
    fn threads(&self) -> u64 {
        self.block.iter().map(|n| u64::from(*n)).product()
    }

    fn blocks(&self) -> u64 {
        self.grid.iter().map(|n| u64::from(*n)).product()
    }

    fn shared(&self) -> usize {
        // The dynamic part begins at a multiple of 16.
        match self.dynamic_shared {
            0 => self.program.shared,
            bytes => self.program.shared.next_multiple_of(16) + bytes,
        }
    }

    /// Runs every block.
    pub fn run(&self) -> Result<Counts, Fault> {
        let name = &self.program.name;
        let (threads, blocks) = (self.threads(), self.blocks());
        if threads == 0 || blocks == 0 || threads > 1024 {
            let text = format!("{name}: a grid of {:?} blocks of {:?} threads", self.grid, self.block);
            return Err(Fault::new(INVALID_VALUE, text));
        }
        if self.shared() > SHARED_LIMIT {
            let text = format!("{name}: {} bytes of shared memory", self.shared());
            return Err(Fault::new(OUT_OF_RESOURCES, text));
        }
        let warps = threads.div_ceil(32);
        let units = if self.by_warps() { blocks * warps } else { blocks };
        let threads = blocks * threads;
        let work = threads * self.program.pace.load(Ordering::Relaxed).max(FIRST_GUESS);
        let shared = !self.program.sequential && work >= WORTH_SHARING;
        let (failed, next) = (AtomicBool::new(false), AtomicU64::new(0));
        let step = if shared { units.div_ceil(8 * rayon::current_num_threads() as u64) } else { units };
        let part = || self.part(units, step, &next, &failed);
        let done = if shared && units > 1 { self.together(part) } else { part() };
        let counts = done.map_err(|fault| Fault::new(fault.code, format!("{name}: {}", fault.text)))?;
        self.program.pace.store(counts.instructions / threads, Ordering::Relaxed);
        Ok(Counts { launches: 1, ..counts })
    }

    /// Whether warps have nothing to do with each other, so that each may run by itself.
    fn by_warps(&self) -> bool {
        !self.program.barriers && self.shared() == 0
    }

    /// Runs parts on this thread and on all workers but one; who comes too late finds nothing left.
    fn together(&self, part: impl Fn() -> Result<Counts, Fault> + Sync) -> Result<Counts, Fault> {
        let all = Mutex::new(Ok(Counts::default()));
        let add = |made: Result<Counts, Fault>| {
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            *all = match (std::mem::replace(&mut *all, Ok(Counts::default())), made) {
                (Ok(a), Ok(b)) => sum(a, b),
                (Err(fault), _) | (_, Err(fault)) => Err(fault),
            };
        };
        rayon::in_place_scope(|scope| {
            for _ in 1..rayon::current_num_threads() {
                scope.spawn(|_| add(part()));
            }
            add(part());
        });
        all.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs steps of the units, blocks or warps, until there are none left.
    fn part(&self, units: u64, step: u64, next: &AtomicU64, failed: &AtomicBool) -> Result<Counts, Fault> {
        let mut start = next.fetch_add(step, Ordering::Relaxed);
        if start >= units {
            return Ok(Counts::default());
        }
        let mut buffer = SPARE.take();
        let mut bench = Bench::new(self, &mut buffer);
        let mut result = Ok(());
        while start < units && result.is_ok() {
            let end = units.min(start + step);
            for n in self.order.of(end - start, start) {
                if failed.load(Ordering::Relaxed) {
                    break;
                }
                result = bench.unit(start + n);
                if result.is_err() {
                    failed.store(true, Ordering::Relaxed);
                    break;
                }
            }
            start = next.fetch_add(step, Ordering::Relaxed);
        }
        let counts = bench.machine.counts;
        drop(bench);
        SPARE.set(buffer);
        result.map(|()| counts)
    }
}

fn sum(mut a: Counts, b: Counts) -> Result<Counts, Fault> {
    a += b;
    Ok(a)
}

/// A worker's place: the machine and the states of a block's warps.
struct Bench<'a> {
    launch: &'a Launch<'a>,
    machine: Machine<'a>,
    /// Of all warps of a block; without barriers a warp ends before the next one starts, and all use one state.
    states: Vec<State>,
    /// What to fill in for each warp and block.
    places: Vec<(Special, u32)>,
}

/// The states of a block's warps: shared memory comes first in the buffer, then the files and local memories.
fn states(launch: &Launch<'_>, buffer: &mut Vec<Line>, files: usize) -> Vec<State> {
    let program = launch.program;
    let registers = program.register_bytes.next_multiple_of(64);
    let file_bytes = registers + 32 * program.local.next_multiple_of(64);
    let shared = launch.shared().next_multiple_of(64);
    let needed = (shared + files * file_bytes) / 64;
    if buffer.len() < needed {
        buffer.resize(needed, Line([0; 64]));
    }
    let start = buffer.as_mut_ptr().cast::<u8>();
    let state = |warp: usize| {
        let file = shared + warp * file_bytes;
        State {
            // SAFETY: the buffer has room for the shared memory and all files.
            registers: unsafe { start.add(file) },
            // SAFETY: as above.
            local: unsafe { start.add(file + registers) },
            places: [0; 32],
            live: 0,
            parked: 0,
            waiting: 0,
            parted: false,
            carry: 0,
        }
    };
    (0..files).map(state).collect()
}

impl<'a> Bench<'a> {
    fn new(launch: &'a Launch<'a>, buffer: &mut Vec<Line>) -> Self {
        let program = launch.program;
        let files = if program.barriers { launch.threads().div_ceil(32) as usize } else { 1 };
        let states = states(launch, buffer, files);
        let memory = Memory {
            shared: buffer.as_mut_ptr().cast(),
            shared_bytes: launch.shared(),
            local_bytes: program.local.next_multiple_of(64),
            parameters: launch.parameters,
            ranges: launch.ranges,
        };
        let machine = Machine {
            state: states[0].clone(),
            checked: launch.checked,
            counts: Counts::default(),
            recent: Recent::default(),
            fault: None,
            memory,
            sites: vec![NOWHERE; program.sites],
            block: [u32::MAX; 3],
            warp: 0,
        };
        let of_place =
            |special: &Special| matches!(special, Special::Thread(_) | Special::Block(_) | Special::Warp);
        let places = program.specials.iter().filter(|(special, _)| of_place(special)).copied().collect();
        let mut bench = Self { launch, machine, states, places };
        for n in 0..files {
            bench.fill_constants(n);
        }
        bench
    }

    fn file(&self, n: usize) -> *mut u8 {
        self.states[n].registers
    }

    fn fill_constants(&mut self, n: usize) {
        let (grid, block) = (self.launch.grid, self.launch.block);
        for (special, at) in &self.launch.program.specials {
            let lanes: [u64; 32] = match *special {
                Special::Constant(bits, _) => [bits; 32],
                Special::BlockSize(axis) => [u64::from(block[axis as usize]); 32],
                Special::GridSize(axis) => [u64::from(grid[axis as usize]); 32],
                Special::Lane => std::array::from_fn(|l| l as u64),
                Special::LaneMask(side, own) => std::array::from_fn(|l| lane_mask(l as u32, side, own)),
                Special::Thread(_) | Special::Block(_) | Special::Warp => continue,
            };
            let width = if let Special::Constant(_, width) = special { *width } else { 32 };
            // SAFETY: `decode` gave the special a register of this width.
            unsafe { fill(self.file(n).add(*at as usize), width, lanes) };
        }
    }

    /// What differs between warps and blocks.
    fn fill_places(&mut self, file: usize, warp: u32) {
        let [x, y, z] = self.launch.block;
        // In a block of one row a thread's place is its number.
        let flat = y == 1 && z == 1;
        for (special, at) in &self.places {
            // SAFETY: these registers have 32 bits for each lane.
            let register = unsafe { &mut *self.file(file).add(*at as usize).cast::<[u32; 32]>() };
            let mut threads = [0; 32];
            for l in 0..32 {
                threads[l] = 32 * warp + l as u32;
            }
            *register = match *special {
                Special::Thread(0) if flat => threads,
                Special::Thread(_) if flat => [0; 32],
                Special::Thread(0) => threads.map(|thread| thread % x),
                Special::Thread(1) => threads.map(|thread| thread / x % y),
                Special::Thread(_) => threads.map(|thread| thread / x / y),
                Special::Block(axis) => [self.machine.block[axis as usize]; 32],
                _ => [warp; 32],
            };
        }
    }

    /// Makes a warp's state that of a start.
    fn start(&mut self, file: usize, warp: u64) {
        let lanes = (self.launch.threads() - 32 * warp).min(32);
        let state = &mut self.states[file];
        state.places = [0; 32];
        state.live = (!0u64 >> (64 - lanes)) as u32;
        (state.parked, state.waiting, state.parted) = (0, 0, false);
        self.fill_places(file, warp as u32);
    }

    /// Runs a block, or a warp where these are the units.
    fn unit(&mut self, number: u64) -> Result<(), Fault> {
        let warps = self.launch.threads().div_ceil(32);
        if self.launch.by_warps() {
            self.enter(number / warps);
            return self.single(number % warps);
        }
        self.enter(number);
        let memory = self.machine.memory;
        // SAFETY: the buffer begins with the shared memory. All bits set is a NaN: what was never written shows.
        unsafe { memory.shared.write_bytes(0xff, memory.shared_bytes) };
        if !self.launch.program.barriers {
            return self.launch.order.of(warps, number).try_for_each(|n| self.single(n));
        }
        (0..warps).for_each(|n| self.start(n as usize, n));
        let mut round = 0;
        while self.round(number + round)? {
            round += 1;
        }
        Ok(())
    }

    fn enter(&mut self, number: u64) {
        let [x, y, _] = self.launch.grid.map(u64::from);
        self.machine.block = [(number % x) as u32, (number / x % y) as u32, (number / x / y) as u32];
    }

    /// Runs a warp of a kernel without barriers.
    fn single(&mut self, warp: u64) -> Result<(), Fault> {
        self.start(0, warp);
        self.run(0, warp).map(|_| ())
    }

    fn run(&mut self, file: usize, warp: u64) -> Result<Stop, Fault> {
        self.machine.warp = warp as u32;
        std::mem::swap(&mut self.machine.state, &mut self.states[file]);
        // SAFETY: the state's register file is this program's, and filled in.
        let stop = unsafe { self.machine.run(self.launch.program) };
        std::mem::swap(&mut self.machine.state, &mut self.states[file]);
        if stop == Stop::Fault {
            let lost = || Fault::new(LAUNCH_FAILED, "stopped");
            return Err(self.machine.fault.take().unwrap_or_else(lost));
        }
        Ok(stop)
    }

    /// Runs every warp up to its next barrier; whether there is one.
    fn round(&mut self, seed: u64) -> Result<bool, Fault> {
        let (mut at_barrier, mut lanes) = (None, false);
        for n in self.launch.order.of(self.states.len() as u64, seed).map(|n| n as usize) {
            if self.states[n].live == 0 {
                continue;
            }
            if self.run(n, n as u64)? == Stop::Barrier {
                lanes = true;
                self.arrive(n, &mut at_barrier)?;
            }
        }
        Ok(lanes)
    }

    /// Lets a warp go on after its barrier, which must be the one where the others are.
    fn arrive(&mut self, n: usize, at_barrier: &mut Option<u32>) -> Result<(), Fault> {
        let state = &mut self.states[n];
        let place = *at_barrier.get_or_insert(state.places[state.live.trailing_zeros() as usize & 31]);
        let mut astray = 0;
        for l in 0..32 {
            astray |= u32::from(state.places[l] != place) << l;
        }
        astray &= state.live;
        if astray != 0 {
            let line = |place: u32| self.launch.program.code[place as usize].line;
            let (one, other) = (line(place), line(state.places[astray.trailing_zeros() as usize]));
            let text = format!(
                "threads of block {:?} wait at different barriers, PTX lines {one} and {other}",
                self.machine.block
            );
            return Err(Fault::new(LAUNCH_FAILED, text));
        }
        // Where lanes are that have returned does not matter.
        state.places = [place + 1; 32];
        state.waiting = 0;
        Ok(())
    }
}

fn lane_mask(lane: u32, side: i8, own: bool) -> u64 {
    let below = (1u64 << lane) - 1;
    let here = 1u64 << lane;
    let mask = match side {
        -1 => below,
        0 => 0,
        _ => u64::from(u32::MAX) & !below & !here,
    };
    if own { mask | here } else { mask }
}

/// # Safety
/// `at` is a register of this width.
unsafe fn fill(at: *mut u8, width: u8, lanes: [u64; 32]) {
    // SAFETY: the caller's promise.
    unsafe {
        match width {
            1 => at.cast::<u32>().write(if lanes[0] & 1 == 1 { !0 } else { 0 }),
            16 => at.cast::<[u16; 32]>().write(lanes.map(|x| x as u16)),
            32 => at.cast::<[u32; 32]>().write(lanes.map(|x| x as u32)),
            _ => at.cast::<[u64; 32]>().write(lanes),
        }
    }
}
