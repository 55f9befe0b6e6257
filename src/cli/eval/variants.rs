//! The forms of a model that are evaluated, loaded.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::app;
use crate::config::Settings;
use crate::model::ModelSettings;
use repserve_cache::Store;
use repserve_compile::{Clock, CompileSettings, Compiled, Fused, Package, RequestedPrecision, Scores, cached, compile};
use repserve_preprocess::Preprocess;
use repserve_quantize::{GateSettings, Precision};
use repserve_runtime::{ModelSession, Runtime};
use repserve_scheduler::Width;

/// A form of a model, loaded on all cores.
#[derive(Debug)]
pub(super) struct Variant {
    /// As it was asked for.
    pub(super) name: String,
    /// Arithmetic of its graph.
    pub(super) precision: Precision,
    pub(super) session: ModelSession,
    pub(super) preprocess: Preprocess,
    pub(super) scores: Scores,
    /// A label a class.
    pub(super) labels: Vec<String>,
    /// Channels, height and width of an image.
    pub(super) image: [usize; 3],
}

/// What a name on the command line means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// The train-time graph.
    Train,
    /// The fused graph in fp32, as it is served.
    Fused,
    /// The fused graph in int8, as it is served; whatever the gate says.
    Int8,
    /// The model as it is served from a start-up cache, in the arithmetic that the settings say.
    Cache(PathBuf),
    /// Another model, fused, in fp32.
    Other(PathBuf),
}

impl Form {
    fn of(name: &str) -> Self {
        match name {
            "train" => Self::Train,
            "fused" => Self::Fused,
            "int8" => Self::Int8,
            path if Store::is_at(Path::new(path)) => Self::Cache(PathBuf::from(path)),
            path => Self::Other(PathBuf::from(path)),
        }
    }
}

/// The forms that are wanted, with their names; those of the model that there are, where none is named.
pub(super) fn names(wanted: &[String], package: &Package) -> anyhow::Result<Vec<(String, Form)>> {
    let mut names: Vec<String> = wanted.iter().map(|name| name.trim().to_owned()).collect();
    if names.is_empty() {
        names.extend(["train", "fused"].map(str::to_owned));
        if package.calibration()?.is_some() {
            names.push("int8".to_owned());
        }
    }
    for (i, name) in names.iter().enumerate() {
        ensure!(!name.is_empty(), "--variants has an empty name");
        ensure!(!names[..i].contains(name), "--variants has {name} twice");
        ensure!(
            !matches!(Form::of(name), Form::Other(path) if !path.exists()),
            "--variants: {name} is none of train, fused, int8, and there is no such file or folder"
        );
    }
    Ok(names.into_iter().map(|name| (name.clone(), Form::of(&name))).collect())
}

/// Loads them, in order.
pub(super) fn load(
    runtime: &Runtime,
    settings: &Settings,
    package: &Package,
    names: &[(String, Form)],
) -> anyhow::Result<Vec<Variant>> {
    let mut variants: Vec<Variant> = Vec::with_capacity(names.len());
    for (name, form) in names {
        let variant = match form {
            Form::Other(path) => other(runtime, settings, path),
            Form::Cache(folder) => from_cache(runtime, settings, package, folder),
            form => one(runtime, settings, package.clone(), form),
        };
        let variant = Variant {
            name: name.clone(),
            ..variant.with_context(|| name.clone())?
        };
        if let Some(first) = variants.first() {
            let [expected, found] = [first.labels.len(), variant.labels.len()];
            ensure!(
                found == expected,
                "{name} has {found} classes, and {} has {expected}",
                first.name
            );
        }
        variants.push(variant);
    }
    Ok(variants)
}

fn other(runtime: &Runtime, settings: &Settings, path: &Path) -> anyhow::Result<Variant> {
    let model = ModelSettings {
        path: path.to_owned(),
        ..ModelSettings::default()
    };
    one(runtime, settings, model.open()?, &Form::Fused)
}

fn from_cache(runtime: &Runtime, settings: &Settings, package: &Package, folder: &Path) -> anyhow::Result<Variant> {
    let precision = settings.model.precision.of(&package.manifest);
    let settings = app::compile_settings(settings, precision);
    let store = Store::new(folder.to_owned(), u64::MAX);
    let compiled = cached(runtime, package, &store, &settings, &mut Clock::silent())?;
    let compiled = compiled.context(
        "the start-up cache holds nothing for this model, these settings, this program and this processor; \
         `repserve compile --model MODEL -o CACHE` fills it",
    )?;
    variant(compiled, None)
}

fn one(runtime: &Runtime, settings: &Settings, package: Package, form: &Form) -> anyhow::Result<Variant> {
    let precision = match form {
        Form::Int8 => RequestedPrecision::Int8,
        Form::Train | Form::Fused | Form::Cache(_) | Form::Other(_) => RequestedPrecision::Fp32,
    };
    let settings = CompileSettings {
        gate: GateSettings::open(),
        ..app::compile_settings(settings, precision)
    };
    let fused = Fused::new(package.source())?;
    let train = match form {
        Form::Train => Some(fused.train_time_session(runtime)?),
        Form::Fused | Form::Int8 | Form::Cache(_) | Form::Other(_) => None,
    };
    variant(
        compile(runtime, package, fused, &settings, &mut Clock::silent())?,
        train,
    )
}

/// What is evaluated of a compiled model; `train` is run in its place.
fn variant(compiled: Compiled, train: Option<ModelSession>) -> anyhow::Result<Variant> {
    let Compiled {
        description,
        facts,
        pool,
        ..
    } = compiled;
    Ok(Variant {
        name: String::new(),
        precision: facts.precision,
        session: match train {
            Some(session) => session,
            None => pool.session(Width::Wide)?,
        },
        preprocess: description.preprocess,
        scores: description.scores,
        labels: description.labels,
        image: description.signature.image,
    })
}
