//! Compiles `proto/` with protox, so that no `protoc` is needed.

use prost::Message;
use std::path::Path;

const PROTOS: [&str; 4] =
    ["clino/v1/types.proto", "clino/v1/runs.proto", "clino/v1/snapshots.proto", "clino/v1/reports.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&out).join("clino.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".clino.v1").compile_fds(descriptors)?;
    Ok(())
}
