//! Where ONNX Runtime's shared library is found.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ort::environment::GlobalThreadPoolOptions;
use ort::logging::LogLevel;

use super::cores::Cores;
use super::error::RuntimeError;
use repserve_files as files;

/// What the library's file is called, most specific first.
const NAMES: [&str; 3] = ["libonnxruntime.so.1.31.1", "libonnxruntime.so", "libonnxruntime.dylib"];

/// ONNX Runtime, loaded: there is one a process.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub(super) environment: ort::environment::Environment,
    /// Threads of the pool that all sessions of as many threads share.
    pub(super) shared_threads: usize,
    library: PathBuf,
}

static LOADED: OnceLock<Runtime> = OnceLock::new();

impl Runtime {
    /// Loads the library: `explicit` if given, else `ORT_DYLIB_PATH`, else the first that exists beside the executable or in a `.onnxruntime/`
    /// folder of the working directory, of the checkout this was built from or of one above the executable, or in the Python
    /// environment into which the executable was installed (the package `onnxruntime`); else what the system's loader finds. A second call returns what the first one loaded.
    pub fn load(explicit: Option<&Path>) -> Result<Self, RuntimeError> {
        static LOADING: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one_at_a_time = LOADING.lock();
        if let Some(loaded) = LOADED.get() {
            return Ok(loaded.clone());
        }
        let library = search(
            explicit,
            std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
            &folders(),
            || python_library(std::env::current_exe().ok()?.parent()?.parent()?),
        );
        let failed = |reason: String| RuntimeError::Library {
            library: library.clone(),
            reason,
        };
        if library.exists() {
            // A pipe in its place would be waited for.
            files::open(&library).map_err(|error| failed(error.to_string()))?;
        }
        let builder = ort::init_from(&library).map_err(|e| failed(e.to_string()))?;
        let shared_threads = Cores::detect().usable();
        let pool = GlobalThreadPoolOptions::default()
            .with_intra_threads(shared_threads)
            .and_then(|pool| pool.with_inter_threads(1))
            // A pool that sessions share cannot be told to stop spinning when a run has ended.
            .and_then(|pool| pool.with_spin_control(false));
        let environment = builder
            .with_name("repserve")
            .with_telemetry(false)
            .with_logger(Arc::new(log))
            .with_global_thread_pool(pool.map_err(|e| failed(e.to_string()))?)
            .build()
            .map_err(|e| failed(e.to_string()))?;
        environment.set_log_level(LogLevel::Error);
        Ok(LOADED
            .get_or_init(|| Self {
                environment,
                shared_threads,
                library,
            })
            .clone())
    }

    /// The file that was loaded.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The version and build that the library reports.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }
}

/// What the library logs goes to this program's log; by itself it would write to stderr, and wait there.
fn log(level: LogLevel, _category: &str, _id: &str, place: &str, text: &str) {
    match level {
        LogLevel::Error if is_returned(text) => tracing::debug!(place, text, "ONNX Runtime"),
        LogLevel::Error | LogLevel::Fatal => tracing::error!(place, text, "ONNX Runtime"),
        LogLevel::Warning => tracing::warn!(place, text, "ONNX Runtime"),
        LogLevel::Info | LogLevel::Verbose => tracing::debug!(place, text, "ONNX Runtime"),
    }
}

/// Whether the library returns what it logs as well, so that it is reported where it was called for.
fn is_returned(text: &str) -> bool {
    const RETURNED: [&str; 2] = [
        "Exception during initialization: ",
        "Non-zero status code returned while running ",
    ];
    RETURNED.iter().any(|start| text.starts_with(start))
}

fn folders() -> Vec<PathBuf> {
    let executable = std::env::current_exe()
        .ok()
        .and_then(|p| p.parent().map(Path::to_owned));
    let above = executable
        .iter()
        .flat_map(|p| p.ancestors().map(|a| a.join(".onnxruntime")));
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join(".onnxruntime");
    let here = std::env::current_dir().map(|d| d.join(".onnxruntime")).ok();
    executable
        .iter()
        .cloned()
        .chain(here)
        .chain(above)
        .chain([checkout])
        .collect()
}

/// The library of the package `onnxruntime` in the Python environment `environment`, such as
/// `lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime.so.1.31.1`; the last by name, where there are several.
fn python_library(environment: &Path) -> Option<PathBuf> {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = |path: &Path, start: &str| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(start))
    };
    ["lib", "lib64"]
        .iter()
        .flat_map(|lib| entries(environment.join(lib)).map(|entry| entry.path()))
        .filter(|path| named(path, "python3"))
        .flat_map(|python| ["site-packages", "dist-packages"].map(|packages| python.join(packages)))
        .flat_map(|packages| entries(packages.join("onnxruntime/capi")).map(|entry| entry.path()))
        .filter(|path| named(path, "libonnxruntime.so") && path.is_file())
        .max()
}

fn search(
    explicit: Option<&Path>,
    variable: Option<PathBuf>,
    folders: &[PathBuf],
    python: impl FnOnce() -> Option<PathBuf>,
) -> PathBuf {
    if let Some(named) = explicit
        .map(Path::to_owned)
        .or(variable.filter(|v| !v.as_os_str().is_empty()))
    {
        return named;
    }
    let candidates = folders.iter().flat_map(|folder| NAMES.map(|name| folder.join(name)));
    candidates
        .into_iter()
        .find(|c| c.is_file())
        .or_else(python)
        .unwrap_or_else(|| PathBuf::from(NAMES[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once() {
        assert!(is_returned("Exception during initialization: bad shape"));
        assert!(is_returned(
            "Non-zero status code returned while running Conv node. Name:'c'"
        ));
        assert!(!is_returned("pthread_setaffinity_np failed"));
    }

    #[test]
    fn the_explicit_path_wins_then_the_variable_then_the_folders() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().join(NAMES[0]);
        std::fs::write(&here, b"").unwrap();
        let folders = [folder.path().join("none"), folder.path().to_owned()];
        assert_eq!(
            search(Some(Path::new("/a")), Some("/b".into()), &folders, || None),
            Path::new("/a")
        );
        assert_eq!(search(None, Some("/b".into()), &folders, || None), Path::new("/b"));
        assert_eq!(search(None, Some("".into()), &folders, || Some("/c".into())), here);
        assert_eq!(search(None, None, &[], || Some("/c".into())), Path::new("/c"));
        assert_eq!(search(None, None, &[], || None), Path::new(NAMES[1]));
    }

    #[test]
    fn the_package_of_the_python_environment_is_found() {
        let environment = tempfile::tempdir().unwrap();
        assert_eq!(python_library(environment.path()), None);
        let capi = environment.path().join("lib/python3.12/site-packages/onnxruntime/capi");
        std::fs::create_dir_all(&capi).unwrap();
        std::fs::write(capi.join("libonnxruntime_providers_shared.so"), b"").unwrap();
        assert_eq!(python_library(environment.path()), None);
        let library = capi.join("libonnxruntime.so.1.31.1");
        std::fs::write(&library, b"").unwrap();
        assert_eq!(python_library(environment.path()), Some(library));
    }
}
