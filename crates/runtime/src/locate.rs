//! Where ONNX Runtime's shared library is found.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ort::LoadDynamicError;
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
    /// Loads the library: `explicit` if given, else `ORT_DYLIB_PATH`, else the first that exists beside the executable, in the Python
    /// environment into which the executable was installed (the package `onnxruntime`), or in a `.onnxruntime/` folder of the working
    /// directory or of one above the executable; else what the system's loader finds. A second call returns what the first one loaded.
    pub fn load(explicit: Option<&Path>) -> Result<Self, RuntimeError> {
        static LOADING: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one_at_a_time = LOADING.lock();
        if let Some(loaded) = LOADED.get() {
            return Ok(loaded.clone());
        }
        let named = named(explicit, std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from));
        let places = if named.is_some() { PLACES_OF_NAMED } else { PLACES };
        let library = named.unwrap_or_else(|| {
            search(
                std::env::current_exe().ok().as_deref().and_then(Path::parent),
                std::env::current_dir().ok().as_deref(),
            )
        });
        let failed = |reason: String| RuntimeError::Library {
            library: library.clone(),
            reason,
        };
        check_file(&library).map_err(failed)?;
        let builder =
            ort::init_from(in_full(&library)).map_err(|e| failed(unloadable(&library, places, &reason(&e))))?;
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

/// Where a library of which the name alone is given is searched for.
const PLACES_OF_NAMED: &str = "in this folder";
/// Where one is searched for that nobody has named.
const PLACES: &str = "beside the executable, in a Python environment around it, in `.onnxruntime/` of this folder or of one above the executable";

/// The file in full, where it is there: else a bare name is not taken for one in the working directory.
fn in_full(library: &Path) -> PathBuf {
    let there = library.exists().then(|| std::path::absolute(library).ok()).flatten();
    there.unwrap_or_else(|| library.to_owned())
}

/// Why the library is not loaded: in plain words where the loader has not found it.
fn unloadable(library: &Path, places: &str, reason: &str) -> String {
    if reason.starts_with(&format!("{}: cannot open shared object file", library.display())) {
        format!("it is not {places}, nor where the system's loader looks (LD_LIBRARY_PATH, `ldconfig -p`)")
    } else {
        reason.to_owned()
    }
}

/// What the loader says, or what is wrong with what it has loaded.
fn reason(error: &LoadDynamicError) -> String {
    match error {
        LoadDynamicError::Dlopen { error, .. } => error.source().map_or_else(|| error.to_string(), ToString::to_string),
        other => other.to_string(),
    }
}

/// Whether the file can be a shared library; one that is searched for in the loader's path has no folder in its name.
fn check_file(library: &Path) -> Result<(), String> {
    if !library.exists() {
        let searched = library.components().count() == 1;
        return if searched {
            Ok(())
        } else {
            Err("there is no such file".to_owned())
        };
    }
    // A pipe in its place would be waited for.
    let start = files::read_start(library, ELF.len() as u64).map_err(|error| error.to_string())?;
    if cfg!(target_os = "linux") && start != ELF {
        return Err("it is no shared library".to_owned());
    }
    Ok(())
}

/// How a shared library of Linux begins.
const ELF: &[u8] = b"\x7fELF";

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

/// The library that a flag names, else the one that a variable names.
fn named(explicit: Option<&Path>, variable: Option<PathBuf>) -> Option<PathBuf> {
    explicit
        .map(Path::to_owned)
        .or(variable)
        .filter(|named| !named.as_os_str().is_empty())
}

/// What is loaded by an executable that lies in `beside`, in the working directory `here`, where no library is named.
fn search(beside: Option<&Path>, here: Option<&Path>) -> PathBuf {
    let fetched = |folder: &Path| library_in(&folder.join(".onnxruntime"));
    beside
        .and_then(library_in)
        .or_else(|| python_library(beside?.parent()?))
        .or_else(|| fetched(here?))
        .or_else(|| beside?.ancestors().find_map(fetched))
        .unwrap_or_else(|| PathBuf::from(NAMES[1]))
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    NAMES
        .map(|name| folder.join(name))
        .into_iter()
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_library_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str, content: Option<&[u8]>, expected: Result<(), &str>| {
            let file = dir.path().join(name);
            if let Some(content) = content {
                std::fs::write(&file, content).unwrap();
            }
            assert_eq!(check_file(&file), expected.map_err(str::to_owned), "{name}");
        };
        check("missing.so", None, Err("there is no such file"));
        check("library.so", Some(b"\x7fELF\x02"), Ok(()));
        if cfg!(target_os = "linux") {
            check("settings.toml", Some(b"[server]"), Err("it is no shared library"));
            check("empty.so", Some(b""), Err("it is no shared library"));
        }
        assert_eq!(check_file(Path::new("libonnxruntime.so")), Ok(()));
    }

    #[test]
    fn a_library_that_the_loader_does_not_find_is_said_to_be_nowhere() {
        let library = Path::new("libnowhere.so");
        let check = |reason: &str, expected: &str| {
            assert_eq!(unloadable(library, PLACES_OF_NAMED, reason), expected);
        };
        check(
            "libnowhere.so: cannot open shared object file: No such file or directory",
            "it is not in this folder, nor where the system's loader looks (LD_LIBRARY_PATH, `ldconfig -p`)",
        );
        let of_another = "libother.so: cannot open shared object file: No such file or directory";
        check(of_another, of_another);
        assert_eq!(in_full(library), library);
        assert!(in_full(Path::new("Cargo.toml")).is_absolute());
    }

    #[test]
    fn a_failure_is_told_once() {
        assert!(is_returned("Exception during initialization: bad shape"));
        assert!(is_returned(
            "Non-zero status code returned while running Conv node. Name:'c'"
        ));
        assert!(!is_returned("pthread_setaffinity_np failed"));
    }

    #[test]
    fn the_explicit_path_wins_then_the_variable_then_what_is_nearest() {
        let root = tempfile::tempdir().unwrap();
        let (bin, here) = (root.path().join("env/bin"), root.path().join("here"));
        let found = |explicit: Option<&str>, variable: Option<&str>| {
            let variable = variable.map(PathBuf::from);
            named(explicit.map(Path::new), variable).unwrap_or_else(|| search(Some(&bin), Some(&here)))
        };
        assert_eq!(found(None, None), Path::new(NAMES[1]));
        let farther = [
            root.path().join(".onnxruntime").join(NAMES[1]),
            here.join(".onnxruntime").join(NAMES[0]),
            root.path()
                .join("env/lib/python3.12/site-packages/onnxruntime/capi")
                .join(NAMES[0]),
            bin.join(NAMES[0]),
        ];
        for library in farther {
            std::fs::create_dir_all(library.parent().unwrap()).unwrap();
            std::fs::write(&library, b"").unwrap();
            assert_eq!(found(None, Some("")), library);
        }
        assert_eq!(found(Some("/a"), Some("/b")), Path::new("/a"));
        assert_eq!(found(None, Some("/b")), Path::new("/b"));
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
