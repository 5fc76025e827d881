//! With the feature `cuda`: makes what GPUs need.
//!
//! Owns: the order of the steps. May not touch: the sources, which it reads.

#[path = "build/cuda.rs"]
mod cuda;

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some()
        && let Err(reason) = cuda::build(&out)
    {
        // As it is: an error that `main` returns is shown with its lines run together.
        eprintln!("\nThe feature `cuda` cannot be built.\n\n{reason}\n");
        std::process::exit(1);
    }
    Ok(())
}
