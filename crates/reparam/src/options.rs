//! What a caller may ask for besides fusing.

use repserve_graph::onnx::ExternalData;

/// What to do besides fusing.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The one output to keep; what only the others need is removed. All of them where `None`.
    pub output: Option<String>,
    /// Where weights that lie beside the file may be read from.
    pub external: ExternalData,
    /// Whether the graph is verified after every pass, and not only at the end: an error then names the pass.
    pub verify_passes: bool,
}
