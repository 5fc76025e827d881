//! Compiles `proto/` at the top of the repository with protox, so that no `protoc` is needed.

use prost::Message;
use std::path::PathBuf;

const FOLDER: &str = "../../proto";
const PROTOS: [&str; 7] = [
    "clino/v1/types.proto",
    "clino/v1/graph.proto",
    "clino/v1/decisions.proto",
    "clino/v1/runs.proto",
    "clino/v1/snapshots.proto",
    "clino/v1/reports.proto",
    "clino/v1/doctor.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={FOLDER}");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let descriptors = protox::compile(PROTOS, [FOLDER])?;
    std::fs::write(out.join("clino.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".clino.v1").compile_fds(descriptors)?;
    Ok(())
}
