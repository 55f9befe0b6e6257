//! From a model's parts to a served model: the package is compiled, checked and gets a scheduler.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{cache, golden, log};
use crate::classify::{DecodeLimits, ImageEngine, MetricsObserver, Models, Rebuild, Served, Statistics};
use crate::config::Settings;
use crate::repository::{Golden, LoadError, LoadedModel, Loader, Progress, Wanted};
use crate::telemetry::Metrics;
use repserve_compile::{
    Clock, CompileError, CompileSettings, Compiled, Measured, Package, Phase, PhaseEvent, RequestedPrecision, Started,
    start,
};
use repserve_runtime::{ImageSession, Pool, Runtime};
use repserve_scheduler::{Memory, SessionError, WorkerPool, pair};

/// Is called with the name of each phase of loading as it begins.
type Report<'a> = dyn Fn(&'static str) + 'a;

/// Loads the model that the settings name, with a decode budget of its own. Blocks; meant for a thread of its own. `phase` is called with the
/// name of each phase as it begins.
///
/// # Errors
/// Where the model cannot be served, naming what is wrong with it.
pub fn load(settings: &Settings, metrics: &Metrics, phase: &Report<'_>) -> anyhow::Result<Served> {
    let parts = ModelParts {
        package: &mut || settings.model.open().map_err(LoadError::from),
        golden: None,
        memory: super::memory::decode_budget(&settings.limits),
        workers: None,
        beside: None,
    };
    Ok(load_within(settings, metrics, parts, phase)?)
}

/// Loads the models of a repository, all of which decode images within one budget.
pub(super) struct ModelLoader {
    pub(super) settings: Arc<Settings>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) memory: Arc<Memory>,
    /// Those that are served.
    pub(super) models: Arc<Models>,
    /// Works for all of them.
    pub(super) pool: WorkerPool,
    /// Is called with the phases of the first loads.
    pub(super) report: Box<dyn Fn(&'static str) + Send + Sync>,
}

impl Loader for ModelLoader {
    fn load(&self, wanted: Wanted<'_>) -> Result<LoadedModel, LoadError> {
        let Wanted {
            package,
            weight,
            folder,
            progress,
        } = wanted;
        let first = progress == Progress::First;
        let _room = (!first).then(|| self.pool.make_room());
        let report = |phase| {
            if first {
                (self.report)(phase);
            }
        };
        let mut package = Some(package);
        let parts = ModelParts {
            package: &mut || {
                package
                    .take()
                    .ok_or_else(|| LoadError::Process("the model was read twice".to_owned()))
            },
            golden: folder,
            memory: Arc::clone(&self.memory),
            workers: Some((&self.pool, weight)),
            beside: (!first).then(|| self.models.all().iter().map(|served| measured(served)).collect()),
        };
        load_within(&self.settings, &self.metrics, parts, &report).map(LoadedModel)
    }
}

/// What is loaded.
struct ModelParts<'a> {
    /// Reads the model.
    package: &'a mut dyn FnMut() -> Result<Package, LoadError>,
    /// The folder with its golden answers.
    golden: Option<&'a Path>,
    /// The budget for decoding.
    memory: Arc<Memory>,
    /// Workers that are there already, and the model's share of them; else it gets workers of its own.
    workers: Option<(&'a WorkerPool, u32)>,
    /// What was measured of the models that are served beside it.
    beside: Option<Vec<Measured>>,
}

fn load_within(
    settings: &Settings,
    metrics: &Metrics,
    parts: ModelParts<'_>,
    phase: &Report<'_>,
) -> Result<Served, LoadError> {
    let report = |event| {
        if let PhaseEvent::Began(began) = event {
            phase(Phase::label(began));
        }
    };
    let mut clock = Clock::new(&report);
    let package = clock.time(Phase::Read, parts.package)?;
    let golden = parts.golden.filter(|folder| folder.is_dir()).map(Golden::of);
    let golden = golden.transpose()?.unwrap_or_default();
    log::input(&package.manifest.input);
    let precision = settings.model.precision.of(&package.manifest);
    let store = cache::store(&settings.cache);
    let compile_settings = CompileSettings {
        beside: parts.beside,
        ..compile_settings(settings, precision)
    };
    let load = || Runtime::load(explicit(settings));
    let file = package
        .folder
        .as_ref()
        .map(|folder| folder.join(&package.manifest.file));
    let started = start(load, package, store.as_ref(), &compile_settings, &mut clock);
    let started = started.map_err(|error| with_file(error, file))?;
    let Started { mut compiled, unsaved } = started;
    cache::save(unsaved);
    golden::check(&mut compiled, &golden, settings)?;
    log::fusion(&compiled.report, &compiled.facts);
    log::arithmetic(&compiled.facts);
    log::kernels(&compiled.facts);
    log::loaded(&compiled.description, &compiled.facts);
    serve(settings, metrics, compiled, parts.memory, parts.workers)
}

/// The error with the ONNX file, where it is about that.
fn with_file(error: CompileError, file: Option<PathBuf>) -> LoadError {
    match (error, file) {
        (CompileError::Fuse(error), Some(path)) => LoadError::Graph { path, error },
        (error, _) => error.into(),
    }
}

fn measured(served: &Served) -> Measured {
    let facts = served.facts();
    Measured {
        deploy: facts.deploy.clone(),
        precision: facts.precision,
        image: served.signature().image,
        curve: facts.plan.threads.curve.clone(),
    }
}

/// Starts the scheduler over the compiled sessions.
fn serve(
    settings: &Settings,
    metrics: &Metrics,
    compiled: Compiled,
    memory: Arc<Memory>,
    workers: Option<(&WorkerPool, u32)>,
) -> Result<Served, LoadError> {
    let Compiled {
        description,
        facts,
        pool,
        sessions,
        plan,
        ..
    } = compiled;
    let rebuild = rebuild(pool, description.signature.image);
    let limits = DecodeLimits {
        image: settings.limits.image(),
        bytes_max: memory.bytes_max(),
        request_pixels_max: settings.limits.request_pixels_max,
    };
    let preprocess = description.preprocess.clone();
    let engine = Arc::new(ImageEngine::new(preprocess, limits, settings.decode.jpeg, rebuild));
    let statistics = Arc::new(Statistics::default());
    let manifest = &description.manifest;
    let observer = Arc::new(MetricsObserver {
        metrics: metrics.clone(),
        model: metrics.model.counts(&manifest.name, &manifest.version),
        statistics: Arc::clone(&statistics),
    });
    let scheduler = pair(engine, sessions, plan.tuning(&settings.batch), memory, observer);
    let (pool, weight) = workers.unzip();
    let served = Served::start(description, facts, scheduler, statistics, pool, weight.unwrap_or(1));
    served.map_err(|error| LoadError::Process(format!("cannot start the workers: {error}")))
}

/// How the scheduler makes a session again.
fn rebuild(pool: Pool, shape: [usize; 3]) -> Rebuild {
    Box::new(move |width| {
        let session = pool.session(width).map_err(|error| SessionError(error.to_string()))?;
        Ok(ImageSession::new(session, shape))
    })
}

/// The settings that compiling needs.
pub fn compile_settings(settings: &Settings, precision: RequestedPrecision) -> CompileSettings {
    CompileSettings {
        precision,
        verify: settings.verify.clone(),
        gate: settings.quantize,
        runtime: settings.runtime.clone(),
        limits: settings.limits.image(),
        beside: None,
    }
}

/// The library that the settings name, where they name one.
pub fn explicit(settings: &Settings) -> Option<&Path> {
    Some(settings.runtime.library.as_path()).filter(|path| !path.as_os_str().is_empty())
}
