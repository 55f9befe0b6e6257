//! The start-up cache: where it lies, and what is written there once a model is served.

use std::path::PathBuf;
use std::thread;

use repserve_cache::{CacheSettings, Store};
use repserve_compile::Unsaved;
use repserve_runtime::{idle_priority, return_freed_memory};

/// The name of its folder among those of other programs.
const PROGRAM: &str = "repserve";
/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;

/// The store that the settings ask for; `None` where there is to be none.
pub fn store(settings: &CacheSettings) -> Option<Store> {
    let folder = settings
        .path
        .folder(PROGRAM, |name| std::env::var_os(name).map(PathBuf::from))?;
    Some(Store::new(folder, bytes_max(settings)))
}

/// Bytes of all entries together.
pub fn bytes_max(settings: &CacheSettings) -> u64 {
    settings.size_mib_max.saturating_mul(MIB)
}

/// Writes what the store does not hold yet, on a thread that leaves the cores to whatever else wants them.
pub(super) fn save(unsaved: Unsaved) {
    if unsaved.is_empty() {
        return;
    }
    let write = move || {
        idle_priority();
        if let Err(error) = unsaved.save() {
            tracing::warn!(%error, "the start-up cache cannot be written: the next start takes as long as this one");
        }
        return_freed_memory();
    };
    if let Err(error) = thread::Builder::new().name("cache".to_owned()).spawn(write) {
        tracing::warn!(%error, "the start-up cache cannot be written: no thread can be started");
    }
}
