//! The shape of an operator's first output, by the rule that the table of operators names.

use crate::known::{Shapes, unknown};
use crate::node::Node;
use crate::ops::{Expand, GraphView, NodeView, Operator, ShapeRule};
use crate::value::{Dim, ValueId};

/// One node and what is known around it.
pub(super) struct Inference<'a> {
    pub(super) node: NodeView<'a>,
    shapes: &'a Shapes,
}

/// The shape of the node's first output, where it follows from its inputs.
pub(super) fn first_output(view: &GraphView<'_>, node: &Node) -> Option<Vec<Dim>> {
    let rule = Operator::of(node)?.shape;
    let inference = Inference {
        node: view.node(node),
        shapes: view.shapes,
    };
    match rule {
        ShapeRule::Same => inference.input(0).map(<[Dim]>::to_vec),
        ShapeRule::Broadcast => inference.broadcast(),
        ShapeRule::Conv => inference.conv(),
        ShapeRule::ConvTranspose => inference.conv_transpose(),
        ShapeRule::Pool => inference.pool(),
        ShapeRule::GlobalPool => inference.global_pool(),
        ShapeRule::Gemm => inference.gemm(),
        ShapeRule::MatMul => inference.matmul(),
        ShapeRule::Flatten => inference.flatten(),
        ShapeRule::Reshape => inference.reshape(),
        ShapeRule::Transpose => inference.transpose(),
        ShapeRule::Pad => inference.pad(),
        ShapeRule::Concat => inference.concat(),
        ShapeRule::Reduce => inference.reduce(),
        ShapeRule::Squeeze => inference.squeeze(),
        ShapeRule::Unsqueeze => inference.unsqueeze(),
        ShapeRule::Slice => inference.slice(),
        ShapeRule::Expand => inference.expand(),
        ShapeRule::Gather => inference.gather(),
        ShapeRule::Unknown => None,
    }
}

impl<'a> Inference<'a> {
    pub(super) fn input(&self, index: usize) -> Option<&'a [Dim]> {
        self.shapes.of(self.node.node.input(index)?)
    }

    pub(super) fn shape(&self, value: ValueId) -> Option<&'a [Dim]> {
        self.shapes.of(value)
    }

    /// The shapes of all inputs.
    pub(super) fn inputs(&self) -> Option<Vec<&'a [Dim]>> {
        let inputs = self.node.node.inputs.iter();
        inputs.map(|value| self.shapes.of((*value)?)).collect()
    }

    fn broadcast(&self) -> Option<Vec<Dim>> {
        let all = self.inputs()?;
        if self.node.opset < 7 {
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

    /// The extents that `Expand` asks for and its input's.
    fn expand(&self) -> Option<Vec<Dim>> {
        let x = self.input(0)?;
        let to = Expand::of(&self.node).ok()??.extents;
        let rank = x.len().max(to.len());
        let own = |axis: usize| (axis + x.len()).checked_sub(rank).map(|i| x[i].clone());
        let wanted = |axis: usize| (axis + to.len()).checked_sub(rank).map_or(1, |i| to[i]);
        let extent = |axis: usize| match (own(axis), wanted(axis)) {
            (Some(d), 1) => d,
            (None | Some(_), n) => Dim::Fixed(n),
        };
        Some((0..rank).map(extent).collect())
    }
}
