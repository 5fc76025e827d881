//! The `clino` binary.

fn main() {}
