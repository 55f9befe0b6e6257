//! From settings to a served model: the package is compiled and gets a scheduler.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use super::log;
use crate::classify::{DecodeLimits, ImageEngine, MetricsObserver, Rebuild, Served, Statistics};
use crate::config::Settings;
use crate::telemetry::Metrics;
use repserve_compile::{Clock, CompileSettings, Compiled, Fused, Phase, PhaseEvent, compile};
use repserve_quantize::Precision;
use repserve_runtime::{ImageSession, Pool, Runtime};
use repserve_scheduler::{Memory, SessionError, pair};

/// Loads the model, with a decode budget of its own. Blocks; meant for a thread of its own. `phase` is called with the name of each phase as it begins.
///
/// # Errors
/// Where the model cannot be served, naming what is wrong with it.
pub fn load(settings: &Settings, metrics: &Metrics, phase: &dyn Fn(&'static str)) -> anyhow::Result<Served> {
    let memory = super::memory::decode_budget(&settings.limits);
    load_within(settings, metrics, memory, phase)
}

/// Loads a model whose images are decoded within `memory`, which all models of a process share.
///
/// # Errors
/// As [`load`].
pub fn load_within(
    settings: &Settings,
    metrics: &Metrics,
    memory: Arc<Memory>,
    phase: &dyn Fn(&'static str),
) -> anyhow::Result<Served> {
    let report = |event| match event {
        PhaseEvent::Began(began) => phase(Phase::label(began)),
        PhaseEvent::Done(done, took) => metrics.model.phase(done.label(), took),
    };
    let mut clock = Clock::new(&report);
    let package = clock.time(Phase::Read, || settings.model.open())?;
    log::input(&package.manifest.input);
    let fused = clock.time(Phase::Fuse, || Fused::new(package.source()))?;
    let runtime = clock.time(Phase::Runtime, || Runtime::load(explicit(settings)))?;
    let precision = settings.model.precision.of(&package.manifest);
    let compiled = compile(
        &runtime,
        package,
        fused,
        &compile_settings(settings, precision),
        &mut clock,
    )?;
    log::fusion(&compiled.report, &compiled.facts);
    log::kernels(&compiled.facts);
    log::loaded(&compiled.description, &compiled.facts);
    serve(settings, metrics, memory, compiled)
}

/// Starts the scheduler over the compiled sessions.
fn serve(settings: &Settings, metrics: &Metrics, memory: Arc<Memory>, compiled: Compiled) -> anyhow::Result<Served> {
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
    let observer = Arc::new(MetricsObserver {
        metrics: metrics.clone(),
        statistics: Arc::clone(&statistics),
    });
    let scheduler = pair(engine, sessions, plan.tuning(&settings.batch), memory, observer);
    Served::start(description, facts, scheduler, statistics).context("cannot start the workers")
}

/// How the scheduler makes a session again.
fn rebuild(pool: Pool, shape: [usize; 3]) -> Rebuild {
    Box::new(move |width| {
        let session = pool.session(width).map_err(|error| SessionError(error.to_string()))?;
        Ok(ImageSession::new(session, shape))
    })
}

/// The settings that compiling needs.
pub fn compile_settings(settings: &Settings, precision: Precision) -> CompileSettings {
    CompileSettings {
        precision,
        verify: settings.verify.clone(),
        gate: settings.quantize,
        runtime: settings.runtime.clone(),
        limits: settings.limits.image(),
    }
}

/// The library that the settings name, where they name one.
pub fn explicit(settings: &Settings) -> Option<&Path> {
    Some(settings.runtime.library.as_path()).filter(|path| !path.as_os_str().is_empty())
}
