//! What becomes a constant and what does not.

use super::*;
use repserve_graph::{AttributeValue, DType, Dim, Value};

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
    repserve_graph::verify::verify(graph).unwrap();
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
        Node::new("Constant", vec![], vec![zero]).with("value", AttributeValue::Tensor(Tensor::from_f32(&[], &[0.0]))),
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
