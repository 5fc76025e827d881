//! Modules and functions by their C names.
//!
//! Owns: loaded PTX, its variables, the functions handed out. May not touch: launches.
//!
//! Safety: as NVIDIA's, these functions trust the pointers they are given.
#![allow(non_snake_case, clippy::missing_safety_doc, reason = "the names and promises are NVIDIA's")]

use super::context::agreed;
use super::{Handle, code_of, device_of, driver, on};
use crate::decode;
use crate::fault::{Code, FILE_NOT_FOUND, Fault, INVALID_HANDLE, INVALID_PTX, NOT_FOUND, OK};
use crate::program::{Parameter, Program};
use crate::text::{Source, Variable, source};
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

agreed! {
    cuFuncSetAttribute(Handle, c_int, c_int);
    cuFuncSetCacheConfig(Handle, c_int);
}

/// PTX that a device holds.
pub struct Module {
    device: usize,
    source: Arc<Source>,
    /// Address and size of each variable.
    globals: HashMap<String, (u64, usize)>,
    functions: Mutex<HashMap<String, Handle>>,
}

/// A function handed out. It lives as long as the process, for its handle is its address.
pub struct Function {
    pub name: String,
    pub device: usize,
    pub parameters: Vec<Parameter>,
    pub parameter_bytes: usize,
    module: Arc<Module>,
    program: OnceLock<Result<Program, String>>,
}

impl Function {
    /// The program, decoded at the first launch; what is unknown in it is no error before.
    pub fn program(&self) -> Result<&Program, &str> {
        let made = self.program.get_or_init(|| {
            let globals = self.module.globals.iter().map(|(name, place)| (name.clone(), place.0)).collect();
            decode::program(&self.module.source, &globals, &self.name)
        });
        made.as_ref().map_err(String::as_str)
    }
}

#[derive(Default)]
struct Registry {
    modules: HashMap<Handle, Arc<Module>>,
    /// Texts already read: every device loads the same ones.
    texts: HashMap<String, Arc<Source>>,
}

fn registry() -> MutexGuard<'static, Registry> {
    static REGISTRY: OnceLock<Mutex<Registry>> = OnceLock::new();
    REGISTRY.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(text: &str) -> Result<Arc<Source>, Fault> {
    let mut registry = registry();
    if let Some(known) = registry.texts.get(text) {
        return Ok(known.clone());
    }
    let made = Arc::new(source(text).map_err(|why| Fault::new(INVALID_PTX, why))?);
    registry.texts.insert(text.to_owned(), made.clone());
    Ok(made)
}

/// A variable's memory, which stays: functions keep its address.
fn place(variable: &Variable) -> (u64, usize) {
    let mut memory = vec![0u128; variable.size.div_ceil(16).max(1)];
    let bytes = variable.initial.len().min(variable.size);
    // SAFETY: the memory has at least the variable's bytes.
    unsafe {
        std::ptr::copy_nonoverlapping(variable.initial.as_ptr(), memory.as_mut_ptr().cast::<u8>(), bytes)
    };
    (Box::leak(memory.into_boxed_slice()).as_ptr() as u64, variable.size)
}

fn load(text: &str) -> Result<Handle, Fault> {
    let source = read(text)?;
    let number = device_of(0)?;
    let globals: HashMap<_, _> =
        source.globals.iter().map(|variable| (variable.name.clone(), place(variable))).collect();
    let mut device = driver().device(number)?;
    for (start, bytes) in globals.values() {
        device.store.allow(*start, *bytes as u64);
    }
    let handle = device.handle(0x0d);
    drop(device);
    let module = Module { device: number, source, globals, functions: Mutex::default() };
    registry().modules.insert(handle, Arc::new(module));
    Ok(handle)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(module: *mut Handle, image: *const c_char) -> Code {
    let code = on(0, |_| Ok(()));
    if code != OK {
        return code;
    }
    let text = unsafe { CStr::from_ptr(image) }.to_string_lossy();
    code_of(load(&text).map(|handle| unsafe { *module = handle }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    module: *mut Handle,
    image: *const c_char,
    _: u32,
    _: *mut c_int,
    _: *mut *mut c_void,
) -> Code {
    unsafe { cuModuleLoadData(module, image) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoad(module: *mut Handle, path: *const c_char) -> Code {
    let path = unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned();
    let text =
        std::fs::read_to_string(&path).map_err(|why| Fault::new(FILE_NOT_FOUND, format!("{path}: {why}")));
    code_of(text.and_then(|text| load(&text)).map(|handle| unsafe { *module = handle }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleUnload(module: Handle) -> Code {
    let removed = registry().modules.remove(&module);
    on(module, |device| {
        let module = removed.ok_or_else(no_module)?;
        module.globals.values().for_each(|(start, _)| device.store.disallow(*start));
        Ok(())
    })
}

fn no_module() -> Fault {
    Fault::new(INVALID_HANDLE, "no such module")
}

fn module(handle: Handle) -> Result<Arc<Module>, Fault> {
    registry().modules.get(&handle).cloned().ok_or_else(no_module)
}

fn function(module: &Arc<Module>, name: &str) -> Result<Handle, Fault> {
    let mut known = module.functions.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = known.get(name) {
        return Ok(*handle);
    }
    let text = module.source.functions.get(name).filter(|function| function.entry);
    let text = text.ok_or_else(|| Fault::new(NOT_FOUND, format!("the module has no kernel {name}")))?;
    let (parameters, parameter_bytes) = decode::parameters(text);
    let made = Function {
        name: name.to_owned(),
        device: module.device,
        parameters,
        parameter_bytes,
        module: module.clone(),
        program: OnceLock::new(),
    };
    let handle = std::ptr::from_ref(Box::leak(Box::new(made))) as Handle;
    known.insert(name.to_owned(), handle);
    Ok(handle)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(made: *mut Handle, from: Handle, name: *const c_char) -> Code {
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    code_of(module(from).and_then(|module| function(&module, &name)).map(|handle| unsafe { *made = handle }))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetGlobal_v2(
    address: *mut u64,
    bytes: *mut usize,
    from: Handle,
    name: *const c_char,
) -> Code {
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    code_of(module(from).and_then(|module| {
        let missing = || Fault::new(NOT_FOUND, format!("the module has no variable {name}"));
        let (start, size) = *module.globals.get(&*name).ok_or_else(missing)?;
        if !address.is_null() {
            unsafe { *address = start };
        }
        if !bytes.is_null() {
            unsafe { *bytes = size };
        }
        Ok(())
    }))
}

/// The function behind a handle.
///
/// # Safety
/// The handle came from [`cuModuleGetFunction`].
pub unsafe fn function_of(handle: Handle) -> &'static Function {
    // SAFETY: the caller's promise; functions are never freed.
    unsafe { &*(handle as *const Function) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetAttribute(value: *mut c_int, number: c_int, function: Handle) -> Code {
    let program = unsafe { function_of(function) }.program();
    let answer = match number {
        0 => 1024,
        1 => program.map_or(0, |program| program.shared as c_int),
        3 => program.map_or(0, |program| program.local as c_int),
        4 => 32,
        5 | 6 => 80,
        8 => 48 << 10,
        _ => 0,
    };
    unsafe { *value = answer };
    OK
}
