//! Which instructions compute one value for all lanes.
//!
//! Owns: the choice of short forms. May not touch: what they compute; whether lanes have parted, which `warp` knows.
//!
//! A register holds one value for all lanes where every instruction that writes it has a short form and reads only
//! such registers. That is so as long as all lanes have gone the same way: the order of instructions then does not
//! matter, and after lanes have parted the long forms run.

use crate::program::{Ins, Kind, NONE, Special};
use std::collections::HashSet;

/// Puts the short form in place where it serves.
pub fn mark(code: &mut [Ins], specials: &[(Special, u32)]) {
    let own =
        |special: &Special| matches!(special, Special::Thread(_) | Special::Lane | Special::LaneMask(..));
    let mut various: HashSet<u32> =
        specials.iter().filter(|(special, _)| own(special)).map(|(_, at)| *at).collect();
    loop {
        let before = various.len();
        for i in code.iter() {
            if !single(i, &various) {
                various.extend(written(i));
            }
        }
        if various.len() == before {
            break;
        }
    }
    for i in code.iter_mut().filter(|i| single(i, &various)) {
        i.together = i.one.unwrap_or(i.run);
    }
}

/// Whether an instruction has a short form and reads no register that differs between lanes.
fn single(i: &Ins, various: &HashSet<u32>) -> bool {
    let mut read = i.s.iter().chain([&i.guard]).filter(|at| **at != NONE);
    i.one.is_some() && read.all(|at| !various.contains(at))
}

/// The registers that an instruction writes; a store, which has no destination, names its sources in `extra`.
fn written(i: &Ins) -> impl Iterator<Item = u32> {
    let store = i.kind == Kind::Memory && i.d == NONE;
    let vector = if store { [NONE; 4] } else { i.extra };
    vector.into_iter().chain([i.d]).filter(|at| *at != NONE)
}
