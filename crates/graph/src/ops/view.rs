//! What a node's meaning depends on: the node, the operator set, constants and shapes.

use super::error::OperatorError;
use crate::attribute::AttributeValue;
use crate::body::Graph;
use crate::known::{Shapes, fixed};
use crate::model::Model;
use crate::node::Node;
use crate::tensor::Tensor;
use crate::value::ValueId;

/// Extents, strides, dilations and pads beyond this are not a network's.
pub(super) const EXTENT_MAX: i64 = 1 << 20;

/// A graph with what its nodes' meaning depends on.
#[derive(Debug, Clone, Copy)]
pub struct GraphView<'a> {
    /// The graph.
    pub graph: &'a Graph,
    /// Shapes, where known.
    pub shapes: &'a Shapes,
    /// Version of ONNX's own operator set.
    pub opset: i64,
}

/// A node as the decoders read it.
#[derive(Debug, Clone, Copy)]
pub struct NodeView<'a> {
    /// The node.
    pub node: &'a Node,
    /// Version of ONNX's own operator set.
    pub opset: i64,
    operands: Operands<'a>,
}

/// Where constants and shapes of the inputs come from.
#[derive(Debug, Clone, Copy)]
enum Operands<'a> {
    Graph(&'a Graph, &'a Shapes),
    Tensors(&'a [Option<&'a Tensor>]),
}

impl<'a> GraphView<'a> {
    /// A model's graph; `shapes` are those that [`Shapes::of_model`] infers, or none.
    pub fn of(model: &'a Model, shapes: &'a Shapes) -> Self {
        Self {
            graph: &model.graph,
            shapes,
            opset: model.opset(),
        }
    }

    /// One node of the graph.
    pub fn node(&self, node: &'a Node) -> NodeView<'a> {
        NodeView {
            node,
            opset: self.opset,
            operands: Operands::Graph(self.graph, self.shapes),
        }
    }
}

impl<'a> NodeView<'a> {
    /// A node whose inputs are these tensors, whatever the graph says.
    pub fn of_tensors(node: &'a Node, inputs: &'a [Option<&'a Tensor>], opset: i64) -> Self {
        Self {
            node,
            opset,
            operands: Operands::Tensors(inputs),
        }
    }

    /// Whether the node is `op` of ONNX's own operator set.
    pub(super) fn is(&self, op: &str) -> bool {
        self.node.is(op)
    }

    /// The constant that input `index` is, if it is one.
    pub fn constant(&self, index: usize) -> Option<&'a Tensor> {
        match self.operands {
            Operands::Graph(graph, _) => graph.constant(self.node.input(index)?),
            Operands::Tensors(inputs) => inputs.get(index).copied().flatten(),
        }
    }

    /// Extents of input `index` where its rank is known; `None` inside where one is dynamic.
    pub fn extents_of(&self, index: usize) -> Option<Vec<Option<usize>>> {
        if let Some(tensor) = self.constant(index) {
            return Some(tensor.shape().iter().copied().map(Some).collect());
        }
        match self.operands {
            Operands::Graph(_, shapes) => Some(shapes.of(self.node.input(index)?)?.iter().map(fixed).collect()),
            Operands::Tensors(_) => None,
        }
    }

    /// Rank of input `index`, where known.
    pub fn rank_of(&self, index: usize) -> Option<usize> {
        self.extents_of(index).map(|extents| extents.len())
    }

    /// Extents of input `index`, which must all be known; `what` names it in the error.
    pub(super) fn fixed_extents(&self, index: usize, what: &'static str) -> Result<Vec<usize>, OperatorError> {
        let extents = self.extents_of(index).and_then(|e| e.into_iter().collect());
        extents.ok_or(OperatorError::Shape(what))
    }

    /// Input `index`, which must be there.
    pub(super) fn value(&self, index: usize) -> Result<ValueId, OperatorError> {
        self.node.input(index).ok_or(OperatorError::MissingInput(index))
    }

    /// An attribute read by `read`, `default` where it is absent.
    fn attribute<T>(
        &self,
        name: &'static str,
        expected: &'static str,
        default: T,
        read: impl Fn(&'a AttributeValue) -> Option<T>,
    ) -> Result<T, OperatorError> {
        match self.node.attribute(name) {
            None => Ok(default),
            Some(value) => read(value).ok_or(OperatorError::Attribute { name, expected }),
        }
    }

    pub(super) fn int(&self, name: &'static str, default: i64) -> Result<i64, OperatorError> {
        self.attribute(name, "an integer", default, AttributeValue::as_int)
    }

    pub(super) fn optional_int(&self, name: &'static str) -> Result<Option<i64>, OperatorError> {
        self.attribute(name, "an integer", None, |value| value.as_int().map(Some))
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool, OperatorError> {
        self.int(name, 0).map(|value| value != 0)
    }

    pub(super) fn float(&self, name: &'static str, default: f32) -> Result<f32, OperatorError> {
        self.attribute(name, "a float", default, AttributeValue::as_float)
    }

    pub(super) fn optional_float(&self, name: &'static str) -> Result<Option<f32>, OperatorError> {
        self.attribute(name, "a float", None, |value| value.as_float().map(Some))
    }

    pub(super) fn string(&self, name: &'static str, default: &'static str) -> Result<&'a str, OperatorError> {
        self.attribute(name, "a string", default, AttributeValue::as_str)
    }

    pub(super) fn ints(&self, name: &'static str) -> Result<Option<&'a [i64]>, OperatorError> {
        self.attribute(name, "a list of integers", None, |value| value.as_ints().map(Some))
    }

    /// A list of `len` numbers from `min` up. An empty list stands for the default, as in ONNX Runtime.
    pub(super) fn extents(
        &self,
        name: &'static str,
        len: usize,
        min: i64,
        default: usize,
    ) -> Result<Vec<usize>, OperatorError> {
        let expected = "as many extents in range as the window has axes or ends";
        match self.ints(name)? {
            None | Some([]) => Ok(vec![default; len]),
            Some(list) if list.len() == len && list.iter().all(|v| (min..=EXTENT_MAX).contains(v)) => {
                Ok(list.iter().map(|v| *v as usize).collect())
            }
            Some(_) => Err(OperatorError::Attribute { name, expected }),
        }
    }

    /// The integers of input `index`, or of the attribute `name` that older operator sets have in its place.
    pub(super) fn list(&self, index: usize, name: &'static str) -> Result<Option<Vec<i64>>, OperatorError> {
        if self.node.input(index).is_none() {
            return Ok(self.ints(name)?.map(<[i64]>::to_vec));
        }
        let expected = "a constant list of integers";
        let list = self.constant(index).and_then(Tensor::to_i64);
        list.map(Some).ok_or(OperatorError::Operand { index, expected })
    }

    /// [`NodeView::list`] of what must be given.
    pub(super) fn required_list(&self, index: usize, name: &'static str) -> Result<Vec<i64>, OperatorError> {
        self.list(index, name)?.ok_or(OperatorError::MissingInput(index))
    }

    /// The number of input `index`, or of the attribute `name` that older operator sets have in its place.
    pub(super) fn number(&self, index: usize, name: &'static str) -> Result<Option<f64>, OperatorError> {
        if self.node.input(index).is_none() {
            return Ok(self.optional_float(name)?.map(f64::from));
        }
        let expected = "a constant number";
        match self.constant(index).and_then(Tensor::to_f64).as_deref() {
            Some([number]) => Ok(Some(*number)),
            _ => Err(OperatorError::Operand { index, expected }),
        }
    }
}

/// An axis of a value of `rank` axes, counted from the end where negative; `None` where there is no such axis.
pub fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    usize::try_from(axis).ok().filter(|_| axis < rank)
}
