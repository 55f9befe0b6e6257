//! What was lowered and why, for logs and the model's report.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::settings::KernelMode;

/// What became of the convolutions of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KernelReport {
    /// What was requested.
    pub mode: KernelMode,
    /// The instruction set of the kernels.
    pub instruction_set: Cow<'static, str>,
    /// How many of `layers` the kernels compute.
    pub lowered: usize,
    /// Least milliseconds of one image in ONNX Runtime alone, one thread, where it was measured.
    pub ms_onnxruntime: Option<f64>,
    /// The same with every layer lowered.
    pub ms_lowered: Option<f64>,
    /// Largest difference of the lowered sessions' outputs on the probes, relative to the largest output, where it was checked.
    pub relative_error: Option<f64>,
    /// Bytes of prepared weights, shared by all sessions.
    pub weight_bytes: usize,
    /// Seconds that preparing and measuring took.
    pub seconds: f64,
    /// Why nothing was lowered, where nothing was.
    pub reason: Option<String>,
    /// A line for each convolution that the kernels could compute, in the graph's order.
    pub layers: Vec<LayerReport>,
}

/// One convolution and the choice for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// The value that the layer produces.
    pub name: String,
    /// For example `192 -> 192, 3x3, stride 1, to 14x14`.
    pub shape: String,
    /// `onnxruntime`, or the kernels' algorithm.
    pub choice: String,
    /// The kernels' algorithm for it, chosen or not.
    pub algorithm: String,
    /// Least milliseconds in ONNX Runtime, where it was measured.
    pub ms_onnxruntime: Option<f64>,
    /// Least milliseconds in the kernels, where it was measured.
    pub ms_kernels: Option<f64>,
}

impl LayerReport {
    /// The choice of a layer that is not lowered.
    pub const LEFT: &'static str = "onnxruntime";
}
