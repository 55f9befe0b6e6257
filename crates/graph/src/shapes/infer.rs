//! The shape of an operator's first output.

use super::Shapes;
use crate::{Dim, Graph, Node, Tensor, ValueId};

/// Operators whose result has the shape of their first input.
const SAME: [&str; 35] = [
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Elu",
    "Selu",
    "Gelu",
    "Erf",
    "Clip",
    "Softmax",
    "LogSoftmax",
    "Softplus",
    "Mish",
    "Swish",
    "Neg",
    "Abs",
    "Sqrt",
    "Exp",
    "Log",
    "Reciprocal",
    "BatchNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "Dropout",
    "Identity",
    "Cast",
    "QuantizeLinear",
    "DequantizeLinear",
    "LRN",
    "CastLike",
    "ScatterND",
    "ScatterElements",
];

/// An extent that nothing is known of.
pub(super) fn unknown() -> Dim {
    Dim::Symbol(String::new())
}

/// One node and what is known around it.
pub(super) struct Look<'a> {
    graph: &'a Graph,
    pub(super) node: &'a Node,
    opset: i64,
    pub(super) shapes: &'a Shapes,
}

/// The shape of the node's first output, where it follows from its inputs.
pub(super) fn outputs(graph: &Graph, node: &Node, opset: i64, shapes: &Shapes) -> Option<Vec<Dim>> {
    if !node.is(&node.op) {
        return None;
    }
    let look = Look {
        graph,
        node,
        opset,
        shapes,
    };
    match node.op.as_str() {
        op if SAME.contains(&op) => look.input(0).map(<[Dim]>::to_vec),
        "Add" | "Sub" | "Mul" | "Div" | "Sum" | "Mean" | "Pow" | "Max" | "Min" => look.broadcast(),
        "Conv" => look.conv(),
        "AveragePool" | "MaxPool" | "LpPool" => look.pool(),
        "GlobalAveragePool" | "GlobalMaxPool" => {
            let x = look.input(0)?;
            Some(
                x.iter()
                    .enumerate()
                    .map(|(i, d)| if i < 2 { d.clone() } else { Dim::Fixed(1) })
                    .collect(),
            )
        }
        "Gemm" => look.gemm(),
        "MatMul" => look.matmul(),
        "Flatten" => look.flatten(),
        "Reshape" => look.reshape(),
        "Transpose" => look.transpose(),
        "Pad" => look.pad(),
        "Concat" => look.concat(),
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceL2" => look.reduce(),
        "Squeeze" => look.squeeze(),
        "Unsqueeze" => look.unsqueeze(),
        "Slice" => look.slice(),
        "Expand" => look.expand(),
        "Gather" => look.gather(),
        _ => None,
    }
}

impl<'a> Look<'a> {
    pub(super) fn input(&self, index: usize) -> Option<&'a [Dim]> {
        self.shapes.of(self.node.input(index)?)
    }

    pub(super) fn constant(&self, index: usize) -> Option<&'a Tensor> {
        self.graph.constant(self.node.input(index)?)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.node.attribute(name).and_then(|a| a.as_int()).unwrap_or(default)
    }

    pub(super) fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.node.attribute(name).and_then(|a| a.as_ints()).map(<[i64]>::to_vec)
    }

    /// A list that newer operator sets give as an input and older ones as an attribute.
    pub(super) fn list(&self, name: &str, index: usize) -> Option<Vec<i64>> {
        self.ints(name)
            .or_else(|| self.constant(index).and_then(Tensor::to_i64))
    }

    fn broadcast(&self) -> Option<Vec<Dim>> {
        let all: Option<Vec<&[Dim]>> = self
            .node
            .inputs
            .iter()
            .map(|v| v.and_then(|v: ValueId| self.shapes.of(v)))
            .collect();
        let all = all?;
        if self.opset < 7 {
            return all.first().map(|s| s.to_vec());
        }
        let rank = all.iter().map(|s| s.len()).max()?;
        let dim = |axis: usize| {
            let mut dims = all
                .iter()
                .filter_map(|s| (axis + s.len()).checked_sub(rank).map(|i| &s[i]));
            let first = dims.next()?.clone();
            Some(dims.fold(first, |a, b| match (a, b) {
                (Dim::Fixed(1), b) => b.clone(),
                (a, Dim::Fixed(1)) => a,
                (Dim::Fixed(a), _) => Dim::Fixed(a),
                (_, Dim::Fixed(b)) => Dim::Fixed(*b),
                (a, b) if a == *b => a,
                _ => unknown(),
            }))
        };
        (0..rank).map(dim).collect()
    }

    /// An axis of a value of `rank` axes, counted from the end where negative.
    pub(super) fn axis(&self, axis: i64, rank: usize) -> Option<usize> {
        let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
        usize::try_from(axis).ok().filter(|a| *a < rank.max(1))
    }
}
