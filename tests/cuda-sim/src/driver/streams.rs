//! Streams and events by their C names.
//!
//! Owns: their handles, the times of events, waiting. May not touch: the work, which is done when it is asked for.
//!
//! Safety: as NVIDIA's, these functions write where the caller points.
#![allow(non_snake_case, clippy::missing_safety_doc, reason = "the names and promises are NVIDIA's")]

use super::context::unknown;
use super::{Handle, on, stream_of};
use crate::fault::{Code, Fault, INVALID_HANDLE, OK};
use std::ffi::{c_int, c_uint, c_void};
use std::time::Instant;

const STREAM: u64 = 0x57;
const EVENT: u64 = 0xe7;

unknown!(
    cuStreamBeginCapture_v2,
    cuStreamEndCapture,
    cuStreamAttachMemAsync,
    cuGraphInstantiateWithFlags,
    cuGraphLaunch,
    cuGraphUpload,
    cuGraphDestroy,
    cuGraphExecDestroy,
);

fn made(handle: *mut Handle, kind: u64) -> Code {
    on(0, |device| {
        unsafe { *handle = device.handle(kind) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut Handle, _: c_uint) -> Code {
    made(stream, STREAM)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreateWithPriority(stream: *mut Handle, _: c_uint, _: c_int) -> Code {
    made(stream, STREAM)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamDestroy_v2(stream: Handle) -> Code {
    on(stream, |_| Ok(()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamSynchronize(stream: Handle) -> Code {
    on(stream, |device| {
        device.tally.host_synchronizations += 1;
        device.order.synchronized(stream_of(stream));
        device.store.late = 0;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamQuery(stream: Handle) -> Code {
    on(stream, |_| Ok(()))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamWaitEvent(stream: Handle, event: Handle, _: c_uint) -> Code {
    on(stream, |device| {
        device.order.wait(stream_of(stream), event);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamIsCapturing(_: Handle, status: *mut c_int) -> Code {
    unsafe { *status = 0 };
    OK
}

/// A function of the host, which runs when the stream comes to it: at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchHostFunc(
    stream: Handle,
    function: unsafe extern "C" fn(*mut c_void),
    data: *mut c_void,
) -> Code {
    let code = on(stream, |_| Ok(()));
    if code == OK {
        unsafe { function(data) };
    }
    code
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut Handle, _: c_uint) -> Code {
    made(event, EVENT)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: Handle) -> Code {
    on(event, |device| {
        device.events.remove(&event);
        device.order.forget_event(event);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: Handle, stream: Handle) -> Code {
    on(event, |device| {
        device.events.insert(event, Instant::now());
        device.order.record(event, stream_of(stream));
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventSynchronize(event: Handle) -> Code {
    on(event, |device| {
        device.tally.host_synchronizations += 1;
        device.order.reached(event);
        device.store.late = 0;
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventQuery(event: Handle) -> Code {
    on(event, |_| Ok(()))
}

/// The simulator's own time, which says nothing about a GPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime_v2(milliseconds: *mut f32, start: Handle, end: Handle) -> Code {
    on(start, |device| {
        let unrecorded = || Fault::new(INVALID_HANDLE, "the event was not recorded");
        let from = device.events.get(&start).ok_or_else(unrecorded)?;
        let to = device.events.get(&end).ok_or_else(unrecorded)?;
        unsafe { *milliseconds = to.saturating_duration_since(*from).as_secs_f32() * 1e3 };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(milliseconds: *mut f32, start: Handle, end: Handle) -> Code {
    unsafe { cuEventElapsedTime_v2(milliseconds, start, end) }
}
