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

/// Blocks from this size on are taken from the system and given back to it one by one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE_BYTES: libc::c_int = 1 << 20;

/// Makes the allocator give large blocks back to the system as soon as they are freed, whatever was freed before. By itself glibc
/// raises what it counts as large to the largest block that has been freed, up to 32 MiB, and then keeps decoded pictures in the
/// heaps of all threads. To be called before there are other threads. Only glibc needs it and can do it.
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: both calls set numbers of the allocator and take no pointer.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 4 * LARGE_BYTES);
    }
}
