//! Values of a graph: their numbers, names, types and shapes.

use bytes::Bytes;

use crate::tensor::DType;

/// A value of a [`Graph`](crate::Graph): a graph input, a constant or the output of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u32);

/// A node of a [`Graph`](crate::Graph).
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
    /// The encoded `ValueInfoProto` (without its name) this came from, where it holds more than the IR models:
    /// sequences, optionals, denotations, metadata.
    pub opaque: Option<Bytes>,
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
