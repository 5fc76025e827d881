//! Counts what each thread allocates.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static COUNTS: Cell<[usize; 2]> = const { Cell::new([0; 2]) };
}

// SAFETY: the system's allocator does all of it; sizes are only counted, by thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNTS.try_with(|counts| {
            let [live, peak] = counts.get();
            let live = live.wrapping_add(layout.size());
            counts.set([live, if (live as isize) > peak as isize { live } else { peak }]);
        });
        // SAFETY: as its caller has promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let _ = COUNTS.try_with(|counts| {
            let [live, peak] = counts.get();
            counts.set([live.wrapping_sub(layout.size()), peak]);
        });
        // SAFETY: as its caller has promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `work` takes on this thread beside what there is.
pub fn peak<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let [before, _] = COUNTS.get();
    COUNTS.set([before, before]);
    let result = work();
    (result, COUNTS.get()[1].wrapping_sub(before))
}
