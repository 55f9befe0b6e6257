//! The flags that change settings, for the subcommands that share them.

use std::path::PathBuf;

use crate::config::{self, ConfigError, Loaded, Sources};

/// Flags over the configuration.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct SettingsArgs {
    /// Configuration file (TOML); `config/default.toml` holds every key
    #[arg(long, value_name = "FILE", env = "REPSERVE_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of the model (model.toml); default: the model that is built in
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Arithmetic of the deploy graph: fp32, int8, or model: as model.toml says
    #[arg(long)]
    precision: Option<String>,
    /// ONNX Runtime's shared library
    #[arg(long, value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
    /// Sets any key, such as `server.top_k=3`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

impl SettingsArgs {
    /// Reads the configuration with these flags, and those that a subcommand has besides, on top.
    pub(super) fn load(&self, more: &[(&str, &str, Option<String>)]) -> Result<Loaded, ConfigError> {
        let text = |path: &PathBuf| path.to_string_lossy().into_owned();
        let named = [
            ("model.path", "--model", self.model.as_ref().map(text)),
            ("model.precision", "--precision", self.precision.clone()),
            ("runtime.library", "--onnxruntime", self.onnxruntime.as_ref().map(text)),
        ];
        let mut sources = Sources::from_environment();
        sources.file.clone_from(&self.config);
        for (key, value) in &self.set {
            sources.flags.push((key.clone(), value.clone(), "--set".to_owned()));
        }
        for (key, flag, value) in named.into_iter().chain(more.iter().cloned()) {
            if let Some(value) = value {
                sources.flags.push((key.to_owned(), value, flag.to_owned()));
            }
        }
        config::load(&sources)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("wants KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
