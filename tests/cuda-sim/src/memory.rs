//! A device's memory: host memory, and a map of what is allocated.
//!
//! Owns: allocations, their limit and their sums. May not touch: what is written in them.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;

/// CUDA aligns allocations to this.
const ALIGNMENT: usize = 256;

/// Between two allocations there is at least this much that belongs to nobody, so that an overrun shows.
const GAP: usize = 256;

/// Most bytes of a table of addresses.
const TABLE: usize = 4096;

/// A device's memory.
#[derive(Default)]
pub struct Store {
    pub limit: u64,
    pub live: u64,
    pub peak: u64,
    pub allocations: u64,
    /// Bytes that were freed in the order of a stream since the host last waited.
    pub late: u64,
    blocks: BTreeMap<u64, usize>,
    /// Allowed ranges that are no allocations: variables of modules, host memory that is mapped.
    extra: BTreeMap<u64, u64>,
    /// All allowed ranges in order; made when it is asked for.
    ranges: Option<Vec<(u64, u64)>>,
}

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.checked_add(GAP)?, ALIGNMENT).ok()
}

impl Store {
    pub fn new(limit: u64) -> Self {
        let mut store = Self::default();
        store.limit = limit;
        store
    }

    /// New memory, filled with NaN, or `None` beyond the limit.
    pub fn allocate(&mut self, bytes: usize) -> Option<u64> {
        if bytes == 0 || bytes as u64 > self.limit.saturating_sub(self.live) {
            return None;
        }
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc(layout(bytes)?) };
        if start.is_null() {
            return None;
        }
        // SAFETY: the block has this many bytes.
        unsafe { start.write_bytes(0xff, bytes) };
        self.blocks.insert(start as u64, bytes);
        self.ranges = None;
        self.live += bytes as u64;
        self.peak = self.peak.max(self.live);
        // Pools give back what they have before memory ends.
        self.late = self.late.min(self.limit - self.live);
        self.allocations += 1;
        Some(start as u64)
    }

    /// Gives an allocation back; false where the address is none.
    pub fn free(&mut self, address: u64) -> bool {
        let Some(bytes) = self.blocks.remove(&address) else { return false };
        self.ranges = None;
        self.live -= bytes as u64;
        if let Some(layout) = layout(bytes) {
            // SAFETY: it was allocated here with this layout.
            unsafe { dealloc(address as *mut u8, layout) };
        }
        true
    }

    /// Allows kernels to touch memory that is no allocation.
    pub fn allow(&mut self, start: u64, bytes: u64) {
        self.extra.insert(start, start + bytes);
        self.ranges = None;
    }

    pub fn disallow(&mut self, start: u64) {
        self.extra.remove(&start);
        self.ranges = None;
    }

    /// The start of the allocation that this address lies in.
    pub fn start(&self, address: u64) -> Option<u64> {
        let (start, size) = self.blocks.range(..=address).next_back()?;
        (address < start + *size as u64).then_some(*start)
    }

    /// The words of a small allocation, which may be a table of addresses.
    pub fn table(&self, start: u64) -> &[u64] {
        match self.blocks.get(&start) {
            // SAFETY: it is an allocation of this many bytes, aligned for words, and was filled when it was made.
            Some(size) if *size <= TABLE => unsafe {
                std::slice::from_raw_parts(start as *const u64, size / 8)
            },
            _ => &[],
        }
    }

    /// Whether these bytes lie in one live range.
    pub fn contains(&self, address: u64, bytes: usize) -> bool {
        let end = address.saturating_add(bytes as u64);
        let block = self.blocks.range(..=address).next_back();
        let extra = self.extra.range(..=address).next_back();
        block.is_some_and(|(start, size)| end <= start + *size as u64)
            || extra.is_some_and(|(_, last)| end <= *last)
    }

    pub fn ranges(&mut self) -> &[(u64, u64)] {
        self.ranges.get_or_insert_with(|| {
            let blocks = self.blocks.iter().map(|(start, size)| (*start, start + *size as u64));
            let mut all: Vec<_> =
                blocks.chain(self.extra.iter().map(|(start, end)| (*start, *end))).collect();
            all.sort_unstable();
            all
        })
    }

    /// Starts the sums anew.
    pub fn reset(&mut self) {
        (self.peak, self.allocations) = (self.live, 0);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let all: Vec<u64> = self.blocks.keys().copied().collect();
        for address in all {
            self.free(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_a_limit_and_an_end() {
        let mut store = Store::new(1000);
        let one = store.allocate(600).unwrap();
        assert_eq!(store.allocate(500), None);
        assert!(store.contains(one + 590, 10) && !store.contains(one + 591, 10));
        assert!(store.free(one) && !store.free(one));
        assert_eq!((store.live, store.peak, store.allocations), (0, 600, 1));
    }
}
