//! Files of the cache, mapped read-only.
//!
//! Reason for `unsafe`: mapped memory changes where the file changes, which no type can rule out. What is mapped here are files that this
//! crate writes under another name, renames, and never writes again; removing one leaves its pages to those who map it. Only files are
//! mapped that belong to this user or to root, and that others may not write (`store`).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

/// Maps a whole file. The mapping lasts as long as any part of what is returned.
///
/// # Errors
/// Where the system refuses.
pub(super) fn file(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    let mut options = MmapOptions::new();
    // All of it is read at once, to be checked.
    #[cfg(target_os = "linux")]
    options.populate();
    // SAFETY: the file is one of the cache's, which are not written after they got their name (see the module's head).
    let mapped: Mmap = unsafe { options.map(file)? };
    Ok(Bytes::from_owner(mapped))
}
