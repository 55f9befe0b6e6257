//! What one start finds out and the next one takes from a store: `repserve_cache`.
//!
//! There are two entries a model. The *graph* entry holds what is the same on every processor: the deploy graph, what was fused, and how
//! the verification went. The *sessions* entry holds the rest: which kernels were chosen, their weights as the sessions read them, and the
//! batch curve; with it a start needs nothing of the graph entry. Either has a key of all that it depends on ([`key`]), so that a change
//! of any of that makes it anew.
//!
//! A start from an entry runs the probe of the verification on every session and compares what comes out with what was stored: the answer
//! of the train-time graph, and what the sessions themselves returned when the entry was made.

mod external;
mod graph;
mod key;
mod sessions;
#[cfg(test)]
mod tests;
mod unsaved;

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;

use repserve_cache::{Entry, EntryError, Key, Store, StoreError};
use repserve_runtime::{Runtime, RuntimeError};

use super::compiled::{Compiled, Graph};
use super::error::CompileError;
use super::fused::Fused;
use super::package::Package;
use super::phase::{Clock, Phase};
use super::settings::CompileSettings;
use super::source::Source;

use key::{Hashes, Keys};
pub use unsaved::Unsaved;

/// A compiled model, and what of it the store does not hold yet.
#[derive(Debug)]
pub struct Started {
    /// The model.
    pub compiled: Compiled,
    /// To be saved, once there is time for it.
    pub unsaved: Unsaved,
}

/// Why an entry is not used. The model is compiled anew then.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error("its record cannot be read: {0}")]
    Record(#[from] serde_json::Error),
    #[error("{}: {reason}", path.display())]
    External { path: PathBuf, reason: String },
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Compile(#[from] CompileError),
}

/// Takes a model from `store` as far as that holds it, and compiles the rest. Entries that cannot be used are made anew; the log says why.
/// `load` loads ONNX Runtime, while other threads compute the hashes that tell which entries are the model's.
///
/// # Errors
/// A model that cannot be served, as [`super::compile`].
pub fn start(
    load: impl FnOnce() -> Result<Runtime, RuntimeError>,
    mut package: Package,
    store: Option<&Store>,
    settings: &CompileSettings,
    clock: &mut Clock<'_>,
) -> Result<Started, CompileError> {
    let Some(store) = store else {
        let runtime = &clock.time(Phase::Runtime, load)?;
        let fused = clock.time(Phase::Fuse, || Fused::new(package.source()))?;
        let graph = Graph::verified(runtime, &mut package, fused, settings, clock)?;
        let compiled = graph.compiled(runtime, package, settings, clock)?.0;
        return Ok(Started {
            compiled,
            unsaved: Unsaved::default(),
        });
    };
    let (runtime, hashes) = thread::scope(|scope| {
        let hashes = scope.spawn(|| Hashes::of(&package));
        let runtime = clock.time(Phase::Runtime, load)?;
        let joined = || Ok::<_, CompileError>(hashes.join().unwrap_or_else(|panic| resume_unwind(panic)));
        Ok::<_, CompileError>((runtime, clock.time(Phase::Cache, joined)?))
    })?;
    let keys = clock.time(Phase::Cache, || Keys::of(&runtime, hashes, &package, settings))?;
    start_with(&runtime, package, store, &keys, settings, clock)
}

fn start_with(
    runtime: &Runtime,
    mut package: Package,
    store: &Store,
    keys: &Keys,
    settings: &CompileSettings,
    clock: &mut Clock<'_>,
) -> Result<Started, CompileError> {
    if let Some(compiled) = stored(runtime, &package, store, keys, settings, clock) {
        return Ok(Started {
            compiled,
            unsaved: Unsaved::default(),
        });
    }
    let mut unsaved = Unsaved::in_store(store.clone());
    let external = external::Files::of(&package)?;
    let graph = clock.time(Phase::Cache, || Ok::<_, CompileError>(open(store, GRAPH, &keys.graph)))?;
    let graph = graph.and_then(|entry| match graph::restored(&package, &entry, settings) {
        Ok(graph) => Some(graph),
        Err(error) => {
            warn(store, GRAPH, &error);
            None
        }
    });
    let graph = match graph {
        Some(graph) => graph,
        None => {
            let source = Source {
                scratch: Some(store.folder().to_owned()),
                ..package.source()
            };
            let fused = clock.time(Phase::Fuse, || Fused::new(source))?;
            let graph = Graph::verified(runtime, &mut package, fused, settings, clock)?;
            unsaved.graph(keys.graph, &graph, &external)?;
            graph
        }
    };
    let (mut compiled, checks) = graph.compiled(runtime, package, settings, clock)?;
    // Beside models that are served not everything is measured.
    if let Some(checks) = checks.filter(|_| settings.beside.is_none()) {
        unsaved.sessions(keys.sessions, &mut compiled, checks, external)?;
    }
    Ok(Started { compiled, unsaved })
}

/// The model as `store` holds it, compiled; `None` where it holds none for this model, settings, program and processor that can be used. The log
/// says why one cannot.
///
/// # Errors
/// A calibration that cannot be read.
pub fn cached(
    runtime: &Runtime,
    package: &Package,
    store: &Store,
    settings: &CompileSettings,
    clock: &mut Clock<'_>,
) -> Result<Option<Compiled>, CompileError> {
    let keys = || Keys::of(runtime, Hashes::of(package), package, settings);
    let keys = clock.time(Phase::Cache, keys)?;
    Ok(stored(runtime, package, store, &keys, settings, clock))
}

fn stored(
    runtime: &Runtime,
    package: &Package,
    store: &Store,
    keys: &Keys,
    settings: &CompileSettings,
    clock: &mut Clock<'_>,
) -> Option<Compiled> {
    let open = || Ok::<_, CompileError>(open(store, SESSIONS, &keys.sessions));
    let entry = clock.time(Phase::Cache, open).ok().flatten()?;
    let restored = sessions::restored(runtime, package, &entry, settings, clock);
    restored.inspect_err(|error| warn(store, SESSIONS, error)).ok()
}

/// The kinds of entries.
const GRAPH: &str = "graph";
const SESSIONS: &str = "sessions";

/// The section that says what the others are.
const RECORD: &str = "record";
/// The probe's elements, in this machine's order of bytes.
const PROBE: &str = "probe";

fn open(store: &Store, kind: &str, key: &Key) -> Option<Entry> {
    match store.open(kind, key) {
        Ok(entry) => entry,
        Err(error) => {
            warn(store, kind, &error.into());
            None
        }
    }
}

fn warn(store: &Store, kind: &str, error: &Unusable) {
    tracing::warn!(
        folder = %store.folder().display(),
        kind,
        %error,
        "an entry of the start-up cache is not used; it is made anew"
    );
}

fn record<T: serde::de::DeserializeOwned>(entry: &Entry) -> Result<T, Unusable> {
    Ok(serde_json::from_slice(&entry.section(RECORD)?)?)
}

/// Floats as bytes in this machine's order, and back.
fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let words = bytes.as_chunks::<4>().0;
    words.iter().map(|word| f32::from_ne_bytes(*word)).collect()
}
