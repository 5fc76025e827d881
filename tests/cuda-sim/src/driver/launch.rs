//! Launches by their C names.
//!
//! Owns: what a launch is given, who runs it, what is counted. May not touch: how a grid runs.
//!
//! Safety: as NVIDIA's, these functions trust the pointers they are given.
#![allow(
    non_snake_case,
    clippy::missing_safety_doc,
    clippy::too_many_arguments,
    reason = "the names, the promises and the arguments are NVIDIA's"
)]

use super::context::unknown;
use super::{Device, Function, Handle, driver, function_of, on};
use crate::counters::Counts;
use crate::fault::{Code, Fault, LAUNCH_FAILED, NOT_SUPPORTED, OK};
use crate::grid::Launch;
use crate::options::What;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

unknown!(cuLaunchCooperativeKernel, cuOccupancyMaxActiveClusters, cuOccupancyMaxPotentialClusterSize);

/// What a library of host kernels offers: 0 is done, 1 no such kernel, 2 a failed check.
type HostLaunch = unsafe extern "C" fn(*const c_char, c_uint, c_uint, *mut *mut c_void) -> c_int;

/// The library of `CUDA_SIM_HOST`, opened once.
fn host_launch() -> Option<&'static Result<HostLaunch, String>> {
    static LIBRARY: OnceLock<Result<HostLaunch, String>> = OnceLock::new();
    let path = driver().options.host.as_ref()?;
    Some(LIBRARY.get_or_init(|| {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|why| why.to_string())?;
        // SAFETY: the library is one that the user asks for by name.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return Err(format!("{}: cannot be opened", path.display()));
        }
        // SAFETY: the library is open.
        let symbol = unsafe { libc::dlsym(library, c"cuda_host_launch".as_ptr()) };
        if symbol.is_null() {
            return Err(format!("{}: has no cuda_host_launch", path.display()));
        }
        // SAFETY: the name stands for a function of this type.
        Ok(unsafe { std::mem::transmute::<*mut c_void, HostLaunch>(symbol) })
    }))
}

/// Lets the host library run a kernel; true where it did.
fn on_host(
    function: &Function,
    grid: [u32; 3],
    block: [u32; 3],
    arguments: *mut *mut c_void,
) -> Result<bool, Fault> {
    if !function.name.starts_with("clino_") {
        return Ok(false);
    }
    let Some(library) = host_launch() else { return Ok(false) };
    let launch = library.as_ref().map_err(|why| Fault::new(NOT_SUPPORTED, why.clone()))?;
    let name = CString::new(function.name.as_str()).unwrap_or_default();
    // SAFETY: the arguments are those of this kernel, as the caller of the launch promises.
    match unsafe { launch(name.as_ptr(), grid[0], block[0], arguments) } {
        0 => Ok(true),
        1 => {
            Err(Fault::new(NOT_SUPPORTED, format!("{}: the host library has no such kernel", function.name)))
        }
        _ => Err(Fault::new(LAUNCH_FAILED, format!("{}: a check of the host library failed", function.name))),
    }
}

/// Copies the arguments side by side, as the kernel's parameters lie.
unsafe fn parameters(function: &Function, arguments: *mut *mut c_void) -> Vec<u8> {
    let mut made = vec![0; function.parameter_bytes];
    for (n, parameter) in function.parameters.iter().enumerate() {
        let to = made[parameter.at..].as_mut_ptr();
        // SAFETY: the caller gives a pointer to each parameter.
        unsafe { std::ptr::copy_nonoverlapping((*arguments.add(n)).cast::<u8>(), to, parameter.size) };
    }
    made
}

/// Everything that looks like an address: arguments, and what lies in the tables that they point to.
fn addresses(device: &Device, own: bool, parameters: &[u8]) -> Vec<u64> {
    let words = parameters.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word));
    let mut all: Vec<u64> = words.filter_map(|word| device.store.start(word)).collect();
    if own {
        let tables: Vec<u64> = all.iter().flat_map(|start| device.store.table(*start)).copied().collect();
        all.extend(tables.into_iter().filter_map(|word| device.store.start(word)));
    }
    all
}

fn launch(
    device: &mut Device,
    function: &Function,
    (grid, block, dynamic_shared): ([u32; 3], [u32; 3], usize),
    stream: Handle,
    arguments: *mut *mut c_void,
) -> Result<(), Fault> {
    device.trip(What::Launch)?;
    // SAFETY: the caller of the launch promises its arguments.
    let parameters = unsafe { parameters(function, arguments) };
    let used = addresses(device, function.name.starts_with("clino_"), &parameters);
    device.touch(&function.name, stream, &used)?;
    if on_host(function, grid, block, arguments)? {
        device.count(&function.name, Counts { launches: 1, ..Counts::default() });
        return Ok(());
    }
    let program = function.program().map_err(|why| {
        let text = format!("{}: {why}", function.name);
        eprintln!("cuda-sim: {text}");
        Fault::new(NOT_SUPPORTED, text)
    })?;
    let options = &driver().options;
    let checked = options.checks.of(&function.name);
    let ranges = if checked { device.store.ranges() } else { &[] };
    let order = options.order;
    let run =
        Launch { program, parameters: &parameters, grid, block, dynamic_shared, ranges, checked, order };
    let counts = run.run()?;
    device.count(&function.name, counts);
    Ok(())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: Handle,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    stream: Handle,
    arguments: *mut *mut c_void,
    _: *mut *mut c_void,
) -> Code {
    let function = unsafe { function_of(function) };
    let size = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z], shared as usize);
    let handle = if stream >> 32 == 0 { (function.device as u64 + 1) << 32 } else { stream };
    on(handle, |device| launch(device, function, size, stream, arguments))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    blocks: *mut c_int,
    _: Handle,
    threads: c_int,
    _: usize,
) -> Code {
    unsafe { *blocks = 2048 / threads.max(1) };
    OK
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    blocks: *mut c_int,
    function: Handle,
    threads: c_int,
    shared: usize,
    _: c_uint,
) -> Code {
    unsafe { cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, threads, shared) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxPotentialBlockSize(
    grid: *mut c_int,
    block: *mut c_int,
    _: Handle,
    _: Handle,
    _: usize,
    limit: c_int,
) -> Code {
    unsafe { (*grid, *block) = (216, if limit > 0 { limit.min(256) } else { 256 }) };
    OK
}
