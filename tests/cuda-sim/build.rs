//! Gives the shared object the name that programs look for.
//!
//! Owns: the linker arguments of `cuda-sim`. May not touch: anything else.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so.1");
    }
}
