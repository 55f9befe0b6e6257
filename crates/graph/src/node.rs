//! One operator application.

use bytes::Bytes;

use crate::attribute::{Attribute, AttributeValue};
use crate::value::ValueId;

/// One operator application.
#[derive(Debug, Clone, Default, PartialEq)]
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

impl Node {
    /// A node of ONNX's own domain with all inputs and outputs present and no attributes.
    pub fn new(op: impl Into<String>, inputs: Vec<ValueId>, outputs: Vec<ValueId>) -> Self {
        Self {
            op: op.into(),
            inputs: inputs.into_iter().map(Some).collect(),
            outputs: outputs.into_iter().map(Some).collect(),
            ..Self::default()
        }
    }

    /// The same node with one more attribute.
    pub fn with(mut self, name: impl Into<String>, value: AttributeValue) -> Self {
        self.attributes.push(Attribute::new(name, value));
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

    /// Every value that the node produces.
    pub fn produces(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.outputs.iter().flatten().copied()
    }
}
