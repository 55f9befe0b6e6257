//! An ONNX file on the command line, alone or in a model's folder.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use repserve_compile::{CALIBRATION_FILE, Manifest, Package, Source};
use repserve_graph::onnx::{self, ExternalData};
use repserve_reparam::Options;

/// An ONNX file and what is known of it besides.
#[derive(Debug)]
pub(super) struct ModelFile {
    /// The file.
    pub(super) path: PathBuf,
    /// Its bytes.
    pub(super) bytes: Bytes,
    /// Which output to keep; external data may lie in the file's folder.
    pub(super) options: Options,
    /// The `model.toml` beside it, where it is about this file.
    pub(super) manifest: Option<Manifest>,
}

impl ModelFile {
    /// Reads `path`, an ONNX file or a model's folder. `output` overrides what `model.toml` names.
    pub(super) fn open(path: &Path, output: Option<&str>) -> anyhow::Result<Self> {
        let (path, bytes, manifest) = if path.is_dir() {
            let manifest = Package::manifest(path)?;
            (
                path.join(&manifest.file),
                Package::graph(path, &manifest)?,
                Some(manifest),
            )
        } else {
            let beside = path.parent().and_then(|folder| Package::manifest(folder).ok());
            let name = path.file_name();
            (
                path.to_owned(),
                Package::onnx_file(path)?,
                beside.filter(|m| Path::new(&m.file).file_name() == name),
            )
        };
        let of_manifest = manifest.as_ref().and_then(|m| m.output.name.clone());
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
        let options = Options {
            output: output.map(str::to_owned).or(of_manifest),
            external: ExternalData::Folder(folder.unwrap_or(Path::new(".")).to_owned()),
            ..Options::default()
        };
        Ok(Self {
            path,
            bytes,
            options,
            manifest,
        })
    }

    /// Every file that the model consists of: itself, its external data, and what its `model.toml` names. Some may be missing.
    pub(super) fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = vec![self.path.clone()];
        if let (Some(manifest), Some(folder)) = (&self.manifest, self.path.parent()) {
            files.extend(Package::files(folder, manifest));
            files.push(folder.join(CALIBRATION_FILE));
        }
        files.extend(self.named(onnx::external_files(self.bytes.clone(), &self.options.external))?);
        Ok(files)
    }

    /// The train-time graph.
    pub(super) fn source(&self) -> Source {
        Source {
            onnx: self.bytes.clone(),
            file: Some(self.path.clone()),
            options: self.options.clone(),
            labels: None,
            scratch: None,
        }
    }

    /// The same outcome, with the file's name before the error.
    pub(super) fn named<T, E: Into<anyhow::Error>>(&self, outcome: Result<T, E>) -> anyhow::Result<T> {
        outcome.map_err(|error| error.into().context(self.path.display().to_string()))
    }
}
