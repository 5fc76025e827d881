//! Compiles `proto/` with protox, so that no `protoc` is needed; and, with the feature `cuda`, what GPUs need.
//!
//! Owns: the order of the steps. May not touch: the sources, which it reads.

#[path = "build/cuda.rs"]
mod cuda;

use prost::Message;
use std::path::{Path, PathBuf};

const PROTOS: [&str; 5] = [
    "clino/v1/types.proto",
    "clino/v1/decisions.proto",
    "clino/v1/runs.proto",
    "clino/v1/snapshots.proto",
    "clino/v1/reports.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    protos(&out)?;
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some()
        && let Err(reason) = cuda::build(&out)
    {
        // As it is: an error that `main` returns is shown with its lines run together.
        eprintln!("\nThe feature `cuda` cannot be built.\n\n{reason}\n");
        std::process::exit(1);
    }
    Ok(())
}

fn protos(out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    std::fs::write(out.join("clino.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".clino.v1").compile_fds(descriptors)?;
    Ok(())
}
