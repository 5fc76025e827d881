//! The driver's state: devices, what they count, and what is wrong with them.
//!
//! Owns: the one driver of the process, handles, the last error's sentence, the report. May not touch: PTX.
//!
//! Every call is carried out before it returns; what the order of asynchronous work would do is not simulated. Memory
//! that two streams use with nothing between is an error all the same, see `order`.
//!
//! Safety: as NVIDIA's, the C functions write where the caller points.
#![allow(clippy::missing_safety_doc, reason = "the promises are NVIDIA's")]

mod context;
mod copies;
mod host;
mod launch;
mod modules;
mod streams;

use crate::counters::{Counts, Tally, report};
use crate::fault::{
    Code, DEVICE_UNAVAILABLE, Fault, ILLEGAL_ADDRESS, INVALID_CONTEXT, LAUNCH_FAILED, NOT_SUPPORTED, OK,
    OUT_OF_MEMORY,
};
use crate::memory::Store;
use crate::options::{Options, What};
use crate::order::{Order, Stream};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub use context::*;
pub use copies::*;
pub use host::*;
pub use launch::*;
pub use modules::*;
pub use streams::*;

/// An opaque pointer of the driver's interface.
pub type Handle = u64;

/// One simulated GPU.
pub struct Device {
    pub number: usize,
    pub store: Store,
    pub tally: Tally,
    /// What every call on it returns from now on.
    dead: Option<Fault>,
    launches: u64,
    copies: u64,
    products: u64,
    allocations: u64,
    events: HashMap<Handle, Instant>,
    pub order: Order,
    handles: u64,
}

/// All devices and what the environment asks for.
pub struct Driver {
    pub options: Options,
    devices: Vec<Mutex<Device>>,
}

thread_local! {
    static CURRENT: Cell<Handle> = const { Cell::new(0) };
    static THREAD: u64 = THREADS.fetch_add(1, Ordering::Relaxed);
    /// What this thread was told last: a call of another one must not change what the sentence for it is.
    static LAST: RefCell<Option<Fault>> = const { RefCell::new(None) };
}

/// Threads that were given work for a stream of their own.
static THREADS: AtomicU64 = AtomicU64::new(1);

/// Handles of the streams that nobody makes: the default one by two names, and the one of the calling thread.
const LEGACY: Handle = 1;
const PER_THREAD: Handle = 2;

/// The driver of this process, made when it is first called.
pub fn driver() -> &'static Driver {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let options = Options::from_environment();
        if options.report.is_some() {
            // SAFETY: the function lives as long as the process, for the library is never unloaded.
            unsafe { libc::atexit(report_at_exit) };
        }
        let devices =
            (0..options.devices).map(|number| Mutex::new(Device::new(number, options.memory))).collect();
        Driver { options, devices }
    })
}

impl Device {
    fn new(number: usize, limit: u64) -> Self {
        Self {
            number,
            store: Store::new(limit),
            tally: Tally::default(),
            dead: None,
            launches: 0,
            copies: 0,
            products: 0,
            allocations: 0,
            events: HashMap::new(),
            order: Order::default(),
            handles: 0,
        }
    }

    /// A new handle that tells its device.
    pub fn handle(&mut self, kind: u64) -> Handle {
        self.handles += 1;
        kind << 48 | (self.number as u64 + 1) << 32 | self.handles
    }

    fn alive(&self) -> Result<(), Fault> {
        self.dead.clone().map_or(Ok(()), Err)
    }

    /// Counts an event, and fails where the environment wants it to.
    pub fn trip(&mut self, what: What) -> Result<(), Fault> {
        let (number, codes) = match what {
            What::Launch | What::Lost => (&mut self.launches, LAUNCH_FAILED),
            What::Allocation => (&mut self.allocations, OUT_OF_MEMORY),
            What::Copy => (&mut self.copies, ILLEGAL_ADDRESS),
            What::Product => (&mut self.products, OUT_OF_MEMORY),
        };
        *number += 1;
        let number = *number;
        for failure in driver().options.failures.iter().filter(|failure| failure.device == self.number) {
            let lost = what == What::Launch && failure.what == What::Lost && number >= failure.number;
            if lost || (failure.what == what && number == failure.number) {
                let code = if lost { DEVICE_UNAVAILABLE } else { codes };
                let text = format!("asked for: {what:?} {number} on device {} fails", self.number);
                return Err(Fault::new(code, text));
            }
        }
        Ok(())
    }

    /// Takes memory, unless it is to fail or there is not enough.
    pub fn allocate(&mut self, bytes: usize) -> Result<u64, Fault> {
        self.trip(What::Allocation)?;
        self.store.allocate(bytes).ok_or_else(|| {
            let (live, limit) = (self.store.live, self.store.limit);
            let text = format!("{bytes} bytes asked for, {live} of {limit} in use on device {}", self.number);
            Fault::new(OUT_OF_MEMORY, text)
        })
    }

    /// Notes work on a stream by the addresses that it is given.
    pub fn touch(&mut self, what: &str, stream: Handle, addresses: &[u64]) -> Result<(), Fault> {
        self.tally.default_streams += u64::from(stream <= PER_THREAD);
        let starts: Vec<u64> = addresses.iter().filter_map(|address| self.store.start(*address)).collect();
        self.order.work(stream_of(stream), &starts).map_err(|(start, other)| {
            let own = stream_of(stream);
            let text = format!("{what} on stream {own:#x}: stream {other:#x} may still use {start:#x}");
            Fault::new(LAUNCH_FAILED, text)
        })
    }

    pub fn count(&mut self, kernel: &str, counts: Counts) {
        self.tally.count(kernel, counts);
    }

    /// The counters, with the memory's own.
    fn snapshot(&self) -> Tally {
        let mut tally = self.tally.clone();
        (tally.live_bytes, tally.peak_bytes) = (self.store.live, self.store.peak);
        tally.allocations = self.store.allocations;
        tally
    }
}

impl Driver {
    pub fn count(&self) -> usize {
        self.devices.len()
    }

    pub fn device(&self, number: usize) -> Result<MutexGuard<'_, Device>, Fault> {
        let device = self.devices.get(number).ok_or_else(no_context)?;
        Ok(device.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn no_context() -> Fault {
    Fault::new(INVALID_CONTEXT, "no context of a device is current")
}

/// The device that a handle belongs to; null handles belong to the current context.
pub fn device_of(handle: Handle) -> Result<usize, Fault> {
    let handle = if handle >> 32 == 0 { CURRENT.get() } else { handle };
    ((handle >> 32 & 0xffff) as usize).checked_sub(1).ok_or_else(no_context)
}

/// A stream's name, which tells the streams of threads apart.
pub fn stream_of(handle: Handle) -> Stream {
    match handle {
        PER_THREAD => PER_THREAD << 32 | THREAD.with(|number| *number),
        0 => LEGACY,
        made => made,
    }
}

/// Notes an error for `cuGetErrorString`.
pub fn code_of(result: Result<(), Fault>) -> Code {
    let Err(fault) = result else { return OK };
    let code = fault.code;
    LAST.set(Some(fault));
    code
}

/// The answer of a call that is not simulated.
fn refused(text: &str) -> Code {
    code_of(Err(Fault::new(NOT_SUPPORTED, text)))
}

/// Does something on a device that must be alive; a fault that poisons stays.
pub fn on(handle: Handle, work: impl FnOnce(&mut Device) -> Result<(), Fault>) -> Code {
    code_of(try_on(handle, work))
}

fn try_on(handle: Handle, work: impl FnOnce(&mut Device) -> Result<(), Fault>) -> Result<(), Fault> {
    let mut device = driver().device(device_of(handle)?)?;
    device.alive()?;
    work(&mut device).inspect_err(|fault| {
        if fault.poisons() || fault.code == DEVICE_UNAVAILABLE {
            eprintln!("cuda-sim: device {} is lost: {}", device.number, fault.text);
            device.dead = Some(fault.clone());
        }
    })
}

/// CUDA's name of a code.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(code: c_int, name: *mut *const c_char) -> Code {
    // SAFETY: the caller gives a place for a pointer.
    unsafe { *name = crate::fault::name(code).as_ptr() };
    OK
}

/// The last sentence for a code that the calling thread got. It stays in memory: the caller may keep the pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(code: c_int, text: *mut *const c_char) -> Code {
    let said = LAST
        .with_borrow(|last| last.as_ref().filter(|fault| fault.code == code).map(|fault| fault.text.clone()));
    let said = said.and_then(|said| CString::new(said).ok());
    let pointer = said.map_or(crate::fault::name(code).as_ptr(), |said| said.into_raw().cast_const());
    // SAFETY: the caller gives a place for a pointer.
    unsafe { *text = pointer };
    OK
}

/// The report as JSON.
pub fn report_text() -> String {
    // A thread that still runs a kernel at the process's end must not hold the report up for ever.
    let patience = Instant::now() + Duration::from_secs(2);
    let snapshot = |device: &Mutex<Device>| loop {
        match device.try_lock() {
            Ok(device) => return device.snapshot(),
            Err(std::sync::TryLockError::Poisoned(device)) => return device.into_inner().snapshot(),
            Err(_) if Instant::now() > patience => return Tally::default(),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    report(&driver().devices.iter().map(snapshot).collect::<Vec<_>>())
}

extern "C" fn report_at_exit() {
    if let Some(path) = &driver().options.report
        && let Err(error) = std::fs::write(path, report_text())
    {
        eprintln!("cuda-sim: {}: {error}", path.display());
    }
}

/// Writes the report to a file; 0 where that went well.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuda_sim_report(path: *const c_char) -> c_int {
    // SAFETY: the caller gives a string.
    let path = unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned();
    std::fs::write(path, report_text()).is_err().into()
}

/// Sets all counters to zero; memory in use stays, and is the new peak.
#[unsafe(no_mangle)]
pub extern "C" fn cuda_sim_reset() {
    for number in 0..driver().count() {
        if let Ok(mut device) = driver().device(number) {
            device.tally = Tally::default();
            device.store.reset();
        }
    }
}
