//! What was lowered and why, for logs and the model's report.

use serde::Serialize;

/// What became of the convolutions of a model.
#[derive(Debug, Clone, Default, Serialize)]
pub struct WinogradReport {
    /// The instruction set of the kernels.
    pub instruction_set: &'static str,
    /// A line for each convolution that the kernels could compute, in the graph's order.
    pub layers: Vec<ChosenLayer>,
    /// Milliseconds of one image in ONNX Runtime alone, where it was measured.
    pub ms_plain: Option<f64>,
    /// Milliseconds of one image with the chosen layers lowered, where it was measured.
    pub ms_lowered: Option<f64>,
    /// Largest difference of the lowered sessions' outputs, relative to the largest output, where it was checked.
    pub relative_error: Option<f64>,
    /// Bytes of prepared weights, shared by all sessions.
    pub weight_bytes: usize,
    /// Seconds that preparing and measuring took.
    pub seconds: f64,
    /// Why nothing was lowered, where nothing was.
    pub reason: Option<String>,
}

/// One convolution and the choice for it.
#[derive(Debug, Clone, Serialize)]
pub struct ChosenLayer {
    /// The value that the layer produces.
    pub name: String,
    /// For example `192 -> 192, 3x3, stride 1`.
    pub shape: String,
    /// `onnxruntime` or an algorithm of the kernels.
    pub choice: String,
    /// Milliseconds in ONNX Runtime, where it was measured.
    pub ms_onnxruntime: Option<f64>,
    /// Milliseconds by algorithm, where it was measured.
    pub ms_kernels: Vec<(String, f64)>,
}

impl WinogradReport {
    /// How many layers the kernels compute.
    pub fn lowered(&self) -> usize {
        self.layers.iter().filter(|l| l.choice != ChosenLayer::LEFT).count()
    }
}

impl ChosenLayer {
    /// The choice of a layer that is not lowered.
    pub const LEFT: &'static str = "onnxruntime";
}
