//! Pinned host memory by its C names.
//!
//! Owns: which host memory is pinned. May not touch: device memory.
//!
//! Safety: as NVIDIA's, these functions write where the caller points.
#![allow(non_snake_case, clippy::missing_safety_doc, reason = "the names and promises are NVIDIA's")]

use super::{Handle, code_of, driver, on};
use crate::fault::{Code, Fault, INVALID_VALUE, OK, OUT_OF_MEMORY};
use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ffi::{c_int, c_uint};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Start and size of pinned memory, and whether it was allocated here.
static PINNED: Mutex<BTreeMap<u64, (usize, bool)>> = Mutex::new(BTreeMap::new());

fn pinned() -> MutexGuard<'static, BTreeMap<u64, (usize, bool)>> {
    PINNED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether these bytes of the host are pinned.
pub fn is_pinned(address: u64, bytes: usize) -> bool {
    let all = pinned();
    let before = all.range(..=address).next_back();
    before.is_some_and(|(start, (size, _))| address + bytes as u64 <= start + *size as u64)
}

/// Kernels may use pinned memory by its host address.
fn pin(address: u64, bytes: usize, own: bool) {
    pinned().insert(address, (bytes, own));
    for number in 0..driver().count() {
        if let Ok(mut device) = driver().device(number) {
            device.store.allow(address, bytes as u64);
        }
    }
}

fn unpin(address: u64) -> Result<(usize, bool), Fault> {
    let removed = pinned().remove(&address);
    let removed = removed.ok_or_else(|| Fault::new(INVALID_VALUE, format!("{address:#x} is not pinned")))?;
    for number in 0..driver().count() {
        if let Ok(mut device) = driver().device(number) {
            device.store.disallow(address);
        }
    }
    Ok(removed)
}

fn layout(bytes: usize) -> Result<Layout, Fault> {
    Layout::from_size_align(bytes.max(1), 4096).map_err(|_| Fault::new(OUT_OF_MEMORY, "no such size"))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(address: *mut Handle, bytes: usize, _: c_uint) -> Code {
    let code = on(0, |_| {
        let start = unsafe { alloc(layout(bytes)?) };
        if start.is_null() {
            return Err(Fault::new(OUT_OF_MEMORY, format!("the host has no {bytes} bytes")));
        }
        unsafe { *address = start as u64 };
        Ok(())
    });
    if code == OK {
        pin(unsafe { *address }, bytes, true);
    }
    code
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocHost_v2(address: *mut Handle, bytes: usize) -> Code {
    unsafe { cuMemHostAlloc(address, bytes, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(address: Handle) -> Code {
    code_of(unpin(address).and_then(|(bytes, own)| {
        if own {
            unsafe { dealloc(address as *mut u8, layout(bytes)?) };
        }
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostRegister_v2(address: Handle, bytes: usize, _: c_uint) -> Code {
    pin(address, bytes, false);
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostUnregister(address: Handle) -> Code {
    code_of(unpin(address).map(|_| ()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostGetDevicePointer_v2(device: *mut u64, host: Handle, _: c_uint) -> Code {
    unsafe { *device = host };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostGetFlags(flags: *mut c_uint, _: Handle) -> c_int {
    unsafe { *flags = 0 };
    OK
}
