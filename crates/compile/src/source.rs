//! A train-time graph as it was found.

use std::path::PathBuf;

use bytes::Bytes;

use super::error::CompileError;
use super::package::Package;
use repserve_graph::{Model, onnx};
use repserve_reparam::Options;

/// A train-time graph as it was found.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The bytes of the ONNX file; empty where they are read from `file` when they are needed again.
    pub onnx: Bytes,
    /// The file, where there is one; its external data lies beside it.
    pub file: Option<PathBuf>,
    /// The output to keep, and where external data may be read.
    pub options: Options,
    /// How many classes there are labels for, where there are labels.
    pub labels: Option<usize>,
    /// The folder on whose disk a large deploy graph is kept; the system's for temporary files if not given.
    pub scratch: Option<PathBuf>,
}

impl Source {
    /// The bytes of the ONNX file.
    ///
    /// # Errors
    /// They were let go of and the file cannot be read.
    pub fn bytes(&self) -> Result<Bytes, CompileError> {
        match &self.file {
            Some(file) if self.onnx.is_empty() => Ok(Package::onnx_file(file)?),
            _ => Ok(self.onnx.clone()),
        }
    }

    /// The graph.
    ///
    /// # Errors
    /// As [`Self::bytes`]; a file that is not a valid ONNX model.
    pub fn model(&self) -> Result<Model, CompileError> {
        let model = onnx::read(self.bytes()?, &self.options.external);
        Ok(model.map_err(repserve_reparam::Error::from)?)
    }
}
