//! Turns what does not depend on the input into constants: `Constant` nodes, zero biases that exporters build from
//! shapes, index arithmetic, parameters that are computed from others.
//!
//! `Shape` of a value whose extents are known is a constant too, whatever its elements. A constant that only changes its
//! name (`Identity`, a `Cast` to the type it has) is read directly instead of being copied.

use std::collections::HashMap;

use crate::graph::{DType, Graph, Node, NodeId, Patch, Tensor, ValueId};
use crate::reparam::fold::{evaluate, shape_range};
use crate::reparam::shapes::{Shapes, fixed};

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
            Result::Same(value) => rename(graph, id, output, value),
            Result::New(tensor) if tensor.data().len() <= *budget => {
                *budget -= tensor.data().len();
                replace(graph, id, output, tensor);
            }
            Result::New(_) => continue,
        }
        folded += 1;
    }
    folded
}

/// What a node's output is.
enum Result {
    /// Another constant.
    Same(ValueId),
    /// A new one.
    New(Tensor),
}

fn constant_of(graph: &Graph, id: NodeId, opset: i64, shapes: &Shapes, types: &mut Types) -> Option<(ValueId, Result)> {
    let node = graph.node(id)?;
    let output = node.output(0)?;
    if node.outputs.iter().skip(1).any(Option::is_some) || !node.captures.is_empty() {
        return None;
    }
    if let Some(shape) = known_shape(node, shapes) {
        return Some((output, Result::New(shape)));
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
    Some((output, first.map_or(Result::New(tensor), Result::Same)))
}

/// Whether two tensors are the same bytes in memory under the same type and shape.
fn same(a: &Tensor, b: &Tensor) -> bool {
    a.dtype() == b.dtype() && a.shape() == b.shape() && a.data().as_ptr() == b.data().as_ptr() && !a.is_empty()
}

/// The result of `Shape` and `Size` where the extents that they ask for are known.
fn known_shape(node: &Node, shapes: &Shapes) -> Option<Tensor> {
    let shape = shapes.of(node.input(0)?)?;
    let extent = |d| fixed(d).and_then(|n| i64::try_from(n).ok());
    if node.is("Shape") {
        let int = |name: &str| node.attribute(name).and_then(|a| a.as_int());
        let part: Option<Vec<i64>> = shape_range(shape, int("start").unwrap_or(0), int("end"))
            .iter()
            .map(extent)
            .collect();
        let part = part?;
        return Some(Tensor::from_i64(&[part.len()], &part));
    }
    if node.is("Size") {
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

/// Element types of values that the file does not state, from what produces them.
#[derive(Default)]
struct Types {
    known: HashMap<ValueId, Option<DType>>,
}

impl Types {
    fn of(&mut self, graph: &Graph, value: ValueId) -> Option<DType> {
        let mut path = Vec::new();
        let mut at = Some(value);
        let mut found = None;
        while let Some(v) = at {
            if let Some(known) = self.known.get(&v) {
                found = *known;
                break;
            }
            path.push(v);
            if let Some(dtype) = graph.value(v).dtype {
                found = Some(dtype);
                break;
            }
            let producer = graph.producer(v).and_then(|id| graph.node(id));
            at = producer.filter(|n| keeps_type(n)).and_then(|n| n.input(0));
        }
        for v in path {
            self.known.insert(v, found);
        }
        found
    }
}

/// Whether an operator's result has the type of its first input.
fn keeps_type(node: &Node) -> bool {
    const KEEP: [&str; 36] = [
        "Conv",
        "BatchNormalization",
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Clip",
        "Gelu",
        "Erf",
        "Softmax",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Sum",
        "Neg",
        "Sqrt",
        "Gemm",
        "MatMul",
        "AveragePool",
        "MaxPool",
        "GlobalAveragePool",
        "Concat",
        "Flatten",
        "Reshape",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Identity",
        "Pad",
        "Slice",
        "ReduceMean",
        "ScatterND",
    ];
    node.is(&node.op) && KEEP.contains(&node.op.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{AttributeValue, Dim, Value};

    fn value(graph: &mut Graph, name: &str) -> ValueId {
        graph.add_value(Value::named(name))
    }

    fn input(graph: &mut Graph, shape: Vec<Dim>) -> ValueId {
        let mut x = Value::named("x");
        (x.dtype, x.shape) = (Some(DType::F32), Some(shape));
        let x = graph.add_value(x);
        graph.inputs.push(x);
        x
    }

    /// Runs the pass; what is left, by operator.
    fn check(graph: &mut Graph, expected: &[&str]) {
        run(graph, 18);
        crate::graph::verify::verify(graph).unwrap();
        let ops: Vec<&str> = graph.nodes().map(|(_, n)| n.op.as_str()).collect();
        assert_eq!(ops, expected, "{graph}");
        assert_eq!(run(graph, 18), 0, "a second run changes nothing");
    }

    #[test]
    fn a_zero_bias_from_a_shape_becomes_a_constant() {
        let mut graph = Graph::default();
        let x = input(
            &mut graph,
            vec![Dim::Symbol("n".into()), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(8)],
        );
        let w = graph.add_constant("w", Tensor::from_f32(&[4, 3, 1, 1], &[1.0; 12]));
        let names = ["shape", "one", "to", "zero", "cast", "bias", "y"];
        let [shape, one, to, zero, cast, bias, y] = names.map(|n| value(&mut graph, n));
        let part = |n: Node| {
            n.with("start", AttributeValue::Int(0))
                .with("end", AttributeValue::Int(1))
        };
        graph.push_node(part(Node::new("Shape", vec![w], vec![shape])));
        graph.push_node(Node::new("Constant", vec![], vec![one]).with("value_ints", AttributeValue::Ints(vec![1])));
        graph.push_node(Node::new("Expand", vec![shape, one], vec![to]));
        graph.push_node(
            Node::new("Constant", vec![], vec![zero])
                .with("value", AttributeValue::Tensor(Tensor::from_f32(&[], &[0.0]))),
        );
        graph.push_node(Node::new("CastLike", vec![zero, x], vec![cast]));
        graph.push_node(Node::new("Expand", vec![cast, to], vec![bias]));
        graph.push_node(Node::new("Conv", vec![x, w, bias], vec![y]));
        graph.outputs.push(y);
        check(&mut graph, &["Conv"]);
        assert_eq!(graph.constant(bias).unwrap().to_f64().unwrap(), [0.0; 4]);
    }

    #[test]
    fn a_dynamic_extent_stays_and_fixed_ones_fold() {
        let mut graph = Graph::default();
        let x = input(&mut graph, vec![Dim::Symbol("n".into()), Dim::Fixed(3)]);
        let [all, batch, channels, size] = ["all", "batch", "channels", "size"].map(|n| value(&mut graph, n));
        graph.push_node(Node::new("Shape", vec![x], vec![all]));
        graph.push_node(Node::new("Shape", vec![x], vec![batch]).with("end", AttributeValue::Int(1)));
        graph.push_node(Node::new("Shape", vec![x], vec![channels]).with("start", AttributeValue::Int(1)));
        graph.push_node(Node::new("Size", vec![x], vec![size]));
        let y = value(&mut graph, "y");
        graph.push_node(Node::new("Concat", vec![all, batch, channels], vec![y]).with("axis", AttributeValue::Int(0)));
        graph.outputs.push(y);
        graph.outputs.push(size);
        check(&mut graph, &["Shape", "Shape", "Size", "Concat"]);
        assert_eq!(graph.constant(channels).unwrap().to_i64().unwrap(), [3]);
    }

    #[test]
    fn an_identity_of_a_constant_is_read_directly() {
        let mut graph = Graph::default();
        let x = input(&mut graph, vec![Dim::Fixed(2)]);
        let w = graph.add_constant("w", Tensor::from_f32(&[2], &[1.0, 2.0]));
        let [same, y] = ["same", "y"].map(|n| value(&mut graph, n));
        graph.push_node(Node::new("Identity", vec![w], vec![same]));
        let add = graph.push_node(Node::new("Add", vec![x, same], vec![y]));
        graph.outputs.push(y);
        check(&mut graph, &["Add"]);
        assert_eq!(graph.node(add).unwrap().input(1), Some(w));
        assert_eq!(graph.constants().count(), 1);
    }

    #[test]
    fn a_constant_graph_output_keeps_its_name_and_settles() {
        let mut graph = Graph::default();
        let a = graph.add_constant("a", Tensor::from_f32(&[1], &[1.0]));
        let y = value(&mut graph, "y");
        graph.push_node(Node::new("Add", vec![a, a], vec![y]));
        graph.outputs.push(y);
        check(&mut graph, &["Identity"]);
        assert_eq!(graph.value(graph.outputs[0]).name, "y");
    }

    #[test]
    fn training_outputs_and_other_domains_are_left() {
        let mut graph = Graph::default();
        let a = graph.add_constant("a", Tensor::from_f32(&[1], &[1.0]));
        let [y, mask] = ["y", "mask"].map(|n| value(&mut graph, n));
        let mut node = Node::new("Add", vec![a, a], vec![y]);
        node.domain = "com.example".into();
        graph.push_node(node);
        let z = value(&mut graph, "z");
        graph.push_node(Node::new("Dropout", vec![a], vec![z, mask]));
        graph.outputs = vec![y, z].into();
        check(&mut graph, &["Add", "Dropout"]);
    }
}
