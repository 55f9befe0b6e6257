//! A value that is read from files and follows them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::SecurityError;
use repserve_files as files;

/// Bytes of a file of keys or certificates at most.
const BYTES_MAX: u64 = 1 << 20;

/// Makes the value out of the files' bytes; the error holds which file (by its index) and why.
type Read<T> = fn(&[Vec<u8>]) -> Result<T, (usize, String)>;

/// The value and the files.
#[derive(Debug)]
pub(super) struct FromFiles<T> {
    files: Vec<PathBuf>,
    read: Read<T>,
    bytes: Mutex<Vec<Vec<u8>>>,
    value: ArcSwap<T>,
}

impl<T> FromFiles<T> {
    /// Reads the value.
    pub(super) fn open(files: Vec<PathBuf>, read: Read<T>) -> Result<Self, SecurityError> {
        let bytes = contents(&files)?;
        let value = parse(&files, read, &bytes)?;
        Ok(Self {
            files,
            read,
            bytes: Mutex::new(bytes),
            value: ArcSwap::from_pointee(value),
        })
    }

    /// The value in force.
    pub(super) fn get(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// Reads the files again. Whether they had changed.
    pub(super) fn refresh(&self) -> Result<bool, SecurityError> {
        let bytes = contents(&self.files)?;
        let mut before = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == bytes {
            return Ok(false);
        }
        self.value.store(Arc::new(parse(&self.files, self.read, &bytes)?));
        *before = bytes;
        Ok(true)
    }
}

fn contents(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, SecurityError> {
    let read = |path: &PathBuf| {
        files::read(path, BYTES_MAX).map_err(|error| SecurityError {
            path: path.clone(),
            reason: error.to_string(),
        })
    };
    paths.iter().map(read).collect()
}

fn parse<T>(files: &[PathBuf], read: Read<T>, bytes: &[Vec<u8>]) -> Result<T, SecurityError> {
    read(bytes).map_err(|(file, reason)| SecurityError {
        path: files[file].clone(),
        reason,
    })
}
