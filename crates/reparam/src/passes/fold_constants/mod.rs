//! Turns what does not depend on the input into constants: `Constant` nodes, zero biases that exporters build from
//! shapes, index arithmetic, parameters that are computed from others.
//!
//! `Shape` of a value whose extents are known is a constant too, whatever its elements. A constant that only changes its
//! name (`Identity`, a `Cast` to the type it has) is read directly instead of being copied.

#[cfg(test)]
mod tests;
mod types;

use crate::fold::evaluate;
use repserve_graph::ops::{GraphView, ShapeOf};
use repserve_graph::shapes::{Shapes, fixed};
use repserve_graph::{Graph, Node, NodeId, Patch, Tensor, ValueId};
use types::Types;

/// Shapes become known as constants do: rounds of the two.
const ROUNDS_MAX: usize = 6;

/// Bytes that all folds of one run may add.
const ADDED_BYTES_MAX: usize = 256 << 20;

/// Runs the pass; the number of nodes that became constants.
pub(crate) fn run(graph: &mut Graph, opset: i64) -> usize {
    let mut folded = 0;
    let mut budget = ADDED_BYTES_MAX;
    for _ in 0..ROUNDS_MAX {
        let round = fold_once(graph, opset, &mut budget);
        if round == 0 {
            break;
        }
        folded += round;
    }
    if folded > 0 {
        graph.sweep();
    }
    folded
}

fn fold_once(graph: &mut Graph, opset: i64, budget: &mut usize) -> usize {
    let asks = graph.nodes().any(|(_, n)| n.is("Shape") || n.is("Size"));
    let shapes = if asks {
        Shapes::infer(graph, opset)
    } else {
        Shapes::default()
    };
    let ids: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    let mut types = Types::default();
    let mut folded = 0;
    for id in ids {
        let Some((output, result)) = constant_of(graph, id, opset, &shapes, &mut types) else {
            continue;
        };
        match result {
            Folded::Same(value) => rename(graph, id, output, value),
            Folded::New(tensor) if tensor.data().len() <= *budget => {
                *budget -= tensor.data().len();
                replace(graph, id, output, tensor);
            }
            Folded::New(_) => continue,
        }
        folded += 1;
    }
    folded
}

/// What a node's output is.
enum Folded {
    /// Another constant.
    Same(ValueId),
    /// A new one.
    New(Tensor),
}

fn constant_of(graph: &Graph, id: NodeId, opset: i64, shapes: &Shapes, types: &mut Types) -> Option<(ValueId, Folded)> {
    let node = graph.node(id)?;
    let output = node.output(0)?;
    if node.outputs.iter().skip(1).any(Option::is_some) || !node.captures.is_empty() {
        return None;
    }
    let view = GraphView { graph, shapes, opset };
    if let Some(shape) = known_shape(&view, node) {
        return Some((output, Folded::New(shape)));
    }
    let like = if node.is("CastLike") {
        Some(types.of(graph, node.input(1)?)?)
    } else {
        None
    };
    let inputs: Vec<Option<&Tensor>> = node.inputs.iter().map(|v| v.and_then(|v| graph.constant(v))).collect();
    let needed = if like.is_some() { 1 } else { inputs.len() };
    let open = node
        .inputs
        .iter()
        .zip(&inputs)
        .take(needed)
        .any(|(v, t)| v.is_some() && t.is_none());
    if open || (inputs.is_empty() && !node.is("Constant")) {
        return None;
    }
    if node.is("Identity") && graph.outputs.contains(&output) {
        return None;
    }
    let tensor = evaluate(node, &inputs, opset, like)?;
    let first = node
        .input(0)
        .filter(|v| graph.constant(*v).is_some_and(|t| same(t, &tensor)));
    Some((output, first.map_or(Folded::New(tensor), Folded::Same)))
}

/// Whether two tensors are the same bytes in memory under the same type and shape.
fn same(a: &Tensor, b: &Tensor) -> bool {
    a.dtype() == b.dtype() && a.shape() == b.shape() && a.data().as_ptr() == b.data().as_ptr() && !a.is_empty()
}

/// The result of `Shape` and `Size` where the extents that they ask for are known.
fn known_shape(view: &GraphView<'_>, node: &Node) -> Option<Tensor> {
    let extent = |d| fixed(d).and_then(|n| i64::try_from(n).ok());
    if let Some(asked) = ShapeOf::of(&view.node(node)).ok()? {
        let shape = view.shapes.of(node.input(0)?)?;
        let part: Vec<i64> = asked.part(shape).iter().map(extent).collect::<Option<_>>()?;
        return Some(Tensor::from_i64(&[part.len()], &part));
    }
    if node.is("Size") {
        let shape = view.shapes.of(node.input(0)?)?;
        let size = shape.iter().map(extent).try_fold(1i64, |n, d| n.checked_mul(d?))?;
        return Some(Tensor::from_i64(&[], &[size]));
    }
    None
}

/// Makes `output` a constant instead of the node's result. A graph output stays a node's: as `Constant`.
fn replace(graph: &mut Graph, id: NodeId, output: ValueId, tensor: Tensor) {
    let patch = Patch {
        remove: vec![id],
        ..Patch::default()
    };
    if !graph.outputs.contains(&output) {
        patch.apply(graph);
        graph.set_constant(output, tensor);
        return;
    }
    let name = graph.value(output).name.clone();
    let constant = graph.add_constant(format!("{name}_constant"), tensor);
    Patch {
        insert: vec![(id, Node::new("Identity", vec![constant], vec![output]))],
        ..patch
    }
    .apply(graph);
}

/// Lets readers of `output` read the constant `value`. A name that must stay keeps its node.
fn rename(graph: &mut Graph, id: NodeId, output: ValueId, value: ValueId) {
    Patch {
        remove: vec![id],
        replace: vec![(output, value)],
        ..Patch::default()
    }
    .apply(graph);
}
