//! What was done, counted: by kernel, and for a device as a whole.
//!
//! Owns: the counters and their JSON. May not touch: who counts, or where the report goes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::AddAssign;

/// What kernels did.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Counts {
    pub launches: u64,
    /// Instructions times lanes.
    pub instructions: u64,
    /// Lanes' operations that a GPU only approximates.
    pub approximate: u64,
    /// Bytes of global memory, each lane's access for itself.
    pub loaded: u64,
    pub stored: u64,
    /// Bytes of distinct 32-byte sectors by warp instruction; counted in checked kernels only.
    pub load_sectors: u64,
    pub store_sectors: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.launches += other.launches;
        self.instructions += other.instructions;
        self.approximate += other.approximate;
        self.loaded += other.loaded;
        self.stored += other.stored;
        self.load_sectors += other.load_sectors;
        self.store_sectors += other.store_sectors;
    }
}

impl Counts {
    fn json(&self) -> String {
        let Self { launches, instructions, approximate, loaded, stored, load_sectors, store_sectors } = self;
        format!(
            "{{\"launches\":{launches},\"instructions\":{instructions},\"approximate\":{approximate},\
             \"bytes_loaded\":{loaded},\"bytes_stored\":{stored},\
             \"sector_bytes_loaded\":{load_sectors},\"sector_bytes_stored\":{store_sectors}}}"
        )
    }
}

/// What the host made a device do.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    pub kernels: BTreeMap<String, Counts>,
    /// Times the host waited: synchronizations, synchronous copies, copies to pageable memory.
    pub host_synchronizations: u64,
    pub copies_to_device: u64,
    pub copies_to_host: u64,
    pub bytes_to_device: u64,
    pub bytes_to_host: u64,
    pub bytes_on_device: u64,
    pub bytes_set: u64,
    pub allocations: u64,
    pub peak_bytes: u64,
    pub live_bytes: u64,
    /// Work on streams that nobody made: the default one, and those of threads.
    pub default_streams: u64,
}

impl Tally {
    pub fn count(&mut self, kernel: &str, counts: Counts) {
        match self.kernels.get_mut(kernel) {
            Some(sum) => *sum += counts,
            None => drop(self.kernels.insert(kernel.to_owned(), counts)),
        }
    }

    /// Takes another device's numbers in; the peaks of devices add up, as their memories do.
    pub fn absorb(&mut self, other: &Self) {
        for (name, counts) in &other.kernels {
            self.count(name, *counts);
        }
        for (mine, theirs) in self.numbers_mut().into_iter().zip(other.clone().numbers_mut()) {
            *mine += *theirs;
        }
    }

    fn numbers_mut(&mut self) -> [&mut u64; 11] {
        [
            &mut self.host_synchronizations,
            &mut self.copies_to_device,
            &mut self.copies_to_host,
            &mut self.bytes_to_device,
            &mut self.bytes_to_host,
            &mut self.bytes_on_device,
            &mut self.bytes_set,
            &mut self.allocations,
            &mut self.peak_bytes,
            &mut self.live_bytes,
            &mut self.default_streams,
        ]
    }

    pub fn json(&self) -> String {
        let names = [
            "host_synchronizations",
            "copies_to_device",
            "copies_to_host",
            "bytes_to_device",
            "bytes_to_host",
            "bytes_on_device",
            "bytes_set",
            "allocations",
            "peak_bytes",
            "live_bytes",
            "default_streams",
        ];
        let mut text = String::from("{");
        for (name, number) in names.iter().zip(self.clone().numbers_mut()) {
            let _ = write!(text, "\"{name}\":{number},");
        }
        let mut sum = Counts::default();
        self.kernels.values().for_each(|counts| sum += *counts);
        let kernels: Vec<_> =
            self.kernels.iter().map(|(name, counts)| format!("{}:{}", quoted(name), counts.json())).collect();
        let _ = write!(text, "\"all_kernels\":{},\"kernels\":{{{}}}}}", sum.json(), kernels.join(","));
        text
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}

/// The report: every device, and all of them together.
pub fn report(devices: &[Tally]) -> String {
    let mut all = Tally::default();
    devices.iter().for_each(|device| all.absorb(device));
    let each: Vec<_> = devices.iter().map(Tally::json).collect();
    format!("{{\"total\":{},\"devices\":[{}]}}\n", all.json(), each.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_add_up() {
        let mut one = Tally { host_synchronizations: 2, live_bytes: 8, ..Tally::default() };
        one.count("a\"b", Counts { launches: 1, loaded: 4, ..Counts::default() });
        let two = one.clone();
        let text = report(&[one, two]);
        assert!(text.starts_with("{\"total\":{\"host_synchronizations\":4,"), "{text}");
        assert!(text.contains("\"a\\\"b\":{\"launches\":2,"), "{text}");
    }
}
