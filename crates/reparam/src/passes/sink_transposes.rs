//! Moves `Transpose` behind element-wise operators until it meets its inverse, and drops both.
//!
//! Converters from channels-last frameworks wrap every convolution in a pair. What stands between the pairs (bias, ReLU,
//! sums) works in either order of axes. The result is kept only if it has fewer transpositions than before.

use std::collections::HashMap;

use repserve_graph::{AttributeValue, Graph, Node, NodeId, Patch, Tensor, Value, ValueId};

/// Operators that treat every element alike.
const UNARY: [&str; 12] = [
    "Relu",
    "LeakyRelu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Elu",
    "Clip",
    "Neg",
    "Identity",
    "Softplus",
    "Erf",
];

/// Operators of several operands that treat every element alike.
const COMBINING: [&str; 7] = ["Add", "Sub", "Mul", "Div", "Sum", "Max", "Min"];

/// Runs the pass; how many transpositions there are fewer.
pub(crate) fn run(graph: &mut Graph, opset: i64) -> usize {
    let before = count(graph);
    if before < 2 || opset < 7 {
        return 0;
    }
    let mut trial = graph.clone();
    let ids: Vec<NodeId> = trial.nodes().map(|(id, _)| id).collect();
    let mut seen = Seen::new();
    for id in ids {
        visit(&mut trial, id, &mut seen);
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

/// Transpositions that stand in the graph by now: source and order, and their result.
type Seen = HashMap<(ValueId, Vec<usize>), ValueId>;

fn visit(graph: &mut Graph, id: NodeId, seen: &mut Seen) {
    let Some(node) = graph.node(id) else { return };
    let Some(output) = node
        .output(0)
        .filter(|_| node.outputs.len() == 1 && node.captures.is_empty())
    else {
        return;
    };
    if let Some(order) = order(node) {
        let Some(input) = node.input(0) else { return };
        let inner = before(graph, input).filter(|(_, inner)| is_inverse(inner, &order));
        let same = inner
            .map(|(source, _)| source)
            .or_else(|| seen.get(&(input, order.clone())).copied());
        if let Some(source) = same {
            let patch = Patch {
                remove: vec![id],
                replace: vec![(output, source)],
                ..Patch::default()
            };
            patch.apply(graph);
        } else {
            seen.insert((input, order), output);
        }
        return;
    }
    let moved = if node.is(&node.op) && UNARY.contains(&node.op.as_str()) {
        unary(graph, node)
    } else if node.is(&node.op) && COMBINING.contains(&node.op.as_str()) {
        combining(graph, node, seen)
    } else if node.is("Pad") {
        pad(graph, node)
    } else {
        None
    };
    let Some((mut node, constants, order)) = moved else {
        return;
    };
    for (index, tensor) in constants {
        node.inputs[index] = Some(graph.add_constant("transposed", tensor));
    }
    let dtype = graph.value(output).dtype;
    let name = format!("{}.channels_first", graph.value(output).name);
    let value = graph.add_value(Value {
        dtype,
        ..Value::named(name)
    });
    node.outputs = vec![Some(value)];
    let perm = AttributeValue::Ints(order.iter().map(|i| *i as i64).collect());
    let turn = Node::new("Transpose", vec![value], vec![output]).with("perm", perm);
    let patch = Patch {
        remove: vec![id],
        insert: vec![(id, node), (id, turn)],
        ..Patch::default()
    };
    patch.apply(graph);
}

/// A node that reads what was transposed, the constants that it needs instead of its own, and the order of axes.
type Moved = (Node, Vec<(usize, Tensor)>, Vec<usize>);

fn order(node: &Node) -> Option<Vec<usize>> {
    let perm = node.attribute("perm").filter(|_| node.is("Transpose"))?.as_ints()?;
    let order: Option<Vec<usize>> = perm.iter().map(|i| usize::try_from(*i).ok()).collect();
    order.filter(|o| (0..o.len()).all(|i| o.contains(&i)))
}

/// What a value is a transposition of.
fn before(graph: &Graph, value: ValueId) -> Option<(ValueId, Vec<usize>)> {
    let node = graph.node(graph.producer(value)?)?;
    Some((node.input(0)?, order(node)?))
}

fn is_inverse(a: &[usize], b: &[usize]) -> bool {
    a.len() == b.len() && b.iter().enumerate().all(|(i, j)| a[*j] == i)
}

fn unary(graph: &Graph, node: &Node) -> Option<Moved> {
    let (source, order) = before(graph, node.input(0)?)?;
    let mut node = node.clone();
    node.inputs[0] = Some(source);
    Some((node, Vec::new(), order))
}

fn combining(graph: &Graph, node: &Node, seen: &Seen) -> Option<Moved> {
    let mut moved = node.clone();
    let mut constants = Vec::new();
    let mut plain = Vec::new();
    let mut common: Option<Vec<usize>> = None;
    for (index, input) in node.inputs.iter().enumerate() {
        let value = (*input)?;
        if graph.constant(value).is_some() {
            continue;
        }
        let Some((source, order)) = before(graph, value) else {
            plain.push((index, value));
            continue;
        };
        if common.get_or_insert_with(|| order.clone()) != &order {
            return None;
        }
        moved.inputs[index] = Some(source);
    }
    let order = common?;
    for (index, value) in plain {
        let mut inverse = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, from)| inverse[*from] = to);
        moved.inputs[index] = Some(*seen.get(&(value, inverse))?);
    }
    for (index, input) in node.inputs.iter().enumerate() {
        if let Some(tensor) = input.and_then(|v| graph.constant(v)).filter(|t| t.len() != 1) {
            constants.push((index, turned_back(tensor, &order)?));
        }
    }
    Some((moved, constants, order))
}

fn pad(graph: &Graph, node: &Node) -> Option<Moved> {
    let (source, order) = before(graph, node.input(0)?)?;
    let pads = graph.constant(node.input(1)?)?.to_i64()?;
    if node.input(3).is_some() || pads.len() != 2 * order.len() {
        return None;
    }
    let mut turned = vec![0; pads.len()];
    for (to, from) in order.iter().enumerate() {
        turned[*from] = pads[to];
        turned[*from + order.len()] = pads[to + order.len()];
    }
    let mut node = node.clone();
    node.inputs[0] = Some(source);
    Some((node, vec![(1, Tensor::from_i64(&[turned.len()], &turned))], order))
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
