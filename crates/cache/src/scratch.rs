//! Bytes that a process keeps in a file rather than in its memory, for as long as it needs them.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use bytes::Bytes;

use super::map::Nameless;

/// A file that has no name: it is gone when the last that maps it lets go. The system can take its pages back at any time, as it cannot
/// take memory.
#[derive(Debug, Clone)]
pub struct Scratch(Nameless);

impl Scratch {
    /// Makes one in `folder`, which is made where it is not there, and has `fill` write what it holds.
    ///
    /// # Errors
    /// A folder that cannot be written, such as one that is read-only or full; what `fill` reports; nothing was written.
    pub fn new<E: From<io::Error>>(
        folder: &Path,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<Self, E> {
        fs::create_dir_all(folder)?;
        let mut file = BufWriter::new(tempfile::tempfile_in(folder)?);
        fill(&mut file)?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Self(Nameless::new(file)?))
    }

    /// What it holds, mapped.
    pub fn bytes(&self) -> Bytes {
        self.0.bytes()
    }

    /// Gives back the memory of what was read of it. It may be read again.
    pub fn release(&self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again_after_it_was_released_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        let written: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        let scratch = Scratch::new(&inner, |sink| sink.write_all(&written)).unwrap();
        let bytes = scratch.bytes();
        assert_eq!(bytes, written);
        scratch.release();
        assert_eq!(bytes, written);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 0);
        drop(scratch);
        assert_eq!(bytes[99_999], written[99_999]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_and_nothing_written_is_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Scratch::new(file.path(), |sink| sink.write_all(b"x")).is_err());
        let folder = tempfile::tempdir().unwrap();
        let nothing = Scratch::new(folder.path(), |_| Ok::<_, io::Error>(())).unwrap();
        assert!(nothing.bytes().is_empty());
    }
}
