//! A model's parts in memory, as they are found in its folder.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::draft::{Draft, Preset};
use super::manifest::{Manifest, ManifestError};
use super::source::Source;
use repserve_files as files;
use repserve_files::FileError;
use repserve_graph::onnx::{self, ExternalData, OnnxError};
use repserve_preprocess::InputSpec;
use repserve_reparam::Options;

/// Bytes of a `model.toml` at most.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the labels at most; a million fit.
const LABELS_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a calibration at most: a bit a weight, and small pictures.
const CALIBRATION_BYTES_MAX: u64 = 256 << 20;
/// Bytes of the ONNX file at most: protobuf holds no more.
const GRAPH_BYTES_MAX: u64 = i32::MAX as u64;

/// What a model's manifest is called in its folder.
pub const MANIFEST_FILE: &str = "model.toml";
/// What a model's calibration is called in its folder.
pub const CALIBRATION_FILE: &str = "calibration.json";

/// A model's parts in memory.
#[derive(Debug, Clone)]
pub struct Package {
    /// What `model.toml` says.
    pub manifest: Manifest,
    /// A label a class; `None` where the folder has none.
    pub labels: Option<Vec<String>>,
    /// The bytes of the ONNX file.
    pub graph: Bytes,
    /// Where the ONNX file's external data and the calibration may lie; `None` for a model that is in no folder.
    pub folder: Option<PathBuf>,
    /// The text of the calibration of a model that is in no folder.
    pub calibration: Option<String>,
    /// What was assumed of the model for want of a `model.toml`.
    pub assumed: Option<String>,
}

/// The parts of a model that is in no folder, as they would be in its files.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// `model.toml`.
    pub manifest: &'a str,
    /// The labels, a line a class.
    pub labels: Option<&'a str>,
    /// The ONNX file.
    pub graph: Bytes,
    /// `calibration.json`.
    pub calibration: Option<&'a str>,
}

/// A model's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A part could not be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The part.
        path: PathBuf,
        /// Why not.
        error: FileError,
    },
    /// There is no such folder or file.
    #[error("{} does not exist; give a model's folder, or an ONNX file", path.display())]
    Missing {
        /// What was given.
        path: PathBuf,
    },
    /// The folder has no `model.toml`.
    #[error("{} holds no {MANIFEST_FILE}; {remedy}", shown(folder))]
    NoManifest {
        /// The folder.
        folder: PathBuf,
        /// What to do, by what the folder holds.
        remedy: String,
    },
    /// The ONNX file is no model.
    #[error("{}: {error}", path.display())]
    Graph {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: OnnxError,
    },
    /// `model.toml` is wrong.
    #[error("{}: {error}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ManifestError,
    },
    /// The labels are wrong.
    #[error("{}:{line}: {what}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// Line of the fault, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

impl Package {
    /// A model that is in no folder.
    ///
    /// # Errors
    /// A part that is wrong.
    pub fn from_parts(parts: Parts<'_>) -> Result<Self, PackageError> {
        let labels = parts
            .labels
            .map(|text| parse_labels(text, Path::new("built-in labels.txt")));
        Ok(Self {
            manifest: parse_manifest(parts.manifest, Path::new("built-in model.toml"))?,
            labels: labels.transpose()?,
            graph: parts.graph,
            folder: None,
            calibration: parts.calibration.map(str::to_owned),
            assumed: None,
        })
    }

    /// Reads a folder's `model.toml` alone.
    ///
    /// # Errors
    /// Where it is missing or wrong.
    pub fn manifest(folder: &Path) -> Result<Manifest, PackageError> {
        let text = read_text(folder, MANIFEST_FILE, MANIFEST_BYTES_MAX).map_err(|error| match error {
            PackageError::Read { error, .. } if error.is_missing() => no_manifest(folder),
            other => other,
        })?;
        parse_manifest(&text, &folder.join(MANIFEST_FILE))
    }

    /// Reads a model's folder.
    ///
    /// # Errors
    /// A part that is missing or wrong, by its path.
    pub fn open(folder: &Path) -> Result<Self, PackageError> {
        Self::open_as(folder, Self::manifest(folder)?)
    }

    /// Reads a folder of which `manifest` says what its `model.toml` would.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_as(folder: &Path, manifest: Manifest) -> Result<Self, PackageError> {
        let labels = match &manifest.labels {
            Some(file) => {
                let text = read_text(folder, file, LABELS_BYTES_MAX)?;
                Some(parse_labels(&text, &folder.join(file))?)
            }
            None => None,
        };
        let graph = Self::graph(folder, &manifest)?;
        Ok(Self {
            manifest,
            labels,
            graph,
            folder: Some(folder.to_owned()),
            calibration: None,
            assumed: None,
        })
    }

    /// Takes an ONNX file alone; what a `model.toml` would say follows from the graph and from `preset`.
    ///
    /// # Errors
    /// Where it cannot be read, or is no model.
    pub fn bare(path: &Path, preset: Preset) -> Result<Self, PackageError> {
        let graph = Self::onnx_file(path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        let model = onnx::read(graph.clone(), &ExternalData::Folder(folder.clone()));
        let model = model.map_err(|error| PackageError::Graph {
            path: path.to_owned(),
            error,
        })?;
        let Draft { manifest, labels } = Draft::new(path, &model, preset);
        manifest.input.validate().map_err(|error| PackageError::Manifest {
            path: path.to_owned(),
            error: error.into(),
        })?;
        let InputSpec {
            size, mean, std, scale, ..
        } = &manifest.input;
        let [height, width] = size;
        let assumed = format!(
            "there is no model.toml: images are resized to {width}x{height} pixels, with mean {mean:?} and standard deviation {std:?} of pixels divided by {scale}; `repserve init` writes one to change this"
        );
        Ok(Self {
            manifest,
            labels,
            graph,
            folder: Some(folder),
            calibration: None,
            assumed: Some(assumed),
        })
    }

    /// Reads the ONNX file of a folder whose `model.toml` is `manifest`.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn graph(folder: &Path, manifest: &Manifest) -> Result<Bytes, PackageError> {
        let read =
            files::within(folder, Path::new(&manifest.file)).and_then(|file| files::read(&file, GRAPH_BYTES_MAX));
        let graph = read.map_err(|error| PackageError::Read {
            path: folder.join(&manifest.file),
            error,
        })?;
        Ok(graph.into())
    }

    /// The files of a folder whose `model.toml` is `manifest`, external data and calibration apart.
    pub fn files(folder: &Path, manifest: &Manifest) -> Vec<PathBuf> {
        let named = [MANIFEST_FILE, &manifest.file];
        let names = named.into_iter().chain(manifest.labels.as_deref());
        names.map(|name| folder.join(name)).collect()
    }

    /// Reads an ONNX file, wherever it lies.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn onnx_file(path: &Path) -> Result<Bytes, PackageError> {
        let graph = files::read(path, GRAPH_BYTES_MAX).map_err(|error| PackageError::Read {
            path: path.to_owned(),
            error,
        })?;
        Ok(graph.into())
    }

    /// The train-time graph.
    pub fn source(&self) -> Source {
        let folder = self.folder.clone();
        Source {
            onnx: self.graph.clone(),
            file: self.file(),
            options: Options {
                output: self.manifest.output.name.clone(),
                further: self.manifest.output.embeddings.clone(),
                external: folder.map_or(ExternalData::None, ExternalData::Folder),
                ..Options::default()
            },
            labels: self.labels.as_ref().map(Vec::len),
            scratch: None,
        }
    }

    /// Height and width of the images that the model takes, in pixels.
    pub fn image_size(&self) -> [usize; 2] {
        self.manifest.input.size.map(|side| side as usize)
    }

    /// The ONNX file; `None` for a model that is in no folder.
    pub fn file(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(&self.manifest.file))
    }

    /// The text of the model's `calibration.json`; `None` where it has none.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn calibration(&self) -> Result<Option<String>, PackageError> {
        let Some(folder) = &self.folder else {
            return Ok(self.calibration.clone());
        };
        match read_text(folder, CALIBRATION_FILE, CALIBRATION_BYTES_MAX) {
            Ok(text) => Ok(Some(text)),
            Err(PackageError::Read { error, .. }) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Why `folder` has no `model.toml`.
fn no_manifest(folder: &Path) -> PackageError {
    let here = folder.as_os_str().is_empty();
    let entries = match std::fs::read_dir(if here { Path::new(".") } else { folder }) {
        Ok(entries) => entries,
        Err(error) => {
            let (path, error) = (folder.to_owned(), FileError::from(error));
            return if error.is_missing() {
                PackageError::Missing { path }
            } else {
                PackageError::Read { path, error }
            };
        }
    };
    let is_onnx = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "onnx");
    let first = entries.flatten().map(|entry| entry.path()).filter(is_onnx).min();
    let remedy = match first {
        Some(file) => format!(
            "`repserve init {file}` writes one, or give {file} itself to serve it with defaults",
            file = file.display()
        ),
        None => "give a folder that `repserve init` has prepared, or an ONNX file".to_owned(),
    };
    PackageError::NoManifest {
        folder: folder.to_owned(),
        remedy,
    }
}

/// The folder as a message names it.
fn shown(folder: &Path) -> std::path::Display<'_> {
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
    .display()
}

fn parse_manifest(text: &str, path: &Path) -> Result<Manifest, PackageError> {
    Manifest::parse(text).map_err(|error| PackageError::Manifest {
        path: path.to_owned(),
        error,
    })
}

fn parse_labels(text: &str, path: &Path) -> Result<Vec<String>, PackageError> {
    let fault = |line, what| PackageError::Labels {
        path: path.to_owned(),
        line,
        what,
    };
    let text = text.trim_start_matches('\u{feff}');
    let labels: Vec<String> = text.trim_end().lines().map(|line| line.trim().to_owned()).collect();
    if labels.iter().all(String::is_empty) {
        return Err(fault(1, "there are no labels"));
    }
    match labels.iter().position(String::is_empty) {
        Some(i) => Err(fault(i + 1, "an empty label")),
        None => Ok(labels),
    }
}

/// Reads the part `name` of a folder.
fn read_text(folder: &Path, name: &str, bytes_max: u64) -> Result<String, PackageError> {
    let read = files::within(folder, Path::new(name)).and_then(|file| files::read_text(&file, bytes_max));
    read.map_err(|error| PackageError::Read {
        path: folder.join(name),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens a copy of the default model's folder in which `file` holds `text`, or is missing.
    #[track_caller]
    fn check(file: &str, text: Option<&str>, message: &str) {
        let dir = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/repvgg-cifar10");
        for name in ["model.toml", "labels.txt", "model.onnx"]
            .iter()
            .filter(|n| **n != file)
        {
            std::fs::copy(from.join(name), dir.path().join(name)).unwrap();
        }
        if let Some(text) = text {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let error = Package::open(dir.path()).unwrap_err().to_string();
        assert_eq!(error.replace(&format!("{}/", dir.path().display()), ""), message);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        check(
            "labels.txt",
            None,
            "cannot read labels.txt: No such file or directory (os error 2)",
        );
        check(
            "model.onnx",
            None,
            "cannot read model.onnx: No such file or directory (os error 2)",
        );
        check("labels.txt", Some("\n\n"), "labels.txt:1: there are no labels");
        check("labels.txt", Some("cat\n\ndog\n"), "labels.txt:2: an empty label");
        check(
            "model.toml",
            Some("name = 3"),
            "model.toml: line 1: `name` wants a string, found 3",
        );
    }

    #[test]
    fn a_folder_without_a_manifest_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let check = |folder: &Path, message: &str| {
            let error = Package::open(folder).unwrap_err().to_string();
            assert_eq!(error.replace(&dir.path().display().to_string(), "DIR"), message);
        };
        check(
            &dir.path().join("none"),
            "DIR/none does not exist; give a model's folder, or an ONNX file",
        );
        check(
            dir.path(),
            "DIR holds no model.toml; give a folder that `repserve init` has prepared, or an ONNX file",
        );
        std::fs::write(dir.path().join("net.onnx"), "").unwrap();
        check(
            dir.path(),
            "DIR holds no model.toml; `repserve init DIR/net.onnx` writes one, or give DIR/net.onnx itself to serve it with defaults",
        );
    }
}
