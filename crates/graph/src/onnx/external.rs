//! Tensors whose bytes lie in files beside the model.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::error::OnnxError;

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
    files: HashMap<String, Bytes>,
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
        let file = &self.files[&at.path];
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

    fn open(&self, location: &str) -> Result<Bytes, String> {
        let ExternalData::Folder(folder) = self.from else {
            return Err("external data can only be read for a model that lies in a folder".to_owned());
        };
        let path = inside(folder, location)?;
        let explain = |e: std::io::Error| format!("cannot read {}: {e}", path.display());
        if !fs::metadata(&path).map_err(explain)?.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        fs::read(&path).map(Bytes::from).map_err(explain)
    }
}

/// The file that `location` names below `folder`, or why it must not be read.
fn inside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    const LEAVES: &str = "it leaves the model's folder; external data must lie beside the model or below it";
    let relative = Path::new(location);
    if location.is_empty() || location.contains('\0') {
        return Err("it is not a file name".to_owned());
    }
    let stays = relative
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !stays || location.contains('\\') {
        return Err(LEAVES.to_owned());
    }
    let explain = |e: std::io::Error| format!("cannot find it in {}: {e}", folder.display());
    let folder_real = fs::canonicalize(folder).map_err(explain)?;
    let file_real = fs::canonicalize(folder.join(relative)).map_err(explain)?;
    if !file_real.starts_with(&folder_real) {
        return Err(LEAVES.to_owned());
    }
    Ok(file_real)
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
