//! The settings: defaults < a file < `REPSERVE__SECTION__KEY` variables < flags, validated once.
//!
//! Each part of the server brings the struct of its own section; here they are laid over each other ([`layers`]), with
//! the source of every value kept, and checked. Nothing below this floor sees [`Settings`] as a whole.

mod layers;
mod rules;
mod show;
mod source;

pub use layers::{Entry, Layers};
pub use show::{as_json, as_toml};
pub use source::{ConfigError, Source};

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::http::{LimitSettings, SecuritySettings, ServerSettings};
use crate::model::ModelSettings;
use crate::telemetry::{LogSettings, TraceSettings};
use repserve_compile::VerifySettings;
use repserve_files as files;
use repserve_preprocess::JpegDecode;
use repserve_quantize::GateSettings;
use repserve_runtime::RuntimeSettings;
use repserve_scheduler::BatchSettings;

/// The ground layer: every key with its default and a comment.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// What is in force. One struct a part.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Listener, timeouts, drain.
    pub server: ServerSettings,
    /// What a request and an image may cost.
    pub limits: LimitSettings,
    /// API keys and TLS.
    pub security: SecuritySettings,
    /// Which model is served and how.
    pub model: ModelSettings,
    /// Comparison of the deploy graph with the train-time graph.
    pub verify: VerifySettings,
    /// Comparison of the int8 graph with the fp32 graph.
    pub quantize: GateSettings,
    /// Decoding.
    pub decode: DecodeSettings,
    /// Queue and batches.
    pub batch: BatchSettings,
    /// ONNX Runtime.
    pub runtime: RuntimeSettings,
    /// Export of spans.
    pub trace: TraceSettings,
    /// Log level and format.
    pub log: LogSettings,
}

/// Decoding.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeSettings {
    /// How large a JPEG is decoded.
    pub jpeg: JpegDecode,
}

/// Where settings are taken from, besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A configuration file.
    pub file: Option<PathBuf>,
    /// Environment variables; those without the prefix are ignored.
    pub variables: Vec<(String, String)>,
    /// Flags: (key, value, the flag as it was typed).
    pub flags: Vec<(String, String, String)>,
}

impl Sources {
    /// No file, no flags, the variables of this process.
    pub fn from_environment() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .collect();
        Self {
            variables,
            ..Self::default()
        }
    }
}

/// Settings and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is in force.
    pub settings: Settings,
    /// Every key, its value and its source.
    pub layers: Layers,
}

/// Reads, merges and checks the settings.
///
/// # Errors
/// The first thing that is wrong, naming the key and where it was given.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::defaults(DEFAULT_TOML)?;
    if let Some(path) = &sources.file {
        layers.lay_file(&read(path)?, path)?;
    }
    layers.lay_variables(sources.variables.iter().cloned())?;
    for (key, value, flag) in &sources.flags {
        layers.set_text(key.clone(), value, Source::Flag(flag.clone()))?;
    }
    let settings = deserialize(&layers)?;
    rules::check(&settings, &layers)?;
    Ok(Loaded { settings, layers })
}

/// Bytes of a configuration file at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

fn read(path: &Path) -> Result<String, ConfigError> {
    files::read_text(path, FILE_BYTES_MAX).map_err(|error| ConfigError::Read {
        path: path.to_owned(),
        error,
    })
}

fn deserialize(layers: &Layers) -> Result<Settings, ConfigError> {
    serde_path_to_error::deserialize(layers.table()).map_err(|error| {
        let key = error.path().to_string();
        let reason = error.into_inner().message().replace('\n', ", ");
        let source_of = layers.source(&key);
        ConfigError::Value { key, source_of, reason }
    })
}

#[cfg(test)]
mod tests;
