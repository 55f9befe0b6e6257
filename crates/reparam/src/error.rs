//! What can go wrong.

use repserve_graph::onnx::OnnxError;
use repserve_graph::verify::VerifyError;

/// Why a model could not be re-parameterized.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not a model that can be read, or the result could not be written.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The output to keep does not exist.
    #[error("the model has no output {name:?}; its outputs are: {known}")]
    NoSuchOutput {
        /// The name that was requested.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A pass made an invalid graph: a defect of this program, please report it.
    #[error("the pass {pass} made an invalid graph (please report this): {source}")]
    Broken {
        /// The pass.
        pass: &'static str,
        /// What is invalid.
        source: VerifyError,
    },
}
