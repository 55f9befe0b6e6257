//! Tensors whose bytes lie in files beside the model.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::OnnxError;
use repserve_files as files;
use repserve_files::FileError;

/// Bytes of one file of external data at most.
const BYTES_MAX: u64 = 64 << 30;

/// Where external tensor data may be read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ExternalData {
    /// Nowhere: a model with external data is refused.
    #[default]
    None,
    /// This folder and what lies below it, usually the model's own.
    Folder(PathBuf),
}

/// A tensor's `external_data` entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Location {
    pub(super) path: String,
    pub(super) offset: Option<String>,
    pub(super) length: Option<String>,
}

/// The external files of one model, each read once and shared by its tensors.
#[derive(Debug)]
pub(super) struct Externals<'a> {
    from: &'a ExternalData,
    files: HashMap<String, (PathBuf, Bytes)>,
}

impl<'a> Externals<'a> {
    pub(super) fn new(from: &'a ExternalData) -> Self {
        Self {
            from,
            files: HashMap::new(),
        }
    }

    /// The bytes of tensor `tensor`, of which there should be `expected` where its type says so.
    pub(super) fn fetch(&mut self, tensor: &str, at: &Location, expected: Option<usize>) -> Result<Bytes, OnnxError> {
        let fail = |problem: String| OnnxError::External {
            tensor: tensor.to_owned(),
            location: at.path.clone(),
            problem,
        };
        if !self.files.contains_key(&at.path) {
            let file = self.open(&at.path).map_err(fail)?;
            self.files.insert(at.path.clone(), file);
        }
        let (_, file) = &self.files[&at.path];
        let offset = number(at.offset.as_deref()).map_err(fail)?.unwrap_or(0);
        let rest = file
            .len()
            .checked_sub(offset)
            .ok_or_else(|| fail(format!("offset {offset} lies beyond its {} bytes", file.len())))?;
        let length = number(at.length.as_deref()).map_err(fail)?.or(expected).unwrap_or(rest);
        if length > rest {
            return Err(fail(format!(
                "bytes {offset} to {offset}+{length} lie beyond its {} bytes",
                file.len()
            )));
        }
        Ok(file.slice(offset..offset + length))
    }

    /// The files that were read.
    pub(super) fn into_paths(self) -> Vec<PathBuf> {
        self.files.into_values().map(|(path, _)| path).collect()
    }

    fn open(&self, location: &str) -> Result<(PathBuf, Bytes), String> {
        let ExternalData::Folder(folder) = self.from else {
            return Err("external data can only be read for a model that lies in a folder".to_owned());
        };
        let path = inside(folder, location)?;
        let bytes = files::read(&path, BYTES_MAX).map_err(|error| match error {
            FileError::Io(error) => format!("cannot read {}: {error}", path.display()),
            other => other.to_string(),
        })?;
        Ok((path, bytes.into()))
    }
}

/// The file that `location` names below `folder`, or why it must not be read.
fn inside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    const LEAVES: &str = "it leaves the model's folder; external data must lie beside the model or below it";
    if location.is_empty() || location.contains('\0') {
        return Err("it is not a file name".to_owned());
    }
    if location.contains('\\') {
        return Err(LEAVES.to_owned());
    }
    files::within(folder, Path::new(location)).map_err(|error| match error {
        FileError::Outside => LEAVES.to_owned(),
        other => format!("cannot find it in {}: {other}", folder.display()),
    })
}

fn number(text: Option<&str>) -> Result<Option<usize>, String> {
    match text {
        None => Ok(None),
        Some(t) => t
            .parse()
            .map(Some)
            .map_err(|_| format!("{t:?} is not a number of bytes")),
    }
}
