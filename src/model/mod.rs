//! A model as a folder: what its `model.toml` says ([`Manifest`]), its labels, the bytes of its graph ([`Package`]) and its
//! calibration.
//!
//! Nothing here knows ONNX or a runtime: whether the graph fits what the folder says is checked when it is loaded.

mod manifest;
mod package;

pub use manifest::{Manifest, ManifestError, OutputKind, OutputSpec};
pub use package::{CALIBRATION_FILE, Package, PackageError};
pub use repserve_quantize::Precision;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Section `[model]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// Folder with `model.toml`; empty for the model that is built into the binary.
    pub path: PathBuf,
    /// Arithmetic of the deploy graph.
    pub precision: PrecisionChoice,
}

/// Who says in which arithmetic the deploy graph computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionChoice {
    /// The model's `model.toml`.
    #[default]
    Model,
    /// 32-bit floating point.
    Fp32,
    /// 8-bit integers, as `calibration.json` says.
    Int8,
}

impl PrecisionChoice {
    /// The arithmetic for a model.
    pub fn of(self, manifest: &Manifest) -> Precision {
        match self {
            Self::Model => manifest.precision,
            Self::Fp32 => Precision::Fp32,
            Self::Int8 => Precision::Int8,
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
