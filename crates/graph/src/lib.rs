//! The intermediate representation: what a model computes, without protobuf and without a runtime.
//!
//! A [`Model`] owns one [`Graph`]: nodes that produce values, values that carry constants. Values and nodes are
//! named by index ([`ValueId`], [`NodeId`]) and never move; an edit is a value of its own ([`Patch`]). What makes a
//! graph valid stands in the header of [`verify`]. Reading and writing bytes is `crate::onnx`'s work.

mod attribute;
mod body;
mod dump;
mod node;
pub mod onnx;
mod order;
mod patch;
mod ports;
pub mod shapes;
mod sweep;
mod tensor;
#[cfg(test)]
mod tests;
mod uses;
pub mod verify;

pub use attribute::{Attribute, AttributeValue};
pub use body::{Graph, NodeMut};
pub use node::Node;
pub use patch::Patch;
pub use ports::Ports;
pub use sweep::Swept;
pub use tensor::{DType, Tensor, TensorError};

use bytes::Bytes;

/// A value of a [`Graph`]: a graph input, a constant or the output of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u32);

/// A node of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// One dimension of a value's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A fixed extent.
    Fixed(usize),
    /// A named, dynamic extent (`batch`), or an unnamed one (empty).
    Symbol(String),
}

/// What is known of a value: its name in the file and, where the file says, its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Unique within the graph; subgraphs refer to outer values by it, so it never changes.
    pub name: String,
    /// Element type, where known.
    pub dtype: Option<DType>,
    /// Shape, where known.
    pub shape: Option<Vec<Dim>>,
    /// The encoded `ValueInfoProto` (without its name) this came from, where it says more than the IR models:
    /// sequences, optionals, denotations, metadata.
    pub opaque: Option<Bytes>,
}

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

impl Value {
    /// A value of which only the name is known.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            dtype: None,
            shape: None,
            opaque: None,
        }
    }
}
