//! The settings: defaults < a file < `REPSERVE__SECTION__KEY` variables < flags, validated once.
//!
//! Each part of the server declares its own section (`repserve_settings::settings!`) and is given that alone; [`sections`] lists them.
//! Here their values override one another ([`layers`]), with the source of every value kept, and checked.

mod layers;
mod sections;
mod show;
mod source;
mod template;

pub use layers::{Entry, Layers};
pub use sections::{DecodeSettings, Settings};
pub use show::{as_json, as_toml};
pub use source::{ConfigError, Source};
pub use template::default_toml;

use std::path::{Path, PathBuf};

use crate::telemetry::{LogFormat, LogSettings};
use repserve_files as files;

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
    let mut layers = Layers::defaults(&template::default_values()?);
    if let Some(path) = &sources.file {
        layers.lay_file(&read(path)?, path)?;
    }
    layers.lay_variables(sources.variables.iter().cloned())?;
    for (key, value, flag) in &sources.flags {
        layers.set_text(key.clone(), value, Source::Flag(flag.clone()))?;
    }
    let settings = deserialize(&layers)?;
    settings.check().map_err(|(section, refused)| {
        let key = format!("{section}.{}", refused.key);
        let source_of = layers.source(&key);
        ConfigError::refused(key, source_of, &refused.wants, &refused.found)
    })?;
    Ok(Loaded { settings, layers })
}

/// The format of the log that the sources ask for. Whatever else is wrong with them does not matter: it is how that is reported.
pub fn log_format(sources: &Sources) -> LogFormat {
    let is_format = |key: &str| key == "log.format";
    let flags = sources.flags.iter().filter(|(key, ..)| is_format(key));
    let variables = sources.variables.iter();
    let variables = variables.filter(|(name, _)| layers::key_of_variable(name).is_some_and(|key| is_format(&key)));
    let given = Sources {
        file: None,
        variables: variables.cloned().collect(),
        flags: flags.cloned().collect(),
    };
    let overridden = !(given.variables.is_empty() && given.flags.is_empty());
    let from_file = || {
        let text = read(sources.file.as_ref()?).ok()?;
        let table: toml::Table = toml::from_str(&text).ok()?;
        table.get("log")?.get("format")?.clone().try_into().ok()
    };
    let found = if overridden {
        load(&given).map(|loaded| loaded.settings.log.format).ok()
    } else {
        from_file()
    };
    found.unwrap_or(LogSettings::default().format)
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
        // An element of an array belongs to the array's key.
        let path = error.path().to_string();
        let key = path.split('[').next().unwrap_or_default().to_owned();
        match (Settings::wants(&key), layers.value(&key)) {
            (Some(wants), Some(value)) => ConfigError::refused(key.clone(), layers.source(&key), &wants, value),
            _ => ConfigError::Value {
                source_of: layers.source(&key),
                reason: error.into_inner().message().replace('\n', ", "),
                key,
            },
        }
    })
}

#[cfg(test)]
mod tests;
