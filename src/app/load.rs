//! From settings to a served model: read, fuse, verify, make sessions, warm up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use serde_json::json;

use super::arithmetic::{self, Chosen};
use super::clock::Clock;
use super::log;
use super::pool;
use super::verify::{self, Pair, probes};
use crate::classify::{Facts, ImageEngine, MetricsObserver, Served, Signature};
use crate::config::Settings;
use crate::model::{Package, Precision};
use crate::telemetry::Metrics;
use repserve_graph::onnx::ExternalData;
use repserve_preprocess::{Preprocess, decoder};
use repserve_reparam::{Options, reparameterize_bytes};
use repserve_runtime::{Lowered, ModelSession, Pool, Runtime, RuntimeError, WinogradMode, lower_for_session};
use repserve_scheduler::{Width, pair};

/// Loads the model. Blocks; meant for a thread of its own. `phase` hears what is being done.
///
/// # Errors
/// Where the model cannot be served, naming what is wrong with it.
pub fn load(settings: &Settings, metrics: &Metrics, phase: &dyn Fn(&'static str)) -> anyhow::Result<Served> {
    let mut clock = Clock::new(&metrics.model, phase);
    let package = clock.time("read", || Ok(settings.model.open()?))?;
    let preprocess = Preprocess::try_from(package.manifest.input.clone())?;
    let options = options(&package);
    let deployed = clock.time("fuse", || Ok(reparameterize_bytes(package.graph.clone(), &options)?))?;
    let runtime = clock.time("runtime", || Ok(Runtime::load(explicit(settings))?))?;
    let mut chosen = arithmetic::choose(&runtime, &package, &deployed, settings, &mut clock)?;
    let mut lowered = clock.time("lower", || {
        Ok(lowered(&runtime, &chosen, settings.runtime.winograd, &package)?)
    })?;
    let gated = chosen.pool.take();
    let pool = clock.time("optimize", || match gated {
        Some(pool) => Ok(pool),
        None => {
            let (onnx, layers) = (std::mem::take(&mut lowered.model), lowered.layers.clone());
            Ok(Pool::new(
                &runtime,
                onnx,
                layers,
                options.output.clone(),
                &settings.runtime,
            )?)
        }
    })?;
    let first = pool.session(Width::Narrow)?;
    let batch_fixed = first.input().batch;
    let signature = signature(&package, &first)?;
    let probes = probes(signature.image, &settings.verify);
    let file = package.file();
    let both = Pair {
        source: &package.graph,
        file: file.as_deref(),
        deployed: &deployed,
        options: &options,
    };
    let (equivalence, answers) = clock.time("verify", || verify::verify(&runtime, both, &probes, &settings.verify))?;
    log::what_was_fused(&deployed.report, &equivalence);
    let mut made = clock.time("sessions", || Ok(pool.sessions(first)?))?;
    if lowered.report.lowered > 0 {
        let error = clock.time("verify", || verify::verify_lowered(&mut made, &probes, &answers))?;
        lowered.report.relative_error = Some(error);
    }
    match chosen.precision {
        Precision::Fp32 => log::what_was_lowered(&lowered.report),
        Precision::Int8 => log::what_computes_in_int8(pool.int8_kernels()),
    }

    let engine = Arc::new(ImageEngine::new(
        preprocess,
        settings.limits.image(),
        settings.decode.jpeg,
        pool::rebuild(&pool),
    ));
    let mut sessions = pool::prepared(made, &engine);
    let plan = clock.time("warm-up", || {
        let plan = pool.plan().clone();
        pool::warm_up(&mut sessions, plan, batch_fixed, &signature, &settings.runtime)
    })?;
    let tuning = plan.tuning(&settings.batch);
    let facts = Facts {
        labels: labels(&package, signature.classes),
        manifest: package.manifest,
        signature,
        precision: chosen.precision,
        int8: chosen.int8,
        report: deployed.report,
        equivalence,
        winograd: lowered.report,
        plan: json!({ "decoder": decoder(), "weights_shared": pool.shares_weights(), "int8_kernels": pool.int8_kernels(), "operators": pool.operators(), "threads": plan }),
        load: clock.spent,
    };
    log::how_long_it_took(&facts);
    let observer = Arc::new(MetricsObserver(metrics.clone()));
    let scheduler = pair(engine, sessions, tuning, observer);
    Served::start(facts, scheduler).context("cannot start the workers")
}

/// The session's copy of the graph to serve; int8 is lowered later, from what ONNX Runtime makes of it.
fn lowered(
    runtime: &Runtime,
    chosen: &Chosen,
    winograd: WinogradMode,
    package: &Package,
) -> Result<Lowered, RuntimeError> {
    let [height, width] = package.manifest.input.size.map(|side| side as usize);
    let output = package.manifest.output.name.as_deref();
    let mode = match chosen.precision {
        Precision::Fp32 => winograd,
        Precision::Int8 => WinogradMode::Off,
    };
    let mut lowered = lower_for_session(runtime, &chosen.onnx, mode, [3, height, width], output)?;
    if chosen.precision == Precision::Int8 {
        lowered.report.reason = Some("the model computes in int8".to_owned());
    }
    Ok(lowered)
}

/// The library that the settings name, where they name one.
pub fn explicit(settings: &Settings) -> Option<&Path> {
    Some(settings.runtime.library.as_path()).filter(|path| !path.as_os_str().is_empty())
}

pub(super) fn options(package: &Package) -> Options {
    let external = |folder: &PathBuf| ExternalData::Folder(folder.clone());
    Options {
        output: package.manifest.output.name.clone(),
        external: package.folder.as_ref().map_or(ExternalData::None, external),
        ..Options::default()
    }
}

/// What goes in and comes out, where graph, `model.toml` and labels agree on it.
fn signature(package: &Package, session: &ModelSession) -> anyhow::Result<Signature> {
    let [height, width] = package.manifest.input.size.map(|side| side as usize);
    verify::check_size(session.input().image, [height, width])?;
    let labels = package.labels.as_ref().map(Vec::len);
    let classes = match (session.output_len(), labels) {
        (Some(classes), Some(labels)) => {
            ensure!(
                labels == classes,
                "the model answers {classes} classes and there are {labels} labels"
            );
            classes
        }
        (Some(classes), None) => classes,
        (None, Some(labels)) => labels,
        (None, None) => bail!("neither the graph nor a file of labels says how many classes there are"),
    };
    Ok(Signature {
        input: session.input().name.clone(),
        image: [3, height, width],
        output: session.output_name().to_owned(),
        classes,
    })
}

/// The labels; the index where the model brings none.
fn labels(package: &Package, classes: usize) -> Vec<String> {
    let indices = || (0..classes).map(|index| index.to_string()).collect();
    package.labels.clone().unwrap_or_else(indices)
}
