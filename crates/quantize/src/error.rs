//! What can go wrong when calibrating and quantizing.

use repserve_graph::TensorError;
use repserve_graph::onnx::OnnxError;
use repserve_graph::verify::VerifyError;

/// Why a graph cannot be calibrated or quantized.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A calibration file that cannot be used.
    #[error("calibration.json: {0}")]
    Calibration(String),
    /// The calibration was made for another file.
    #[error(
        "calibration.json was made for another model (SHA-256 {made_for:.12}…, and this one has {found:.12}…); run `repserve calibrate` again"
    )]
    OtherModel {
        /// Hash of the model that it was made for.
        made_for: String,
        /// Hash of the model at hand.
        found: String,
    },
    /// The calibration's layers are not the graph's.
    #[error("calibration.json does not fit the model at layer {0:?}; run `repserve calibrate` again")]
    Foreign(String),
    /// A value that is to be quantized has no range.
    #[error("calibration.json has no range for {0:?}; run `repserve calibrate` again")]
    NoRange(String),
    /// A model that is too old.
    #[error("the model imports ONNX operator set {found}; int8 needs {wanted} or later: export it again")]
    Opset {
        /// Its operator set.
        found: i64,
        /// The first that works.
        wanted: i64,
    },
    /// No layer that could be quantized.
    #[error("the deploy graph holds no convolution and no linear layer whose weights are f32 constants")]
    NothingToDo,
    /// Too few images.
    #[error("{found} usable images; calibrating needs at least {wanted}, a few hundred are better")]
    TooFewImages {
        /// How many there are.
        found: usize,
        /// How many it takes.
        wanted: usize,
    },
    /// The runtime failed on a graph.
    #[error("running the graph: {0}")]
    Run(String),
    /// A file that cannot be read as a model, or written.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// A constant that cannot be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The rewriting made an invalid graph: a defect of this program, please report it.
    #[error("the int8 graph is invalid (please report this): {0}")]
    Broken(VerifyError),
}
