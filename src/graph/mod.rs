//! The intermediate representation: what a model computes, without protobuf and without a runtime.
//!
//! A [`Model`] owns one [`Graph`]: nodes that produce values, values that carry constants. Values and nodes are
//! named by index ([`ValueId`], [`NodeId`]) and never move; an edit is a value of its own ([`Patch`]). What makes a
//! graph valid stands in the header of [`verify`]. Reading and writing bytes is `crate::onnx`'s work.

mod attribute;
mod patch;
mod tensor;
pub mod verify;

pub use attribute::{Attribute, AttributeValue};
pub use patch::Patch;
pub use tensor::{DType, Tensor, TensorError};

use std::collections::HashMap;

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
    /// The encoded `ValueInfoProto` this came from, for types that the IR does not model (sequences, optionals).
    pub opaque: Option<Bytes>,
}

/// One operator application.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The node's name in the file; may be empty and need not be unique.
    pub name: String,
    /// Operator domain; empty for ONNX's own.
    pub domain: String,
    /// Operator, for example `Conv`.
    pub op: String,
    /// Inputs in order; `None` is an omitted optional input.
    pub inputs: Vec<Option<ValueId>>,
    /// Outputs in order; `None` is an omitted optional output.
    pub outputs: Vec<Option<ValueId>>,
    /// Attributes in file order.
    pub attributes: Vec<Attribute>,
    /// Values of this graph that the node's subgraphs read by name. They count as uses.
    pub captures: Vec<ValueId>,
    /// Fields of the `NodeProto` that the IR does not model (overload, metadata, doc string), encoded, kept as they are.
    pub opaque: Bytes,
}

/// Nodes, values, constants. Nodes are kept in an order in which every value is produced before it is used.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// The graph's name in the file.
    pub name: String,
    values: Vec<Value>,
    nodes: Vec<Option<Node>>,
    order: Vec<NodeId>,
    constants: HashMap<ValueId, Tensor>,
    names: HashMap<String, ValueId>,
    /// Graph inputs, in order. An input that also has a constant is an initializer listed as an input (IR < 4).
    pub inputs: Vec<ValueId>,
    /// Graph outputs, in order.
    pub outputs: Vec<ValueId>,
    /// Fields of the `GraphProto` that the IR does not model, encoded, kept as they are.
    pub opaque: Bytes,
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

impl Node {
    /// A node of ONNX's own domain with all inputs and outputs present and no attributes.
    pub fn new(op: impl Into<String>, inputs: Vec<ValueId>, outputs: Vec<ValueId>) -> Self {
        Self {
            name: String::new(),
            domain: String::new(),
            op: op.into(),
            inputs: inputs.into_iter().map(Some).collect(),
            outputs: outputs.into_iter().map(Some).collect(),
            attributes: Vec::new(),
            captures: Vec::new(),
            opaque: Bytes::new(),
        }
    }

    /// The same node with one more attribute.
    pub fn with(mut self, name: impl Into<String>, value: AttributeValue) -> Self {
        self.attributes.push(Attribute {
            name: name.into(),
            value,
        });
        self
    }

    /// Whether this is `op` of ONNX's own operator set.
    pub fn is(&self, op: &str) -> bool {
        self.op == op && (self.domain.is_empty() || self.domain == "ai.onnx")
    }

    /// Input `index`, where present.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// Output `index`, where present.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }

    /// The attribute `name`, where present.
    pub fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        self.attributes.iter().find(|a| a.name == name).map(|a| &a.value)
    }

    /// Every value that the node reads: its inputs and what its subgraphs capture.
    pub fn reads(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.inputs
            .iter()
            .flatten()
            .copied()
            .chain(self.captures.iter().copied())
    }
}

impl Graph {
    /// Adds a value; a name that is taken gets a suffix.
    pub fn add_value(&mut self, mut value: Value) -> ValueId {
        if value.name.is_empty() || self.names.contains_key(&value.name) {
            value.name = self.fresh_name(&value.name);
        }
        let id = ValueId(self.values.len() as u32);
        self.names.insert(value.name.clone(), id);
        self.values.push(value);
        id
    }

    /// Adds a constant under `name` (suffixed where taken).
    pub fn add_constant(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        let shape = tensor.shape().iter().map(|d| Dim::Fixed(*d)).collect();
        let id = self.add_value(Value {
            name: name.into(),
            dtype: Some(tensor.dtype()),
            shape: Some(shape),
            opaque: None,
        });
        self.constants.insert(id, tensor);
        id
    }

    /// Gives an existing value a constant.
    pub fn set_constant(&mut self, id: ValueId, tensor: Tensor) {
        self.constants.insert(id, tensor);
    }

    /// Takes a value's constant away (its memory is freed with it).
    pub fn take_constant(&mut self, id: ValueId) -> Option<Tensor> {
        self.constants.remove(&id)
    }

    /// Appends a node after all others.
    pub fn push_node(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Some(node));
        self.order.push(id);
        id
    }

    /// The node, unless it was removed.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize).and_then(Option::as_ref)
    }

    /// The node, for changing it in place.
    pub fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0 as usize).and_then(Option::as_mut)
    }

    /// What is known of a value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// What is known of a value, for changing it in place. The name must stay.
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.0 as usize]
    }

    /// The value called `name`.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    /// The value's constant, where it has one.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.constants.get(&id)
    }

    /// All constants, in order of their values.
    pub fn constants(&self) -> impl Iterator<Item = (ValueId, &Tensor)> {
        let mut ids: Vec<_> = self.constants.keys().copied().collect();
        ids.sort_unstable();
        ids.into_iter()
            .filter_map(|id| self.constants.get(&id).map(|t| (id, t)))
    }

    /// Live nodes in topological order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> {
        self.order.iter().filter_map(|id| self.node(*id).map(|n| (*id, n)))
    }

    /// How many values the graph has ever had; every [`ValueId`] is below it.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    fn fresh_name(&self, stem: &str) -> String {
        let stem = if stem.is_empty() { "value" } else { stem };
        (1..)
            .map(|i| format!("{stem}_{i}"))
            .find(|n| !self.names.contains_key(n))
            .unwrap_or_default()
    }
}
