//! Why a model cannot be compiled.

use super::package::PackageError;
use super::scores::KindError;
use repserve_preprocess::{ImageError, SpecError};
use repserve_reparam::equivalence::EquivalenceError;
use repserve_runtime::RuntimeError;
use repserve_scheduler::SessionError;

/// Why a model cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// Its input cannot be prepared.
    #[error(transparent)]
    Input(#[from] SpecError),
    /// It cannot be fused.
    #[error(transparent)]
    Fuse(#[from] repserve_reparam::Error),
    /// ONNX Runtime does not load or run what was made of it.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// ONNX Runtime does not load the train-time graph.
    #[error("the train-time graph: {0}")]
    TrainTime(RuntimeError),
    /// Two graphs could not be compared.
    #[error(transparent)]
    Compare(#[from] EquivalenceError<RuntimeError>),
    /// What was made of it computes something else.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// It cannot be calibrated or quantized.
    #[error(transparent)]
    Quantize(#[from] repserve_quantize::Error),
    /// int8 was requested and cannot be had.
    #[error("int8: {0}")]
    Int8(Box<CompileError>),
    /// int8 was requested and there is no calibration.
    #[error("the model has no calibration.json; `repserve calibrate --model DIR --images DIR` writes it")]
    NoCalibration,
    /// An image of the calibration's gate cannot be read.
    #[error("calibration.json: image {number} of `gate`: {error}")]
    GateImage {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        error: ImageError,
    },
    /// The int8 graph may not be served.
    #[error(
        "the int8 graph differs too much from the fp32 graph: {reason}; calibrate again on more images, serve fp32, or see [quantize] in the settings"
    )]
    Gate {
        /// What was found, and what follows.
        reason: String,
    },
    /// A calibration image cannot be written for the gate.
    #[error("an image of the gate: {0}")]
    Picture(ImageError),
    /// The graph takes no images.
    #[error("the graph takes images of {channels} channels; only 3 (R, G, B) and 1 (gray) can be served")]
    Channels {
        /// What it takes.
        channels: usize,
    },
    /// Only colour images calibrate.
    #[error("only a graph that takes images of 3 channels (R, G, B) can be calibrated")]
    CalibrationChannels,
    /// Graph and `model.toml` disagree on the size of an image.
    #[error("the graph takes images of {graph} pixels (height x width) and model.toml gives {manifest}")]
    Size {
        /// What the graph takes.
        graph: String,
        /// What `model.toml` says.
        manifest: String,
    },
    /// Graph and labels disagree on the classes.
    #[error(
        "{file} holds {} and the model returns {} for an image; {remedy}",
        counted(*labels, "label", "labels"), counted(*classes, "class", "classes")
    )]
    Labels {
        /// Where the labels come from.
        file: String,
        /// What to do.
        remedy: &'static str,
        /// Values that the graph returns for an image.
        classes: usize,
        /// Lines of the file of labels.
        labels: usize,
    },
    /// An inner value that `model.toml` names cannot be returned.
    #[error(
        "output.embeddings: {name:?} cannot be returned: {reason}{}",
        if possible.is_empty() { String::new() } else { format!("; possible are, from the end, {possible}") }
    )]
    Embedding {
        /// Its name.
        name: String,
        /// Why not.
        reason: String,
        /// Values that can be.
        possible: String,
    },
    /// An inner value is another in what is served.
    #[error(
        "output.embeddings: {name:?} is not what the train-time graph makes of each image alone: {numbers}; leave it out"
    )]
    EmbeddingDiffers {
        /// Its name.
        name: String,
        /// By how much.
        numbers: String,
    },
    /// The graph was exported for training.
    #[error(
        "{operator} (which makes {output:?}) is in training mode, so that a result depends on the other images of its batch or on chance; export the model for inference (`model.eval()` in PyTorch, `training=False` in Keras)"
    )]
    TrainingMode {
        /// The operator.
        operator: String,
        /// The value that it makes.
        output: String,
    },
    /// The graph draws random numbers.
    #[error(
        "{operator} (which makes {output:?}) draws random numbers, so that an image would get another result each time; export the model for inference (`model.eval()` in PyTorch, `training=False` in Keras)"
    )]
    Random {
        /// The operator.
        operator: String,
        /// The value that it makes.
        output: String,
    },
    /// The train-time graph does not return numbers.
    #[error(
        "the train-time graph returns NaN or infinity for {failed} of {images} random images; its weights, its types or `input.mean` and `input.std` are wrong"
    )]
    NotFinite {
        /// Images for which it does.
        failed: usize,
        /// Images that it was run on.
        images: usize,
    },
    /// `output.kind` is not what the graph returns.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// What was found out cannot be written down.
    #[error("the start-up cache: {0}")]
    Record(serde_json::Error),
    /// The plan has no session.
    #[error("the plan has no session")]
    NoSession,
    /// A session does not run.
    #[error("the warm-up: {0}")]
    WarmUp(#[from] SessionError),
}

/// A number with its noun.
fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What would be served is another function than it should be.
#[derive(Debug, thiserror::Error)]
#[error("{what} does not compute what {reference} does: {numbers}")]
pub struct Mismatch {
    pub(super) what: &'static str,
    pub(super) reference: &'static str,
    pub(super) numbers: String,
}
