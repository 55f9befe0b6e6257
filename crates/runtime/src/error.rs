//! What can go wrong with ONNX Runtime.

use std::path::PathBuf;

/// ONNX Runtime, or a model in it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The shared library is missing or too old.
    #[error("cannot load ONNX Runtime from {}: {reason}. Run `make onnxruntime`, which fetches it, or point --onnxruntime or ORT_DYLIB_PATH at libonnxruntime.so (1.24 or newer)", .library.display())]
    Library {
        /// What was tried.
        library: PathBuf,
        /// The loader's message.
        reason: String,
    },
    /// ONNX Runtime refused the model.
    #[error("ONNX Runtime cannot load the model: {0}")]
    Model(String),
    /// The model is not an image classifier as this server understands it.
    #[error("the model cannot be served: {0}")]
    Unsupported(String),
    /// A run failed.
    #[error("inference failed: {0}")]
    Run(String),
    /// Shared weights could not be written to or read from a temporary folder.
    #[error("cannot keep the optimized model in a temporary folder: {0}")]
    Scratch(#[from] std::io::Error),
}
