//! Moves `Transpose` behind element-wise operators, pads, concatenations and reductions until it meets its inverse, and drops both.
//!
//! Converters from channels-last frameworks wrap every convolution in a pair. What stands between the pairs (bias, ReLU,
//! sums) works in either order of axes. The result is kept only if it has fewer transpositions than before.

use std::collections::HashMap;

use repserve_graph::ops::{Concat, Elementwise, GraphView, Operator, Pad, Reduction, Transpose};
use repserve_graph::shapes::Shapes;
use repserve_graph::{AttributeValue, Graph, Node, NodeId, Patch, Tensor, Value, ValueId};

/// Runs the pass; how many transpositions there are fewer.
pub(crate) fn run(graph: &mut Graph, opset: i64) -> usize {
    let before = count(graph);
    if before < 2 || opset < 7 {
        return 0;
    }
    let mut trial = graph.clone();
    let ids: Vec<NodeId> = trial.nodes().map(|(id, _)| id).collect();
    let mut sinking = Sinking {
        shapes: Shapes::infer(graph, opset),
        graph: &mut trial,
        opset,
        seen: HashMap::new(),
    };
    for id in ids {
        sinking.visit(id);
    }
    trial.sweep();
    let after = count(&trial);
    if after >= before {
        return 0;
    }
    *graph = trial;
    before - after
}

fn count(graph: &Graph) -> usize {
    graph.nodes().filter(|(_, n)| n.is("Transpose")).count()
}

/// The graph under change.
struct Sinking<'a> {
    graph: &'a mut Graph,
    /// Shapes of the values that there were at the start.
    shapes: Shapes,
    opset: i64,
    /// Transpositions that stand in the graph by now: source and order, and their result.
    seen: HashMap<(ValueId, Vec<usize>), ValueId>,
}

/// A node that reads what was transposed, the constants that it needs instead of its own, and the transposition that follows.
type Moved = (Node, Vec<(usize, Tensor)>, Transpose);

impl Sinking<'_> {
    fn visit(&mut self, id: NodeId) {
        let Some(node) = self.graph.node(id) else { return };
        let Some(output) = node
            .output(0)
            .filter(|_| node.outputs.len() == 1 && node.captures.is_empty())
        else {
            return;
        };
        if let Some(turn) = self.turn(node) {
            let Some(input) = node.input(0) else { return };
            let inner = self.before(input).filter(|(_, inner)| turn.is_inverse_of(inner));
            let same = inner
                .map(|(source, _)| source)
                .or_else(|| self.seen.get(&(input, turn.order.clone())).copied());
            if let Some(source) = same {
                let patch = Patch {
                    remove: vec![id],
                    replace: vec![(output, source)],
                    ..Patch::default()
                };
                patch.apply(self.graph);
            } else {
                self.seen.insert((input, turn.order), output);
            }
            return;
        }
        let moved = match Operator::of(node).map(|op| op.elementwise) {
            Some(Elementwise::Unary) => self.unary(node),
            Some(Elementwise::Broadcasting) => self.broadcasting(node),
            Some(Elementwise::No) | None => self
                .pad(node)
                .or_else(|| self.reduction(node))
                .or_else(|| self.concat(node)),
        };
        if let Some(moved) = moved {
            self.apply(id, output, moved);
        }
    }

    /// Puts the moved node, and the transposition behind it where it moves anything, in the place of node `id`.
    fn apply(&mut self, id: NodeId, output: ValueId, (mut node, constants, turn): Moved) {
        let graph = &mut *self.graph;
        for (index, tensor) in constants {
            node.inputs[index] = Some(graph.add_constant("transposed", tensor));
        }
        if turn.order.iter().copied().eq(0..turn.order.len()) {
            node.outputs = vec![Some(output)];
            let patch = Patch {
                remove: vec![id],
                insert: vec![(id, node)],
                ..Patch::default()
            };
            patch.apply(graph);
            return;
        }
        let dtype = graph.value(output).dtype;
        let name = format!("{}.channels_first", graph.value(output).name);
        let value = graph.add_value(Value {
            dtype,
            ..Value::named(name)
        });
        node.outputs = vec![Some(value)];
        let perm = AttributeValue::Ints(turn.order.iter().map(|i| *i as i64).collect());
        let turn = Node::new("Transpose", vec![value], vec![output]).with("perm", perm);
        let patch = Patch {
            remove: vec![id],
            insert: vec![(id, node), (id, turn)],
            ..Patch::default()
        };
        patch.apply(graph);
    }

    fn view(&self) -> GraphView<'_> {
        GraphView {
            graph: self.graph,
            shapes: &self.shapes,
            opset: self.opset,
        }
    }

    fn turn(&self, node: &Node) -> Option<Transpose> {
        Transpose::of(&self.view().node(node)).ok()?
    }

    /// What a value is a transposition of.
    fn before(&self, value: ValueId) -> Option<(ValueId, Transpose)> {
        let node = self.graph.node(self.graph.producer(value)?)?;
        Some((node.input(0)?, self.turn(node)?))
    }

    fn unary(&self, node: &Node) -> Option<Moved> {
        let (source, turn) = self.before(node.input(0)?)?;
        let mut node = node.clone();
        node.inputs[0] = Some(source);
        Some((node, Vec::new(), turn))
    }

    fn broadcasting(&self, node: &Node) -> Option<Moved> {
        let graph = &*self.graph;
        let mut moved = node.clone();
        let mut constants = Vec::new();
        let mut plain = Vec::new();
        let mut common: Option<Transpose> = None;
        for (index, input) in node.inputs.iter().enumerate() {
            let value = (*input)?;
            if graph.constant(value).is_some() {
                continue;
            }
            let Some((source, turn)) = self.before(value) else {
                plain.push((index, value));
                continue;
            };
            if *common.get_or_insert_with(|| turn.clone()) != turn {
                return None;
            }
            moved.inputs[index] = Some(source);
        }
        let turn = common?;
        for (index, value) in plain {
            let mut inverse = vec![0; turn.order.len()];
            turn.order.iter().enumerate().for_each(|(to, from)| inverse[*from] = to);
            moved.inputs[index] = Some(*self.seen.get(&(value, inverse))?);
        }
        for (index, input) in node.inputs.iter().enumerate() {
            if let Some(tensor) = input.and_then(|v| graph.constant(v)).filter(|t| t.len() != 1) {
                constants.push((index, turned_back(tensor, &turn.order)?));
            }
        }
        Some((moved, constants, turn))
    }

    fn pad(&self, node: &Node) -> Option<Moved> {
        let pad = Pad::of(&self.view().node(node)).ok()??;
        let (source, turn) = self.before(node.input(0)?)?;
        if pad.names_axes() {
            return None;
        }
        let rank = turn.order.len();
        let [before, after] = pad.along(rank).ok()?;
        let mut turned = vec![0; 2 * rank];
        for (to, from) in turn.order.iter().enumerate() {
            (turned[*from], turned[*from + rank]) = (before[to], after[to]);
        }
        let mut node = node.clone();
        node.inputs[0] = Some(source);
        let (node, constant) = Pad::repadded(node, turned);
        Some((node, constant.into_iter().collect(), turn))
    }

    fn reduction(&self, node: &Node) -> Option<Moved> {
        let reduction = Reduction::of(&self.view().node(node)).ok()??;
        let (source, turn) = self.before(node.input(0)?)?;
        let rank = turn.order.len();
        if reduction.axes.is_empty() || reduction.axes.len() == rank {
            return None;
        }
        let mut axes: Vec<usize> = reduction.axes.iter().map(|axis| turn.order[*axis]).collect();
        axes.sort_unstable();
        let order = if reduction.keeps_axes {
            turn.order
        } else {
            let kept = turn.order.iter().filter(|axis| !axes.contains(axis));
            let dropped_before = |axis: usize| axes.iter().filter(|dropped| **dropped < axis).count();
            kept.map(|axis| axis - dropped_before(*axis)).collect()
        };
        let mut node = node.clone();
        node.inputs[0] = Some(source);
        let (node, constant) = Reduction::along(node, axes.iter().map(|axis| *axis as i64).collect());
        Some((node, constant.into_iter().collect(), Transpose { order }))
    }

    fn concat(&self, node: &Node) -> Option<Moved> {
        let concat = Concat::of(&self.view().node(node)).ok()??;
        let before: Option<Vec<_>> = node.reads().map(|value| self.before(value)).collect();
        let before = before?;
        let (_, turn) = before.first()?.clone();
        if before.len() != node.inputs.len() || before.iter().any(|(_, other)| *other != turn) {
            return None;
        }
        let mut node = Concat::along(node.clone(), *turn.order.get(concat.axis)?);
        node.inputs = before.into_iter().map(|(source, _)| Some(source)).collect();
        Some((node, Vec::new(), turn))
    }
}

/// The constant for the order of axes before a transposition by `order`.
fn turned_back(tensor: &Tensor, order: &[usize]) -> Option<Tensor> {
    let rank = order.len();
    let free = rank.checked_sub(tensor.shape().len())?;
    let wide: Vec<usize> = std::iter::repeat_n(1, free)
        .chain(tensor.shape().iter().copied())
        .collect();
    let mut shape = vec![1; rank];
    order.iter().enumerate().for_each(|(to, from)| shape[*from] = wide[to]);
    let size = tensor.dtype().size_bytes()?;
    let mut data = Vec::with_capacity(tensor.data().len());
    let mut index = vec![0; rank];
    for _ in 0..tensor.len() {
        let at = order
            .iter()
            .zip(&wide)
            .fold(0, |n, (from, extent)| n * extent + index[*from]);
        data.extend_from_slice(tensor.data().get(at * size..(at + 1) * size)?);
        for axis in (0..rank).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Tensor::new(tensor.dtype(), shape, data.into()).ok()
}
