//! Which model is served: the section `[model]`, and the model that is built into the binary.

use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use repserve_compile::{Manifest, Package, PackageError, Parts, Preset, RequestedPrecision};
use repserve_settings::settings;

settings! {
    /// Which model is served, and in which arithmetic.
    pub struct ModelSettings {
        /// Folder with model.toml, or an ONNX file alone; empty: the model that is built into the binary.
        path: PathBuf = PathBuf::new(),
        /// Arithmetic of the deploy graph: fp32; int8 (needs a calibration.json, which `repserve calibrate` writes); auto: int8 where there is a
        /// calibration.json, [quantize] admits it and it measures at least as fast when the model is loaded, fp32 else; or model: as the
        /// model's model.toml sets it, fp32 where it does not.
        precision: PrecisionChoice = PrecisionChoice::Model,
    }
}

/// Where the arithmetic of the deploy graph is set.
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
    /// int8 where it may be served and is as fast, fp32 else.
    Auto,
}

impl PrecisionChoice {
    /// The arithmetic for a model.
    pub fn of(self, manifest: &Manifest) -> RequestedPrecision {
        match self {
            Self::Model => manifest.precision,
            Self::Fp32 => RequestedPrecision::Fp32,
            Self::Int8 => RequestedPrecision::Int8,
            Self::Auto => RequestedPrecision::Auto,
        }
    }
}

impl ModelSettings {
    /// Reads the folder or the file, or takes the model that is built in.
    ///
    /// # Errors
    /// See [`PackageError`].
    pub fn open(&self) -> Result<Package, PackageError> {
        if self.path.as_os_str().is_empty() {
            return built_in();
        }
        if self.path.is_file() {
            return Package::bare(&self.path, Preset::Plain);
        }
        Package::open(&self.path)
    }
}

/// The model that is built into the binary.
///
/// # Errors
/// None as built: a test reads it.
pub fn built_in() -> Result<Package, PackageError> {
    Package::from_parts(Parts {
        manifest: include_str!("../models/repvgg-cifar10/model.toml"),
        labels: Some(include_str!("../models/repvgg-cifar10/labels.txt")),
        graph: Bytes::from_static(include_bytes!("../models/repvgg-cifar10/model.onnx")),
        calibration: Some(include_str!("../models/repvgg-cifar10/calibration.json")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_model_is_whole() {
        let package = built_in().unwrap();
        assert!(package.calibration().unwrap().is_some());
        assert_eq!(package.labels.unwrap().len(), 10);
        assert_eq!(package.manifest.version, "1");
        assert!(package.graph.len() > 1_000_000);
    }
}
