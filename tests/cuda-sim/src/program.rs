//! A function ready to run: instructions whose operands are places in the register file.
//!
//! Owns: the shape of an instruction and of a program. May not touch: how either is made or run.

use crate::warp::Machine;
use std::sync::atomic::AtomicU64;

/// What carries out an instruction for the lanes of a mask.
///
/// # Safety
/// The instruction's register offsets lie in the machine's register file.
pub type Run = unsafe fn(&mut Machine<'_>, &Ins, u32);

/// An operation, and its short form: where the sources hold one value for all lanes, it is computed once. The short
/// form reads lane 0 and writes all lanes, whatever the mask.
#[derive(Clone, Copy)]
pub struct Pair {
    pub run: Run,
    pub one: Option<Run>,
}

impl Pair {
    pub const fn alone(run: Run) -> Self {
        Self { run, one: None }
    }
}

/// Where no register is meant.
pub const NONE: u32 = u32::MAX;

/// How the loop that runs a warp treats an instruction; the loop minds the order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Computes in registers.
    Plain,
    /// May fail.
    Memory,
    /// Computes in registers, by a function that a GPU only approximates.
    Approximate,
    /// A further step of the instruction before; not counted.
    Helper,
    Branch,
    Exit,
    Barrier,
    /// Waits for the lanes that its mask names, then runs.
    Sync,
    /// Ends the launch: a trap or a failed assertion.
    Abort,
}

/// A memory space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Space {
    #[default]
    Generic,
    Global,
    Shared,
    Local,
    Parameter,
}

/// One decoded instruction. What most of them need lies in the first 64 bytes.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct Ins {
    pub run: Run,
    /// What runs as long as the lanes have not parted: the short form where `uniform` found that it serves.
    pub together: Run,
    /// The predicate that guards it, or [`NONE`].
    pub guard: u32,
    /// All ones where the guard is negated.
    pub flip: u32,
    pub d: u32,
    pub s: [u32; 4],
    /// How many registers `extra` names, or a choice that the operation makes.
    pub code: u32,
    /// Where a branch goes; for a memory access, the number of its cached range.
    pub target: u32,
    pub kind: Kind,
    pub space: Space,
    /// Whether the address register has 64 bits.
    pub wide: bool,
    pub offset: i64,
    /// The registers of a vector, or a second destination.
    pub extra: [u32; 4],
    pub line: u32,
    /// The short form, if there is one.
    pub one: Option<Run>,
}

/// A register that is filled in before a warp starts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Special {
    /// The thread's place in its block, by axis.
    Thread(u8),
    BlockSize(u8),
    Block(u8),
    GridSize(u8),
    Lane,
    Warp,
    /// Bits and their width.
    Constant(u64, u8),
    /// A mask of the lanes below (-1), at (0) or above (1) this one, and whether it is itself in.
    LaneMask(i8, bool),
}

/// A parameter's place in the block of parameters.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    pub at: usize,
    pub size: usize,
}

/// A function ready to run.
pub struct Program {
    pub name: String,
    pub code: Vec<Ins>,
    /// What to fill in, and where.
    pub specials: Vec<(Special, u32)>,
    pub register_bytes: usize,
    /// Bytes of local memory of one lane.
    pub local: usize,
    pub shared: usize,
    /// How many memory accesses keep a cached range.
    pub sites: usize,
    /// Blocks must run one after the other: it has atomics on global memory.
    pub sequential: bool,
    pub barriers: bool,
    /// Instructions of a thread in the last launch.
    pub pace: AtomicU64,
}
