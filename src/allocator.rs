//! What the allocator keeps of memory that was given back.
//!
//! Owns: its settings. May not touch: who allocates.

/// Bytes from which on an allocation is mapped by itself, and goes back to the system when it is freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 1 << 20;
/// All threads share so many arenas.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: libc::c_int = 2;

/// Bounds what glibc keeps. It makes up to eight arenas for each processor, and each keeps what was once allocated in it; and
/// it takes the largest block that was freed for the size up to which blocks lie in them, so that vectors of parameters
/// leave holes between what is kept: 200 snapshots of 1 MiB grew a daemon by 400 MiB, and by 3 MiB with these settings
/// (`tests/memory.rs`). What the engine needs it allocates once and keeps. Other allocators have no such settings.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(crate) fn keep_little() {
    for (setting, value) in [(libc::M_ARENA_MAX, ARENAS), (libc::M_MMAP_THRESHOLD, LARGE)] {
        // SAFETY: mallopt reads two integers, and may be called at any time.
        let set = unsafe { libc::mallopt(setting, value) };
        if set != 1 {
            tracing::debug!(setting, "the allocator keeps a setting of its own");
        }
    }
}

/// Bounds what the allocator keeps; here it has no such settings.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_little() {}
