//! Device memory and copies by their C names.
//!
//! Owns: allocation, copies, filling. May not touch: host memory that is not copied.
//!
//! Safety: as NVIDIA's, these functions trust the host pointers they are given; device addresses are looked up.
#![allow(non_snake_case, clippy::missing_safety_doc, reason = "the names and promises are NVIDIA's")]

use super::context::{agreed, unknown};
use super::{Device, Handle, driver, is_pinned, on, stream_of};
use crate::fault::{Code, Fault, INVALID_VALUE, OK};
use crate::options::What;
use std::ffi::{c_int, c_uint, c_void};

agreed! {
    cuMemPoolTrimTo(Handle, usize);
    cuMemPoolSetAttribute(Handle, c_int, *const c_void);
    cuMemPoolDestroy(Handle);
}

unknown!(cuMemAllocManaged, cuMemPrefetchAsync_v2, cuMemAdvise_v2, cuMemPoolCreate, cuImportExternalMemory);

fn outside(what: &str, address: u64, bytes: usize) -> Fault {
    Fault::new(INVALID_VALUE, format!("{what} of {bytes} bytes at {address:#x}, which is not allocated"))
}

fn inside(device: &Device, what: &str, address: u64, bytes: usize) -> Result<(), Fault> {
    if bytes == 0 || device.store.contains(address, bytes) {
        Ok(())
    } else {
        Err(outside(what, address, bytes))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Code {
    on(0, |device| {
        let limit = device.store.limit;
        unsafe {
            (*free, *total) = ((limit - device.store.live - device.store.late) as usize, limit as usize)
        };
        Ok(())
    })
}

fn new(device: &mut Device, bytes: usize) -> Result<u64, Fault> {
    if bytes == 0 {
        return Err(Fault::new(INVALID_VALUE, "an allocation of no bytes"));
    }
    device.allocate(bytes)
}

/// Memory that is there when the stream comes to it.
fn allocate(handle: Handle, address: *mut u64, bytes: usize) -> Code {
    on(handle, |device| {
        let start = new(device, bytes)?;
        unsafe { *address = start };
        device.touch("allocation", handle, &[start])
    })
}

fn free(handle: Handle, address: u64, waits: bool) -> Code {
    on(handle, |device| {
        if waits {
            device.order.all_synchronized();
        } else {
            device.touch("freeing", handle, &[address])?;
        }
        device.order.forget(address);
        let live = device.store.live;
        if address == 0 || device.store.free(address) {
            device.store.late += if waits { 0 } else { live - device.store.live };
            return Ok(());
        }
        Err(Fault::new(INVALID_VALUE, format!("{address:#x} is freed, which is no allocation")))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> Code {
    on(0, |device| {
        unsafe { *address = new(device, bytes)? };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocAsync(address: *mut u64, bytes: usize, stream: Handle) -> Code {
    allocate(stream, address, bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocFromPoolAsync(
    address: *mut u64,
    bytes: usize,
    _: Handle,
    stream: Handle,
) -> Code {
    allocate(stream, address, bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFree_v2(address: u64) -> Code {
    free(0, address, true)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeAsync(address: u64, stream: Handle) -> Code {
    free(stream, address, false)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetDefaultMemPool(pool: *mut Handle, device: c_int) -> Code {
    unsafe { *pool = 0xb001 << 48 | (device as u64 + 1) << 32 | 1 };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetMemPool(pool: *mut Handle, device: c_int) -> Code {
    unsafe { cuDeviceGetDefaultMemPool(pool, device) }
}

/// Used and reserved bytes, now or at most, are numbers 5 to 8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemPoolGetAttribute(pool: Handle, number: c_int, value: *mut u64) -> Code {
    on(pool, |device| {
        let bytes = match number {
            5 | 7 => device.store.live,
            6 | 8 => device.store.peak,
            _ => 0,
        };
        unsafe { *value = bytes };
        Ok(())
    })
}

fn to_device(handle: Handle, to: u64, from: *const u8, bytes: usize, waits: bool) -> Code {
    on(handle, |device| {
        device.trip(What::Copy)?;
        inside(device, "copy", to, bytes)?;
        device.touch("copy", handle, &[to])?;
        unsafe { std::ptr::copy(from, to as *mut u8, bytes) };
        device.tally.copies_to_device += 1;
        device.tally.bytes_to_device += bytes as u64;
        device.tally.host_synchronizations += u64::from(waits);
        Ok(())
    })
}

fn to_host(handle: Handle, to: *mut u8, from: u64, bytes: usize, waits: bool) -> Code {
    on(handle, |device| {
        device.trip(What::Copy)?;
        inside(device, "copy", from, bytes)?;
        device.touch("copy", handle, &[from])?;
        unsafe { std::ptr::copy(from as *const u8, to, bytes) };
        if waits {
            device.order.synchronized(stream_of(handle));
        }
        device.tally.copies_to_host += 1;
        device.tally.bytes_to_host += bytes as u64;
        device.tally.host_synchronizations += u64::from(waits);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const u8, bytes: usize) -> Code {
    to_device(0, to, from, bytes, true)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(
    to: u64,
    from: *const u8,
    bytes: usize,
    stream: Handle,
) -> Code {
    to_device(stream, to, from, bytes, false)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut u8, from: u64, bytes: usize) -> Code {
    to_host(0, to, from, bytes, true)
}

/// A copy to memory that is not pinned waits, whatever its name says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut u8, from: u64, bytes: usize, stream: Handle) -> Code {
    let waits = !is_pinned(to as u64, bytes);
    to_host(stream, to, from, bytes, waits)
}

/// Source and destination may lie on any device, as with unified addresses.
fn on_device(handle: Handle, to: u64, from: u64, bytes: usize) -> Code {
    let elsewhere = |address: u64, own: usize| {
        let others = (0..driver().count()).filter(|number| *number != own);
        let mut others = others.filter_map(|number| driver().device(number).ok());
        others.any(|device| device.store.contains(address, bytes))
    };
    let own = super::device_of(handle).unwrap_or(0);
    let far = [to, from].map(|address| elsewhere(address, own));
    on(handle, |device| {
        device.trip(What::Copy)?;
        for (address, far) in [to, from].into_iter().zip(far) {
            if !far {
                inside(device, "copy", address, bytes)?;
            }
        }
        device.touch("copy", handle, &[to, from])?;
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
        device.tally.bytes_on_device += bytes as u64;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Code {
    on_device(0, to, from, bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle) -> Code {
    on_device(stream, to, from, bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyPeerAsync(
    to: u64,
    _: Handle,
    from: u64,
    _: Handle,
    bytes: usize,
    stream: Handle,
) -> Code {
    on_device(stream, to, from, bytes)
}

fn fill<T: Copy>(handle: Handle, to: u64, value: T, count: usize) -> Code {
    on(handle, |device| {
        let bytes = count * size_of::<T>();
        inside(device, "filling", to, bytes)?;
        device.touch("filling", handle, &[to])?;
        for n in 0..count {
            unsafe { (to as *mut T).add(n).write_unaligned(value) };
        }
        device.tally.bytes_set += bytes as u64;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD8_v2(to: u64, value: u8, count: usize) -> Code {
    fill(0, to, value, count)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: Handle) -> Code {
    fill(stream, to, value, count)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD32_v2(to: u64, value: c_uint, count: usize) -> Code {
    fill(0, to, value, count)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemsetD32Async(to: u64, value: c_uint, count: usize, stream: Handle) -> Code {
    fill(stream, to, value, count)
}
