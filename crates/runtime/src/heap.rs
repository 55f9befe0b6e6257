//! Memory that is freed and stays with the process.
#![allow(unsafe_code)]

/// Hands what has been freed back to the system. Making sessions copies a model's weights several times over; without this the heap
/// keeps the space of those copies for as long as the server runs. Takes a few milliseconds. Only glibc needs it and can do it.
pub fn return_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes no pointer, locks the allocator as any allocation does, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
