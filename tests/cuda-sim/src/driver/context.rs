//! Devices and contexts by their C names.
//!
//! Owns: what a device says of itself; which context is current. May not touch: memory.
//!
//! Safety: as NVIDIA's, these functions write where the caller points.
#![allow(non_snake_case, clippy::missing_safety_doc, reason = "the names and promises are NVIDIA's")]

use super::{CURRENT, Handle, code_of, device_of, driver, on};
use crate::fault::{Code, Fault, INVALID_DEVICE, INVALID_VALUE, NO_DEVICE, NOT_SUPPORTED, OK};
use crate::grid::SHARED_LIMIT;
use std::ffi::{c_char, c_int, c_uint};

/// The handle of a device's context.
fn context(device: c_int) -> Handle {
    0xc0de << 48 | (device as u64 + 1) << 32 | 1
}

fn has(device: c_int) -> Result<(), Fault> {
    if device >= 0 && (device as usize) < driver().count() {
        return Ok(());
    }
    Err(Fault::new(INVALID_DEVICE, format!("there is no device {device}")))
}

/// Calls that succeed and do nothing.
macro_rules! agreed {
    ($($name:ident($($argument:ty),*);)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($(_: $argument),*) -> Code {
            OK
        }
    )* };
}

/// Calls that this driver does not know.
macro_rules! unknown {
    ($($name:ident),* $(,)?) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() -> Code {
            $crate::driver::refused(concat!(stringify!($name), " is not simulated"))
        }
    )* };
}

pub(crate) use {agreed, unknown};

agreed! {
    cuCtxSetFlags(c_uint);
    cuCtxSetLimit(c_int, usize);
    cuCtxSetCacheConfig(c_int);
    cuCtxDestroy_v2(Handle);
    cuCtxEnablePeerAccess(Handle, c_uint);
    cuDevicePrimaryCtxRelease_v2(c_int);
    cuDevicePrimaryCtxSetFlags_v2(c_int, c_uint);
    cuDeviceSetMemPool(c_int, Handle);
    cuProfilerStart();
    cuProfilerStop();
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuInit(_: c_uint) -> Code {
    #[cfg(target_arch = "x86_64")]
    if !(std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")) {
        return code_of(Err(Fault::new(NOT_SUPPORTED, "the simulator needs a processor with AVX2 and FMA")));
    }
    if driver().count() == 0 {
        return code_of(Err(Fault::new(NO_DEVICE, "CUDA_SIM_DEVICES is 0")));
    }
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Code {
    unsafe { *version = 13000 };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Code {
    unsafe { *count = driver().count() as c_int };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Code {
    code_of(has(ordinal).map(|()| unsafe { *device = ordinal }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) -> Code {
    code_of(has(device).and_then(|()| {
        let text = c"cuda-sim (no GPU)".to_bytes_with_nul();
        if (length as usize) < text.len() {
            return Err(Fault::new(INVALID_VALUE, "no room for the name"));
        }
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr().cast(), name, text.len()) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) -> Code {
    let mut text = *b"cuda-sim: no GPU";
    text[15] = device as u8;
    code_of(has(device).map(|()| unsafe { *uuid = text }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) -> Code {
    unsafe { cuDeviceGetUuid_v2(uuid, device) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> Code {
    code_of(has(device).map(|()| unsafe { *bytes = driver().options.memory as usize }))
}

/// An A100 in what programs decide by.
fn attribute(number: c_int) -> c_int {
    match number {
        1..=3 => 1024,
        4 => 64,
        5 => c_int::MAX,
        6 | 7 => 65535,
        8 => 48 << 10,
        9 => 64 << 10,
        10 => 32,
        12 | 82 => 65536,
        13 => 1_410_000,
        16 => 108,
        33 | 34 | 41 => 1,
        36 => 1_215_000,
        37 => 5120,
        38 => 40 << 20,
        39 => 2048,
        75 => 8,
        81 => 164 << 10,
        97 => SHARED_LIMIT as c_int,
        106 => 32,
        115 => driver().options.pools.into(),
        _ => 0,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, number: c_int, device: c_int) -> Code {
    code_of(has(device).map(|()| unsafe { *value = attribute(number) }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceCanAccessPeer(can: *mut c_int, one: c_int, other: c_int) -> Code {
    code_of(has(one).and_then(|()| has(other)).map(|()| unsafe { *can = (one != other).into() }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(made: *mut Handle, device: c_int) -> Code {
    code_of(has(device)).max(on_context(device, made))
}

fn on_context(device: c_int, made: *mut Handle) -> Code {
    if has(device).is_err() {
        return OK;
    }
    on(context(device), |_| {
        unsafe { *made = context(device) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxGetState(
    device: c_int,
    flags: *mut c_uint,
    active: *mut c_int,
) -> Code {
    code_of(has(device).map(|()| unsafe { (*flags, *active) = (0, 1) }))
}

/// A context of its own is the device's primary one here: it has no memory of its own either way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v2(made: *mut Handle, _: c_uint, device: c_int) -> Code {
    let code = unsafe { cuDevicePrimaryCtxRetain(made, device) };
    if code == OK {
        CURRENT.set(context(device));
    }
    code
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v4(made: *mut Handle, _: Handle, flags: c_uint, device: c_int) -> Code {
    unsafe { cuCtxCreate_v2(made, flags, device) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: Handle) -> Code {
    CURRENT.set(context);
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(context: *mut Handle) -> Code {
    unsafe { *context = CURRENT.get() };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetDevice(device: *mut c_int) -> Code {
    code_of(device_of(0).map(|number| unsafe { *device = number as c_int }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetLimit(value: *mut usize, _: c_int) -> Code {
    unsafe { *value = 0 };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) -> Code {
    unsafe { (*least, *greatest) = (0, 0) };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSynchronize() -> Code {
    on(0, |device| {
        device.tally.host_synchronizations += 1;
        device.order.all_synchronized();
        device.store.late = 0;
        Ok(())
    })
}
