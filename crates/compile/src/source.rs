//! A train-time graph as it was found.

use std::path::PathBuf;

use bytes::Bytes;

use repserve_reparam::Options;

/// A train-time graph as it was found.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The bytes of the ONNX file.
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
