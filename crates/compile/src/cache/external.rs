//! The files beside an ONNX file in which its tensors keep their data.

use std::fs;
use std::path::{Path, PathBuf};

use repserve_cache::Digest;
use repserve_files as files;
use repserve_graph::onnx::{self, ExternalData};
use serde::{Deserialize, Serialize};

use super::super::error::CompileError;
use super::super::package::Package;
use super::Unusable;

/// The files, by their names within the model's folder, and what they held.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Files(Vec<(PathBuf, Digest)>);

impl Files {
    /// Those of a package.
    ///
    /// # Errors
    /// A file that is no model.
    pub(super) fn of(package: &Package) -> Result<Self, CompileError> {
        let Some(folder) = &package.folder else {
            return Ok(Self::default());
        };
        let external = ExternalData::Folder(folder.clone());
        let found = onnx::external_files(package.graph.clone(), &external).map_err(repserve_reparam::Error::from)?;
        // One that cannot be read is an error of the graph, which names the tensor.
        let whole = fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
        let digests = found.into_iter().filter_map(|path| {
            let digest = digest(folder, &path).ok()?;
            // An entry holds for a copy of the folder too.
            let within = path.strip_prefix(&whole).or_else(|_| path.strip_prefix(folder));
            Some((within.unwrap_or(&path).to_owned(), digest))
        });
        Ok(Self(digests.collect()))
    }

    /// Whether they hold what they held.
    ///
    /// # Errors
    /// Names the first that does not.
    pub(super) fn check(&self, package: &Package) -> Result<(), Unusable> {
        for (path, held) in &self.0 {
            let folder = package.folder.as_deref().unwrap_or(Path::new("."));
            let reason = match digest(folder, path) {
                Ok(digest) if digest == *held => continue,
                Ok(_) => "it holds other data than when the entry was made".to_owned(),
                Err(error) => error.to_string(),
            };
            return Err(Unusable::External {
                path: path.clone(),
                reason,
            });
        }
        Ok(())
    }
}

fn digest(folder: &Path, path: &Path) -> Result<Digest, files::FileError> {
    Ok(Digest::of_reader(files::open(&folder.join(path))?)?)
}
