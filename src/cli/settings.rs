//! The flags that change settings. Each subcommand takes those that it uses, and no others.

use std::path::{Path, PathBuf};

use crate::config::{self, ConfigError, Loaded, Source, Sources};
use crate::telemetry::LogFormat;

/// The configuration, and keys over it.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct SettingsArgs {
    /// Configuration file (TOML); `config/default.toml` holds every key
    #[arg(long, value_name = "FILE", env = "REPSERVE_CONFIG")]
    config: Option<PathBuf>,
    /// Sets a key, such as `limits.image_bytes_max=1000000`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

/// What is served, and how.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ServedArgs {
    /// Folder of the model (model.toml), or an ONNX file; default: the model that is built in
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// Arithmetic of the deploy graph: fp32, int8, auto (the faster that may be served), or model: as model.toml says
    #[arg(long)]
    precision: Option<String>,
    #[command(flatten)]
    library: LibraryArgs,
}

/// Where ONNX Runtime is.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct LibraryArgs {
    /// ONNX Runtime's shared library
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
}

/// A flag of its own for a key: the key, the flag, its value where it was given.
pub(super) type Flag = (&'static str, &'static str, Option<String>);

/// The flag `--model` for the key `model.path`.
pub(super) fn model_flag(folder: Option<&Path>) -> Flag {
    ("model.path", "--model", folder.map(text))
}

/// Several models.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ModelsArgs {
    /// Folder of models, each in a folder of its own (with model.toml, or with folders of versions: 1, 2, ...)
    #[arg(long, value_name = "DIR", conflicts_with = "model")]
    models: Option<PathBuf>,
}

impl ModelsArgs {
    pub(super) fn flag(&self) -> Flag {
        ("models.path", "--models", self.models.as_deref().map(text))
    }
}

impl ServedArgs {
    pub(super) fn flags(&self) -> Vec<Flag> {
        vec![
            model_flag(self.model.as_deref()),
            ("model.precision", "--precision", self.precision.clone()),
            self.library.flag(),
        ]
    }
}

impl LibraryArgs {
    pub(super) fn flag(&self) -> Flag {
        (
            "runtime.library",
            "--onnxruntime",
            self.onnxruntime.as_deref().map(text),
        )
    }
}

/// The keys, or whole sections, that a subcommand reads; none: all.
pub(super) type Used = &'static [&'static str];

impl SettingsArgs {
    /// Reads the configuration with these flags, and those that a subcommand has besides, on top.
    ///
    /// # Errors
    /// Where the configuration cannot be used, or `--set` names a key that is none of those `used`.
    pub(super) fn load(&self, used: Used, more: &[Flag]) -> Result<Loaded, ConfigError> {
        let loaded = config::load(&self.sources(more))?;
        match self.set.iter().find(|(key, _)| !uses(used, key)) {
            None => Ok(loaded),
            Some((key, _)) => Err(ConfigError::Value {
                key: key.clone(),
                source_of: Source::Flag("--set".to_owned()),
                reason: "this command does not use it".to_owned(),
            }),
        }
    }

    /// The format of the log that is asked for, also where the configuration cannot be used.
    pub(super) fn log_format(&self, more: &[Flag]) -> LogFormat {
        config::log_format(&self.sources(more))
    }

    fn sources(&self, more: &[Flag]) -> Sources {
        let mut sources = Sources::from_environment();
        sources.file.clone_from(&self.config);
        for (key, value) in &self.set {
            sources.flags.push((key.clone(), value.clone(), "--set".to_owned()));
        }
        for (key, flag, value) in more.iter().cloned() {
            if let Some(value) = value {
                sources.flags.push((key.to_owned(), value, flag.to_owned()));
            }
        }
        sources
    }
}

fn uses(used: Used, key: &str) -> bool {
    let within = |rest: &str| rest.is_empty() || rest.starts_with('.');
    used.is_empty() || used.iter().any(|name| key.strip_prefix(*name).is_some_and(within))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_cover_their_keys_and_keys_themselves() {
        const USED: Used = &["verify", "runtime.library"];
        let check = |key: &str, expected: bool| assert_eq!(uses(USED, key), expected, "{key}");
        check("verify.seed", true);
        check("runtime.library", true);
        check("runtime.cores", false);
        check("verification.seed", false);
        assert!(uses(&[], "server.listen"));
    }
}
