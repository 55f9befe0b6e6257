//! A model file: its graph and what the file says besides.

use bytes::Bytes;

use crate::body::Graph;

/// A whole model file.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// The main graph.
    pub graph: Graph,
    /// ONNX IR version of the file.
    pub ir_version: i64,
    /// Imported operator sets: (domain, version).
    pub opsets: Vec<(String, i64)>,
    /// Name of the tool that wrote the file.
    pub producer_name: String,
    /// Version of the tool that wrote the file.
    pub producer_version: String,
    /// Free-form key/value pairs.
    pub metadata: Vec<(String, String)>,
    /// Encoded `FunctionProto`s, kept as they are.
    pub functions: Vec<Bytes>,
    /// Fields of the `ModelProto` that the IR does not model, encoded, kept as they are.
    pub opaque: Bytes,
}

impl Model {
    /// Version of ONNX's own operator set that the model imports; 0 where it imports none.
    pub fn opset(&self) -> i64 {
        self.opsets
            .iter()
            .find(|(domain, _)| domain.is_empty() || domain == "ai.onnx")
            .map_or(0, |(_, v)| *v)
    }
}
