//! Linear regions of a graph: all nodes between one source and one result, every one a linear map.
//!
//! [`grow`] walks back from a result, [`linear`] knows which operators are linear maps, [`lower`] turns a region into a
//! [`Program`](crate::algebra::Program) ([`maps`] a node of it), [`emit`] writes the convolution that it is.

pub(crate) mod branches;
mod channels;
pub(crate) mod constants;
pub(crate) mod emit;
pub(crate) mod grow;
pub(crate) mod linear;
pub(crate) mod lower;
mod maps;
pub(crate) mod target;

use crate::reason::Reason;
use repserve_graph::ops::{GraphView, OperatorError};
use repserve_graph::shapes::Shapes;
use repserve_graph::{Graph, Node, NodeId, ValueId};

/// What a look at a graph needs besides the graph.
pub(crate) struct Context<'a> {
    /// The graph.
    pub(crate) graph: &'a Graph,
    /// Version of ONNX's operator set.
    pub(crate) opset: i64,
    /// Shapes, where known.
    pub(crate) shapes: &'a Shapes,
    /// Place of every node in the graph's order, by node number.
    pub(crate) positions: &'a [u32],
}

/// A single-source, single-result piece of a graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region<'a> {
    /// What it reads besides constants.
    pub(crate) source: ValueId,
    /// Its nodes, from the result backwards.
    pub(crate) nodes: &'a [NodeId],
    /// Where the result is not a node's: the values that are summed to make it, with factors.
    pub(crate) terms: &'a [(ValueId, f64)],
}

/// The place of every node in the graph's order, by node number.
pub(crate) fn positions(graph: &Graph) -> Vec<u32> {
    let mut positions = Vec::new();
    for (place, (id, _)) in graph.nodes().enumerate() {
        let index = id.0 as usize;
        positions.resize(positions.len().max(index + 1), 0);
        positions[index] = place as u32;
    }
    positions
}

impl<'a> Context<'a> {
    /// The graph as the decoders of operators read it.
    pub(crate) fn view(&self) -> GraphView<'a> {
        GraphView {
            graph: self.graph,
            shapes: self.shapes,
            opset: self.opset,
        }
    }

    /// The place of a value: after the node that makes it; 0 for inputs.
    pub(crate) fn position(&self, value: ValueId) -> u32 {
        self.graph
            .producer(value)
            .and_then(|node| self.positions.get(node.0 as usize))
            .map_or(0, |p| p + 1)
    }

    /// How the report calls a node: its name, or its operator and first output.
    pub(crate) fn label(&self, node: NodeId) -> String {
        let Some(node) = self.graph.node(node) else {
            return String::new();
        };
        if !node.name.is_empty() {
            return node.name.clone();
        }
        let output = node.output(0).map_or("", |v| self.graph.value(v).name.as_str());
        format!("{}({output})", node.op)
    }
}

/// What a decoder found, which must be of the node's operator; as a reason what is odd about it.
fn decoded<T>(node: &Node, found: Result<Option<T>, OperatorError>) -> Result<T, Reason> {
    match found {
        Ok(Some(operator)) => Ok(operator),
        Err(OperatorError::AutoPad) => Err(Reason::AutoPad),
        Ok(None) | Err(_) => Err(Reason::NotUnderstood(node.op.clone())),
    }
}
