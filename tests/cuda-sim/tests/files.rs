//! Decodes every kernel of the PTX files that `CUDA_SIM_PTX` names, with colons between; does nothing without it.
//!
//! Owns: the check that what a build made can be run. May not touch: what the kernels compute.

use cuda_sim::{decode, text};
use std::collections::HashMap;

#[test]
fn files_are_decoded() {
    let paths = std::env::var("CUDA_SIM_PTX").unwrap_or_default();
    let mut unknown = vec![];
    for path in paths.split(':').filter(|path| !path.is_empty()) {
        let source = text::source(&std::fs::read_to_string(path).unwrap()).unwrap();
        let globals: HashMap<_, _> =
            source.globals.iter().map(|variable| (variable.name.clone(), 0x1000)).collect();
        let mut count = 0;
        for (name, function) in source.functions.iter().filter(|(_, function)| function.entry) {
            assert!(!function.body.is_empty());
            count += 1;
            if let Err(why) = decode::program(&source, &globals, name) {
                unknown.push(format!("{path}: {name}: {why}"));
            }
        }
        println!("{path}: {count} kernels");
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}
