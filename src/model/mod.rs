//! A model as a folder: what its `model.toml` says ([`Manifest`]), its labels and the bytes of its graph ([`Package`]).
//!
//! Nothing here knows ONNX or a runtime: whether the graph fits what the folder says is checked when it is loaded.

mod manifest;
mod package;

pub use manifest::{Manifest, ManifestError, OutputKind, OutputSpec};
pub use package::{Package, PackageError};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Section `[model]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Folder with `model.toml`; empty for the model that is built into the binary.
    pub path: PathBuf,
    /// Arithmetic of the deploy graph.
    pub precision: Precision,
}

/// Arithmetic of the deploy graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    Fp32,
}

impl Precision {
    /// As it is written in settings, metrics and answers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
        }
    }
}

impl ModelSettings {
    /// Reads the folder, or takes the model that is built in.
    ///
    /// # Errors
    /// See [`PackageError`].
    pub fn open(&self) -> Result<Package, PackageError> {
        if self.path.as_os_str().is_empty() {
            return Package::embedded();
        }
        Package::open(&self.path)
    }
}
