//! NVIDIA's libraries, loaded when something of theirs is first called: one binary starts with or without them.
//!
//! candle has cudarc link them, so that a program would not even start where one is missing. Here all their functions
//! are defined first, and the linker finds no need for the libraries: each is a jump through a slot, to `resolve` until
//! that has found the real one. Where there is none, it answers with its library's own error.
//!
//! Owns: which files are loaded, the slots. May not touch: what the functions do.
#![allow(unsafe_code)]

use libloading::Library;
use std::ffi::{CStr, c_void};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

include!(concat!(env!("OUT_DIR"), "/cuda_symbols.rs"));

/// A library and what its functions answer without it.
struct LazyLibrary {
    /// How their names begin.
    prefix: &'static str,
    /// Names of its file, the newest first.
    files: &'static [&'static str],
    /// Whether candle opens no device without it.
    needed: bool,
    /// An error for "cannot be loaded", and one for "too old for this function".
    answers: [extern "C" fn() -> usize; 2],
    loaded: OnceLock<Option<Library>>,
}

/// A function that answers with this number, whatever it is asked.
extern "C" fn code<const CODE: usize>() -> usize {
    CODE
}

/// What a function answers that tells the text of an error.
extern "C" fn text() -> *const c_void {
    c"a CUDA library cannot be loaded".as_ptr().cast()
}

const fn known(
    prefix: &'static str,
    files: &'static [&'static str],
    needed: bool,
    answers: [extern "C" fn() -> usize; 2],
) -> LazyLibrary {
    LazyLibrary { prefix, files, needed, answers, loaded: OnceLock::new() }
}

/// The first whose prefix fits is meant. The numbers are no device and not supported; not initialized and not
/// supported; initialization failed and wrong architecture; internal error.
static LIBRARIES: [LazyLibrary; 5] = [
    known("cublasLt", &["libcublasLt.so.13", "libcublasLt.so.12"], false, [code::<1>, code::<15>]),
    known("cublas", &["libcublas.so.13", "libcublas.so.12"], true, [code::<1>, code::<15>]),
    known("curand", &["libcurand.so.10"], true, [code::<203>, code::<204>]),
    known("nvrtc", &["libnvrtc.so.13", "libnvrtc.so.12"], false, [code::<11>, code::<11>]),
    known("cu", &["libcuda.so.1"], true, [code::<100>, code::<801>]),
];

/// Where the functions are, once they were called.
static SLOTS: [AtomicUsize; NAMES.len()] = [const { AtomicUsize::new(0) }; NAMES.len()];

/// Folders that are looked into first.
static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();

/// Has these folders looked into before those that the system knows. Only the first call counts, and what was loaded
/// before stays.
pub fn look_in(folders: Vec<PathBuf>) {
    let _ = FOLDERS.set(folders);
}

/// The first library that a device needs and that cannot be loaded.
pub fn missing() -> Option<&'static str> {
    // The driver is the last of them and the first that anyone lacks.
    let mut needed = LIBRARIES.iter().rev().filter(|library| library.needed);
    needed.find(|library| library.loaded().is_none()).map(|library| library.files[0])
}

impl LazyLibrary {
    fn loaded(&self) -> Option<&Library> {
        let first = FOLDERS.get().map_or(&[][..], Vec::as_slice).iter();
        let paths = first.flat_map(|folder| self.files.iter().map(|file| folder.join(file)));
        let mut paths = paths.chain(self.files.iter().map(PathBuf::from));
        // SAFETY: these are NVIDIA's libraries; the linker would have run the same initialization.
        let load = || paths.find_map(|path| unsafe { Library::new(path) }.ok());
        self.loaded.get_or_init(load).as_ref()
    }

    /// The address of its function of that name, or of an answer.
    fn address(&self, name: &CStr) -> *const c_void {
        let library = self.loaded();
        // SAFETY: it is not called here; what calls it knows its type.
        let found = library.and_then(|library| unsafe { library.get::<*const c_void>(name) }.ok());
        if let Some(found) = found {
            return *found;
        }
        let texts = ["GetErrorString", "GetStatusString", "GetStatusName"];
        // The driver's own writes where it is told, and returns a code.
        let tells = self.prefix != "cu" && texts.iter().any(|end| name.to_bytes().ends_with(end.as_bytes()));
        if tells {
            return text as *const c_void;
        }
        self.answers[usize::from(library.is_some())] as *const c_void
    }
}

/// Finds the function with this number, and notes where it is.
extern "C" fn resolve(at: usize) -> *const c_void {
    let name = NAMES[at];
    let begins = |library: &&LazyLibrary| name.to_bytes().starts_with(library.prefix.as_bytes());
    let library = LIBRARIES.iter().find(begins);
    let address = library.map_or(code::<1> as *const c_void, |library| library.address(name));
    SLOTS[at].store(address as usize, Ordering::Release);
    address
}

unsafe extern "C" {
    /// One of the functions.
    #[link_name = "cuInit"]
    fn any();
}

/// Brings all of them into every binary, before the libraries: what is exported is linked first.
#[unsafe(no_mangle)]
static CLINO_CUDA_FUNCTIONS: unsafe extern "C" fn() = any;

/// Goes on to the function with the number in r11; the first time, after asking where it is. Arguments stay as they are.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
extern "C" fn call() {
    core::arch::naked_asm!(
        "lea r10, [rip + {slots}]",
        "mov r10, [r10 + r11 * 8]",
        "test r10, r10",
        "jz 2f",
        "jmp r10",
        "2:",
        // Eight registers, 128 bytes and 8 more: the stack lies at a multiple of 16 again.
        "push rbp; mov rbp, rsp; push rax; push rdi; push rsi; push rdx; push rcx; push r8; push r9; sub rsp, 136",
        "movups [rsp], xmm0; movups [rsp + 16], xmm1; movups [rsp + 32], xmm2; movups [rsp + 48], xmm3",
        "movups [rsp + 64], xmm4; movups [rsp + 80], xmm5; movups [rsp + 96], xmm6; movups [rsp + 112], xmm7",
        "mov rdi, r11",
        "call {resolve}",
        "mov r10, rax",
        "movups xmm0, [rsp]; movups xmm1, [rsp + 16]; movups xmm2, [rsp + 32]; movups xmm3, [rsp + 48]",
        "movups xmm4, [rsp + 64]; movups xmm5, [rsp + 80]; movups xmm6, [rsp + 96]; movups xmm7, [rsp + 112]",
        "add rsp, 136; pop r9; pop r8; pop rcx; pop rdx; pop rsi; pop rdi; pop rax; pop rbp",
        "jmp r10",
        slots = sym SLOTS,
        resolve = sym resolve,
    )
}

/// Goes on to the function with the number in x9; the first time, after asking where it is. Arguments stay as they are.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
extern "C" fn call() {
    core::arch::naked_asm!(
        "adrp x16, {slots}",
        "add x16, x16, :lo12:{slots}",
        "add x16, x16, x9, lsl #3",
        "ldar x16, [x16]",
        "cbz x16, 2f",
        "br x16",
        "2:",
        "stp x29, x30, [sp, #-224]!; mov x29, sp",
        "stp x0, x1, [sp, #16]; stp x2, x3, [sp, #32]; stp x4, x5, [sp, #48]; stp x6, x7, [sp, #64]; str x8, [sp, #80]",
        "stp q0, q1, [sp, #96]; stp q2, q3, [sp, #128]; stp q4, q5, [sp, #160]; stp q6, q7, [sp, #192]",
        "mov x0, x9",
        "bl {resolve}",
        "mov x16, x0",
        "ldp x0, x1, [sp, #16]; ldp x2, x3, [sp, #32]; ldp x4, x5, [sp, #48]; ldp x6, x7, [sp, #64]; ldr x8, [sp, #80]",
        "ldp q0, q1, [sp, #96]; ldp q2, q3, [sp, #128]; ldp q4, q5, [sp, #160]; ldp q6, q7, [sp, #192]",
        "ldp x29, x30, [sp], #224",
        "br x16",
        slots = sym SLOTS,
        resolve = sym resolve,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_of_one_library() {
        let lacking = |name: &&&CStr| {
            LIBRARIES.iter().all(|library| !name.to_bytes().starts_with(library.prefix.as_bytes()))
        };
        assert_eq!(NAMES.iter().find(lacking), None);
        assert!(NAMES.len() > 1000, "{} functions", NAMES.len());
    }

    #[test]
    fn what_cannot_be_loaded_answers_with_an_error() {
        static NONE: LazyLibrary = known("cublas", &["libclino-has-none.so"], true, [code::<1>, code::<15>]);
        assert_eq!(NONE.address(c"cublasCreate_v2"), code::<1> as *const c_void);
        assert_eq!(NONE.address(c"cublasGetStatusName"), text as *const c_void);
    }

    #[test]
    fn what_a_library_lacks_answers_that_it_is_not_supported() {
        static LIBC: LazyLibrary = known("cu", &["libc.so.6"], true, [code::<100>, code::<801>]);
        assert_eq!(LIBC.address(c"cuNewerThanThisDriver"), code::<801> as *const c_void);
        assert_ne!(LIBC.address(c"strlen"), code::<801> as *const c_void);
    }
}
