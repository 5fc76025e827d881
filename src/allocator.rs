//! What the allocator keeps of memory that was given back.
//!
//! Owns: its one setting. May not touch: who allocates.

/// Lets all threads share two arenas. glibc makes up to eight for each processor, and each keeps what was once allocated in it:
/// beside `scripts/hostile` a daemon of 256 MiB then had 200 to 270 MiB resident, and 122 MiB with two. What the engine needs
/// it allocates once and keeps, so that nothing waits for an arena. Other allocators have no such setting.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub(crate) fn share_arenas() {
    const ARENAS: libc::c_int = 2;
    // SAFETY: mallopt reads two integers, and may be called at any time.
    let set = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    if set != 1 {
        tracing::debug!("the allocator keeps its own number of arenas");
    }
}

/// Lets all threads share two arenas; here there are none.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn share_arenas() {}
