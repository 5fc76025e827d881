//! Random numbers by cuRAND's C names, and the compiler's names, which all say no.
//!
//! Owns: a generator of its own. May not touch: cuRAND's sequences, which are not reproduced.
//!
//! Safety: as NVIDIA's, these functions write where the caller points; device memory is looked up.
#![allow(non_snake_case, clippy::missing_safety_doc, reason = "the names and promises are NVIDIA's")]

use crate::driver::{Handle, on};
use crate::fault::{Fault, ILLEGAL_ADDRESS, OK};
use std::ffi::{c_char, c_int, c_uint};

type Status = c_int;

const SUCCESS: Status = 0;
const LAUNCH_FAILURE: Status = 201;
const NOT_SUPPORTED: Status = 15;
/// nvrtc's "builtin operation failure": the nearest to "there is no compiler".
const NO_COMPILER: Status = 7;

struct Generator {
    state: u64,
    stream: Handle,
}

macro_rules! unknown {
    ($status:expr, $($name:ident),* $(,)?) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() -> Status {
            $status
        }
    )* };
}

unknown!(
    NOT_SUPPORTED,
    curandGenerate,
    curandGenerateLongLong,
    curandGenerateLogNormal,
    curandGenerateLogNormalDouble,
    curandGeneratePoisson,
);

unknown!(
    NO_COMPILER,
    nvrtcCreateProgram,
    nvrtcCompileProgram,
    nvrtcDestroyProgram,
    nvrtcGetPTX,
    nvrtcGetPTXSize,
    nvrtcGetProgramLog,
    nvrtcGetProgramLogSize,
);

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcVersion(major: *mut c_int, minor: *mut c_int) -> Status {
    unsafe { (*major, *minor) = (13, 0) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvrtcGetErrorString(_: c_int) -> *const c_char {
    c"the simulator has no compiler: give it PTX".as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn curandCreateGenerator(made: *mut Handle, _: c_uint) -> Status {
    unsafe { *made = Box::into_raw(Box::new(Generator { state: 1, stream: 0 })) as Handle };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn curandDestroyGenerator(generator: Handle) -> Status {
    drop(unsafe { Box::from_raw(generator as *mut Generator) });
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn curandSetStream(generator: Handle, stream: Handle) -> Status {
    unsafe { (*(generator as *mut Generator)).stream = stream };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn curandSetPseudoRandomGeneratorSeed(generator: Handle, seed: u64) -> Status {
    unsafe { (*(generator as *mut Generator)).state = seed };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn curandSetGeneratorOffset(generator: Handle, offset: u64) -> Status {
    let generator = unsafe { &mut *(generator as *mut Generator) };
    generator.state = generator.state.wrapping_add(offset.wrapping_mul(STEP));
    SUCCESS
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Generator {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        let mut x = self.state;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// In (0, 1], as cuRAND's.
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

fn fill<T>(generator: Handle, to: *mut T, count: usize, mut draw: impl FnMut(&mut Generator) -> T) -> Status {
    let generator = unsafe { &mut *(generator as *mut Generator) };
    let code = on(generator.stream, |device| {
        if !device.store.contains(to as u64, count * size_of::<T>()) {
            return Err(Fault::new(
                ILLEGAL_ADDRESS,
                format!("random numbers at {to:p}, which is not allocated"),
            ));
        }
        device.touch("random numbers", generator.stream, &[to as u64])?;
        for n in 0..count {
            unsafe { to.add(n).write(draw(generator)) };
        }
        Ok(())
    });
    if code == OK { SUCCESS } else { LAUNCH_FAILURE }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn curandGenerateUniform(generator: Handle, to: *mut f32, count: usize) -> Status {
    fill(generator, to, count, |generator| generator.uniform() as f32)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn curandGenerateUniformDouble(
    generator: Handle,
    to: *mut f64,
    count: usize,
) -> Status {
    fill(generator, to, count, Generator::uniform)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn curandGenerateNormal(
    generator: Handle,
    to: *mut f32,
    count: usize,
    mean: f32,
    deviation: f32,
) -> Status {
    fill(generator, to, count, |generator| generator.normal() as f32 * deviation + mean)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn curandGenerateNormalDouble(
    generator: Handle,
    to: *mut f64,
    count: usize,
    mean: f64,
    deviation: f64,
) -> Status {
    fill(generator, to, count, |generator| generator.normal() * deviation + mean)
}
