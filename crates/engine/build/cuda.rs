//! What a binary for GPUs needs besides Rust: the kernels as PTX, and NVIDIA's functions under their names.
//!
//! Owns: `clino.ptx` and `cuda_symbols.rs` in `OUT_DIR`, the linking of the static runtime. May not touch: the kernels.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const KERNELS: &str = "src/device/cuda/kernels";
const SYMBOLS: &str = "build/cuda_symbols.txt";

/// Where a toolkit may be named, in this order.
const ROOTS: [&str; 4] = ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"];

/// Where below a toolkit its libraries may lie.
const LIBRARIES: [&str; 6] = [
    "lib64",
    "lib",
    "targets/x86_64-linux/lib",
    "targets/sbsa-linux/lib",
    "lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
];

/// No flag of fast math: noise and elements equal the CPU's bit for bit.
const FLAGS: [&str; 5] = ["-ptx", "-O3", "-std=c++17", "-fmad=false", "-arch=compute_75"];

/// With this in the environment a warning of nvcc's ends the build: CI's, and not that of a user with another compiler.
const STRICT: &str = "CLINO_CUDA_STRICT";

/// Writes everything to `out`.
///
/// # Errors
/// What is missing or failed, and what to do about it, in sentences.
pub fn build(out: &Path) -> Result<(), String> {
    for name in ROOTS.iter().chain(&["PATH", STRICT]) {
        println!("cargo:rerun-if-env-changed={name}");
    }
    symbols(&out.join("cuda_symbols.rs"))?;
    let nvcc = nvcc()?;
    kernels(&nvcc, &out.join("clino.ptx"))?;
    runtime(&nvcc);
    println!("cargo:rustc-env=CLINO_CUDA_TOOLKIT={}", release(&nvcc).unwrap_or_else(|| "unknown".into()));
    Ok(())
}

/// The toolkit's version, such as 13.0.
fn release(nvcc: &Path) -> Option<String> {
    let output = Command::new(nvcc).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.split_once("release ")?.1.split(',').next()?.to_owned())
}

fn nvcc() -> Result<PathBuf, String> {
    let named = ROOTS.iter().filter_map(std::env::var_os).map(|root| Path::new(&root).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = named.chain(std::env::split_paths(&path)).chain([PathBuf::from("/usr/local/cuda/bin")]);
    let found = folders.find_map(|folder| Some(folder.join("nvcc")).filter(|file| file.is_file()));
    found.ok_or_else(|| {
        format!(
            "nvcc was not found: not in `bin` of {}, not in PATH, not in /usr/local/cuda.\n\
             Install NVIDIA's CUDA toolkit, 12.0 to 13.4 (https://developer.nvidia.com/cuda-downloads), or, if it is\n\
             installed, set CUDA_HOME to its folder and put that folder's `bin` into PATH.",
            ROOTS.join(", ")
        )
    })
}

fn kernels(nvcc: &Path, ptx: &Path) -> Result<(), String> {
    // All of them, whatever includes which.
    println!("cargo:rerun-if-changed={KERNELS}");
    let mut command = Command::new(nvcc);
    if std::env::var_os(STRICT).is_some() {
        command.args(["--Werror", "all-warnings"]);
    }
    command.args(FLAGS).arg(Path::new(KERNELS).join("clino.cu")).arg("-o").arg(ptx);
    let output = command.output().map_err(|error| format!("{} did not start: {error}", nvcc.display()))?;
    if !output.status.success() {
        return Err(format!(
            "{command:?} failed ({}):\n{}{}\n\
             It needs a complete CUDA toolkit, 12.0 or later, and a C++ compiler that this toolkit knows (g++).",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        ));
    }
    let shown = |error| format!("{}: {error}", ptx.display());
    let text = std::fs::read_to_string(ptx).map_err(shown)?;
    std::fs::write(ptx, lowered(&text)?).map_err(shown)?;
    if !assembles(nvcc, ptx) {
        println!(
            "cargo:warning=PTX 7.0 does not hold the kernels: they need a driver as new as this CUDA toolkit"
        );
        std::fs::write(ptx, text).map_err(shown)?;
    }
    Ok(())
}

fn assembles(nvcc: &Path, ptx: &Path) -> bool {
    let mut command = Command::new(nvcc);
    command.args(["-cubin", "-arch=sm_75"]).arg(ptx).arg("-o").arg(ptx.with_extension("cubin"));
    command.output().is_ok_and(|output| output.status.success())
}

/// The same PTX for older drivers, which refuse what is newer than themselves: nvcc writes its own version, but no
/// instruction in the kernels is younger than 7.0. A pragma is: it is a hint for loads, and none is needed.
fn lowered(ptx: &str) -> Result<String, String> {
    let versions = |line: &str| line.starts_with(".version ");
    if !ptx.lines().any(versions) {
        return Err("nvcc wrote no PTX: there is no `.version` in its output".into());
    }
    let line = |line| if versions(line) { ".version 7.0" } else { line };
    let kept = ptx.lines().filter(|line| !line.trim_start().starts_with(".pragma \"used_bytes_mask"));
    Ok(kept.map(line).flat_map(|line| [line, "\n"]).collect())
}

/// A jump to `call` with the number of a function, where that is written.
fn jump() -> Result<fn(usize) -> String, String> {
    let target =
        ["OS", "ARCH"].map(|part| std::env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default());
    match target.each_ref().map(String::as_str) {
        ["linux", "x86_64"] => Ok(|at| format!("mov r11d, {at}\\n jmp {{call}}")),
        ["linux", "aarch64"] => Ok(|at| format!("mov w9, #{at}\\n b {{call}}")),
        [os, arch] => {
            Err(format!("It is written for Linux on x86_64 and on aarch64, not for {os} on {arch}."))
        }
    }
}

/// Assembler that defines every function as a jump to `call` with its number; see the module that includes it.
fn symbols(file: &Path) -> Result<(), String> {
    let jump = jump()?;
    let list = std::fs::read_to_string(SYMBOLS).map_err(|error| format!("{SYMBOLS}: {error}"))?;
    let names = list.lines().filter(|line| !line.starts_with('#'));
    let mut assembler = String::new();
    let mut table = String::new();
    for (at, name) in names.enumerate() {
        let _ =
            writeln!(assembler, "    \".globl {name}\\n .type {name},@function\\n{name}: {}\",", jump(at));
        let _ = writeln!(table, "    c\"{name}\",");
    }
    let text = format!(
        "core::arch::global_asm!(\n    \".text\",\n{assembler}    call = sym call,\n);\n\
         static NAMES: &[&core::ffi::CStr] = &[\n{table}];\n"
    );
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

/// candle's kernels for quantized weights call CUDA's runtime, and register themselves there before `main`: from the
/// static library they need nothing on the machine.
fn runtime(nvcc: &Path) {
    let found = [Some(nvcc.to_owned()), nvcc.canonicalize().ok()].into_iter().flatten().find_map(|nvcc| {
        let root = nvcc.parent()?.parent()?.to_owned();
        LIBRARIES
            .iter()
            .map(|below| root.join(below))
            .find(|folder| folder.join("libcudart_static.a").is_file())
    });
    match found {
        Some(folder) => {
            println!("cargo:rustc-link-search=native={}", folder.display());
            // Whole, for the linker meets what calls it later.
            println!("cargo:rustc-link-lib=static:+whole-archive=cudart_static");
        }
        None => println!(
            "cargo:warning=no libcudart_static.a in the toolkit: clino will not start without libcudart"
        ),
    }
}
