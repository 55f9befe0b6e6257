//! Why a model is not loaded.

use std::path::PathBuf;

use super::golden::GoldenError;
use super::scan::ScanError;
use crate::telemetry::Swap;
use repserve_compile::{CompileError, PackageError};

/// How often a version is loaded whose files change while they are read.
pub(super) const ATTEMPTS: usize = 3;

/// Why a model is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It, or its version, cannot be found.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// One of its files is wrong.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// It cannot be served as it is.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Its ONNX file is no model that can be fused.
    #[error("{}: {error}", path.display())]
    Graph {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: repserve_reparam::Error,
    },
    /// It does not give its golden answers.
    #[error(transparent)]
    Golden(#[from] GoldenError),
    /// Its files change all the time.
    #[error("the files change while they are read ({attempts} attempts)", attempts = ATTEMPTS)]
    Changing,
    /// The server has a bug that the model led to.
    #[error("loading it panicked; this is a bug in the server, and the log has the place")]
    Panicked,
    /// Something about this process.
    #[error("{0}")]
    Process(String),
}

/// Why a load did not lead to a model that is served.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refused {
    /// There is no such model.
    #[error("{0}")]
    NoModel(String),
    /// It cannot be loaded; what was served before goes on.
    #[error("{0}")]
    Failed(String),
    /// It was unloaded meanwhile.
    #[error("the model was unloaded while it was loaded")]
    Unloaded,
    /// The server ends.
    #[error("the server is going down")]
    Ending,
}

impl LoadError {
    /// What a load that ends so counts as.
    pub(super) fn counts_as(&self) -> Swap {
        match self {
            Self::Compile(error) => refused_by(error),
            Self::Golden(_) => Swap::Golden,
            _ => Swap::Other,
        }
    }
}

/// Which check a model did not pass.
fn refused_by(error: &CompileError) -> Swap {
    match error {
        CompileError::Int8(error) => refused_by(error),
        CompileError::Mismatch(_) => Swap::Verification,
        CompileError::Gate { .. } | CompileError::GateImage { .. } => Swap::Gate,
        _ => Swap::Other,
    }
}
