//! Files, mapped read-only.
//!
//! Reason for `unsafe`: mapped memory changes where the file changes, which no type can rule out. What is mapped here are files that this
//! crate writes under another name, renames, and never writes again; removing one leaves its pages to those who map it. Only files are
//! mapped that belong to this user or to root, and that others may not write (`store`). A file of `scratch` has no name by which anybody
//! could open it.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::Arc;

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

/// A file without a name, mapped as a whole.
#[derive(Debug, Clone)]
pub(super) struct Nameless(Arc<Mmap>);

impl Nameless {
    /// Takes the file, which has no name and is written to the end.
    ///
    /// # Errors
    /// Where the system refuses.
    pub(super) fn new(file: File) -> io::Result<Self> {
        // SAFETY: nobody else can open it, and it is closed here, so that nobody writes it any more.
        let mapped = unsafe { MmapOptions::new().map(&file)? };
        Ok(Self(Arc::new(mapped)))
    }

    /// The bytes, where they are mapped.
    pub(super) fn bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// Lets go of the pages that were read; what is read again comes from the file.
    pub(super) fn release(&self) {
        // SAFETY: a shared mapping of a file: its pages hold nothing but what is in the file.
        #[cfg(target_os = "linux")]
        let _ = unsafe { self.0.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
    }
}

impl AsRef<[u8]> for Nameless {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
