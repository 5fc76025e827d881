//! The driver's calls, as a program makes them: every test has a device of its own.
//!
//! Owns: codes, limits, lost contexts, counters. May not touch: single instructions.

use cuda_sim::blas::{cublasCreate_v2, cublasSetStream_v2, cublasSgemmStridedBatched};
use cuda_sim::driver::*;
use cuda_sim::fault::{self, Code};
use std::ffi::{CStr, CString, c_void};
use std::sync::Once;

const COPY: &str = ".version 8.0\n.target sm_75\n.visible .entry clino_copy(.param .u64 to, .param .u64 from, .param .u32 count)\n{\n\
    .reg .pred %p<2>; .reg .b32 %r<9>; .reg .b64 %rd<9>;\n mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x;\n\
    mad.lo.u32 %r4, %r1, %r2, %r3; ld.param.u32 %r5, [count]; setp.ge.u32 %p1, %r4, %r5; @%p1 ret;\n\
    ld.param.u64 %rd1, [to]; ld.param.u64 %rd2, [from]; mul.wide.u32 %rd3, %r4, 4; add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;\n\
    ld.global.u32 %r6, [%rd5]; st.global.u32 [%rd4], %r6; ret;\n}\n\
    .visible .entry clino_odd()\n{ .reg .b32 %r<9>; wobble.u32 %r1, %r2; ret; }\n";

/// Makes a device current.
fn device(number: i32) {
    static ENVIRONMENT: Once = Once::new();
    ENVIRONMENT.call_once(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the driver has no other way to be told, and reads it once"
        )]
        let set = |name: &str, value: &str| {
            // SAFETY: all tests wait here, and none reads the environment before.
            unsafe { std::env::set_var(name, value) }
        };
        set("CUDA_SIM_DEVICES", "14");
        set("CUDA_SIM_MEMORY", "1048576");
        set("CUDA_SIM_FAIL", "launch:3:2,alloc:4:2,copy:5:1,lost:6:2");
    });
    let mut context = 0;
    unsafe {
        assert_eq!(cuInit(0), fault::OK);
        assert_eq!(cuDevicePrimaryCtxRetain(&mut context, number), fault::OK);
        assert_eq!(cuCtxSetCurrent(context), fault::OK);
    }
}

fn allocate(bytes: usize) -> u64 {
    let mut address = 0;
    assert_eq!(unsafe { cuMemAlloc_v2(&mut address, bytes) }, fault::OK);
    address
}

fn function(name: &str) -> Handle {
    let (mut module, mut function) = (0, 0);
    let (text, name) = (CString::new(COPY).unwrap(), CString::new(name).unwrap());
    unsafe {
        assert_eq!(cuModuleLoadData(&mut module, text.as_ptr()), fault::OK);
        assert_eq!(cuModuleGetFunction(&mut function, module, name.as_ptr()), fault::OK);
    }
    function
}

fn copy(function: Handle, mut to: u64, mut from: u64, mut count: u32) -> Code {
    let mut arguments: [*mut c_void; 3] =
        [(&raw mut to).cast(), (&raw mut from).cast(), (&raw mut count).cast()];
    let blocks = count.div_ceil(64);
    unsafe {
        cuLaunchKernel(function, blocks, 1, 1, 64, 1, 1, 0, 0, arguments.as_mut_ptr(), std::ptr::null_mut())
    }
}

fn sentence(code: Code) -> (String, String) {
    let (mut name, mut text) = (std::ptr::null(), std::ptr::null());
    unsafe {
        cuGetErrorName(code, &mut name);
        cuGetErrorString(code, &mut text);
        (CStr::from_ptr(name).to_str().unwrap().to_owned(), CStr::from_ptr(text).to_str().unwrap().to_owned())
    }
}

/// This device's part of the report.
fn report(number: usize) -> String {
    let text = report_text();
    let devices = text.split_once("\"devices\":[").unwrap().1;
    devices.split("{\"host_synchronizations\"").nth(number + 1).unwrap().to_owned()
}

#[test]
fn a_copy_arrives_and_is_counted() {
    device(0);
    let (to, from, run) = (allocate(4000), allocate(4000), function("clino_copy"));
    let sent: Vec<u32> = (0..1000).collect();
    let mut got = vec![0u32; 1000];
    unsafe {
        assert_eq!(cuMemcpyHtoDAsync_v2(from, sent.as_ptr().cast(), 4000, 0), fault::OK);
        assert_eq!(copy(run, to, from, 1000), fault::OK);
        assert_eq!(cuMemcpyDtoHAsync_v2(got.as_mut_ptr().cast(), to, 4000, 0), fault::OK);
        assert_eq!(cuStreamSynchronize(0), fault::OK);
        assert_eq!(cuMemFree_v2(from), fault::OK);
    }
    assert_eq!(got, sent);
    let text = report(0);
    // One copy to pageable memory and one synchronization wait.
    assert!(
        text.starts_with(":2,\"copies_to_device\":1,\"copies_to_host\":1,\"bytes_to_device\":4000,"),
        "{text}"
    );
    assert!(text.contains("\"allocations\":2,\"peak_bytes\":8000,\"live_bytes\":4000"), "{text}");
    assert!(text.contains("\"clino_copy\":{\"launches\":1,"), "{text}");
    assert!(
        text.contains("\"bytes_loaded\":4000,\"bytes_stored\":4000,\"sector_bytes_loaded\":4000"),
        "{text}"
    );
}

#[test]
fn a_copy_to_pinned_memory_does_not_wait() {
    device(7);
    let from = allocate(64);
    let mut pinned = 0;
    unsafe {
        assert_eq!(cuMemHostAlloc(&mut pinned, 64, 0), fault::OK);
        assert_eq!(cuMemcpyDtoHAsync_v2(pinned as *mut u8, from, 64, 0), fault::OK);
        assert!(report(7).starts_with(":0,"));
        assert_eq!(cuMemcpyDtoH_v2(pinned as *mut u8, from, 64), fault::OK);
        assert!(report(7).starts_with(":1,"));
        assert_eq!(cuMemFreeHost(pinned), fault::OK);
        assert_eq!(cuMemFreeHost(pinned), fault::INVALID_VALUE);
    }
}

#[test]
fn two_streams_without_an_event_between_are_found() {
    device(12);
    let ([mut one, mut two], mut event) = ([0, 0], 0);
    let (at, run) = (allocate(64), function("clino_copy"));
    let launch = |stream: Handle| {
        let (mut to, mut from, mut count) = (at, at, 16u32);
        let mut arguments: [*mut c_void; 3] =
            [(&raw mut to).cast(), (&raw mut from).cast(), (&raw mut count).cast()];
        let none = std::ptr::null_mut();
        unsafe { cuLaunchKernel(run, 1, 1, 1, 64, 1, 1, 0, stream, arguments.as_mut_ptr(), none) }
    };
    unsafe {
        assert_eq!(cuStreamCreate(&mut one, 1), fault::OK);
        assert_eq!(cuStreamCreate(&mut two, 1), fault::OK);
        assert_eq!(cuEventCreate(&mut event, 2), fault::OK);
        assert_eq!(launch(one), fault::OK);
        assert_eq!(cuEventRecord(event, one), fault::OK);
        assert_eq!(cuStreamWaitEvent(two, event, 0), fault::OK);
        assert_eq!(launch(two), fault::OK);
        assert_eq!(cuStreamSynchronize(two), fault::OK);
        assert_eq!(launch(one), fault::OK);
        assert_eq!(cuMemFreeAsync(at, two), fault::LAUNCH_FAILED);
    }
    let (_, text) = sentence(fault::LAUNCH_FAILED);
    assert!(text.starts_with("freeing on stream") && text.contains("may still use"), "{text}");
}

#[test]
fn the_streams_of_two_threads_are_two() {
    device(13);
    let at = allocate(64);
    let set = move || {
        device(13);
        unsafe { cuMemsetD8Async(at, 0, 64, 2) }
    };
    assert_eq!((set(), set()), (fault::OK, fault::OK));
    assert_eq!(std::thread::spawn(set).join().unwrap(), fault::LAUNCH_FAILED);
    assert!(report(13).contains("\"default_streams\":3"), "{}", report(13));
}

#[test]
fn a_bad_access_loses_the_context() {
    device(1);
    let (to, from, run) = (allocate(400), allocate(4000), function("clino_copy"));
    assert_eq!(copy(run, to, from, 1000), fault::ILLEGAL_ADDRESS);
    let (name, text) = sentence(fault::ILLEGAL_ADDRESS);
    assert_eq!(name, "CUDA_ERROR_ILLEGAL_ADDRESS");
    assert!(text.contains("clino_copy: 4-byte store out of bounds"), "{text}");
    let mut other = 0;
    unsafe {
        assert_eq!(cuMemAlloc_v2(&mut other, 4), fault::ILLEGAL_ADDRESS);
        assert_eq!(cuMemFree_v2(to), fault::ILLEGAL_ADDRESS);
        assert_eq!(cuStreamSynchronize(0), fault::ILLEGAL_ADDRESS);
        assert_eq!(cuCtxSynchronize(), fault::ILLEGAL_ADDRESS);
    }
    assert_eq!(copy(run, from, from, 1), fault::ILLEGAL_ADDRESS);
    // Another device is not touched by it.
    device(2);
    allocate(4);
}

#[test]
fn memory_ends_at_the_limit() {
    device(8);
    let (mut address, mut free, mut total) = (0, 0, 0);
    let one = allocate(1 << 19);
    unsafe {
        assert_eq!(cuMemGetInfo_v2(&mut free, &mut total), fault::OK);
        assert_eq!((free, total), (1 << 19, 1 << 20));
        assert_eq!(cuMemAllocAsync(&mut address, (1 << 19) + 1, 0), fault::OUT_OF_MEMORY);
        assert_eq!(sentence(fault::OUT_OF_MEMORY).0, "CUDA_ERROR_OUT_OF_MEMORY");
        assert_eq!(cuMemFreeAsync(one, 0), fault::OK);
        // It is given back when the stream comes there, which the host has not seen.
        assert_eq!(cuMemGetInfo_v2(&mut free, &mut total), fault::OK);
        assert_eq!(free, 1 << 19);
        assert_eq!(cuCtxSynchronize(), fault::OK);
        assert_eq!(cuMemGetInfo_v2(&mut free, &mut total), fault::OK);
        assert_eq!(free, 1 << 20);
    }
    allocate(1 << 20);
}

#[test]
fn what_is_asked_to_fail_fails() {
    device(3);
    let (at, run) = (allocate(4), function("clino_copy"));
    assert_eq!(copy(run, at, at, 1), fault::OK);
    assert_eq!(copy(run, at, at, 1), fault::LAUNCH_FAILED);
    assert_eq!(copy(run, at, at, 1), fault::LAUNCH_FAILED);
    device(4);
    let mut address = 0;
    allocate(4);
    assert_eq!(unsafe { cuMemAlloc_v2(&mut address, 4) }, fault::OUT_OF_MEMORY);
    let at = allocate(4);
    device(5);
    assert_eq!(unsafe { cuMemcpyHtoD_v2(at, [0u8; 4].as_ptr(), 4) }, fault::ILLEGAL_ADDRESS);
    assert_eq!(unsafe { cuCtxSynchronize() }, fault::ILLEGAL_ADDRESS);
    device(6);
    let (at, run) = (allocate(4), function("clino_copy"));
    assert_eq!(copy(run, at, at, 1), fault::OK);
    assert_eq!(copy(run, at, at, 1), fault::DEVICE_UNAVAILABLE);
    assert_eq!(unsafe { cuCtxSynchronize() }, fault::DEVICE_UNAVAILABLE);
}

#[test]
fn an_unknown_instruction_fails_when_it_is_launched() {
    device(9);
    let odd = function("clino_odd");
    let none = std::ptr::null_mut();
    let code = unsafe { cuLaunchKernel(odd, 1, 1, 1, 1, 1, 1, 0, 0, none, none.cast()) };
    assert_eq!(code, fault::NOT_SUPPORTED);
    let (_, text) = sentence(code);
    assert!(text.contains("clino_odd") && text.contains("`wobble.u32 %r1, %r2`"), "{text}");
    // A refused launch is no fault of the context.
    assert_eq!(unsafe { cuCtxSynchronize() }, fault::OK);
}

#[test]
fn text_that_is_not_ptx_is_refused() {
    device(9);
    let mut module = 0;
    assert_eq!(unsafe { cuModuleLoadData(&mut module, c"int main() {}".as_ptr()) }, fault::INVALID_PTX);
}

#[test]
fn memory_that_is_not_allocated_is_not_copied() {
    device(10);
    let at = allocate(16);
    let mut got = [0u8; 17];
    unsafe {
        assert_eq!(cuMemcpyDtoH_v2(got.as_mut_ptr(), at, 17), fault::INVALID_VALUE);
        assert_eq!(cuMemcpyDtoH_v2(got.as_mut_ptr(), at, 16), fault::OK);
        assert_eq!(cuMemFree_v2(at), fault::OK);
        assert_eq!(cuMemcpyDtoH_v2(got.as_mut_ptr(), at, 16), fault::INVALID_VALUE);
    }
    // What was never written is a NaN in every format.
    assert_eq!(got[..16], [0xff; 16]);
}

/// `C = op(A) op(B)` for two batches of 3x2 by 2x4, on the device.
fn product(library: Handle, [a, b, c]: [u64; 3], transpose_a: bool, transpose_b: bool) -> Vec<f32> {
    let (lda, ldb) = (if transpose_a { 2 } else { 3 }, if transpose_b { 4 } else { 2 });
    let (ta, tb) = (transpose_a.into(), transpose_b.into());
    let (one, zero) = (1.0, 0.0);
    let [a, b, to] = [a, b, c].map(|address| address as *mut c_void);
    let mut got = vec![0f32; 24];
    unsafe {
        let status = cublasSgemmStridedBatched(
            library, ta, tb, 3, 4, 2, &one, a, lda, 6, b, ldb, 8, &zero, to, 3, 12, 2,
        );
        assert_eq!(status, 0);
        cuMemcpyDtoH_v2(got.as_mut_ptr().cast(), c, 96);
    }
    got
}

#[test]
fn matrices_are_multiplied_in_all_ways() {
    device(11);
    let a: Vec<f32> = (0..12).map(|x| x as f32).collect();
    let b: Vec<f32> = (0..16).map(|x| x as f32 - 5.0).collect();
    let at = [allocate(48), allocate(64), allocate(96)];
    let mut library = 0;
    unsafe {
        assert_eq!(cublasCreate_v2(&mut library), 0);
        assert_eq!(cublasSetStream_v2(library, 0), 0);
        cuMemcpyHtoD_v2(at[0], a.as_ptr().cast(), 48);
        cuMemcpyHtoD_v2(at[1], b.as_ptr().cast(), 64);
    }
    for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
        let got = product(library, at, ta, tb);
        for (n, got) in got.iter().enumerate() {
            let (batch, i, j) = (n / 12, n % 3, n / 3 % 4);
            let of_a = |p: usize| a[6 * batch + if ta { p + i * 2 } else { i + p * 3 }];
            let of_b = |p: usize| b[8 * batch + if tb { j + p * 4 } else { p + j * 2 }];
            assert_eq!(*got, of_a(0) * of_b(0) + of_a(1) * of_b(1), "{ta} {tb} {n}");
        }
    }
}
