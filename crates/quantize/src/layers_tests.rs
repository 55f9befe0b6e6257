//! Which nodes of small graphs are layers.

use super::*;
use repserve_graph::{Tensor, Value};

/// A graph of nodes in a row; each is an operator, and a convolution has a weight of the shape given.
fn row(nodes: &[(&str, &[usize])]) -> Graph {
    let mut graph = Graph::default();
    let mut value = graph.add_value(Value::named("input"));
    graph.inputs.push(value);
    for (i, (op, shape)) in nodes.iter().enumerate() {
        let out = graph.add_value(Value::named(format!("{op}_{i}")));
        let mut inputs = vec![value];
        if !shape.is_empty() {
            let weight = Tensor::from_f32(shape, &vec![0.5; shape.iter().product()]);
            inputs.push(graph.add_constant(format!("weight_{i}"), weight));
        }
        graph.push_node(Node::new(*op, inputs, vec![out]));
        value = out;
    }
    graph.outputs.push(value);
    graph
}

#[track_caller]
fn check(nodes: &[(&str, &[usize])], expected: &[&str]) {
    let graph = row(nodes);
    let found: Vec<_> = layers(&graph).into_iter().map(|l| l.name).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_layer_is_called_by_what_it_answers_with_after_its_relu() {
    check(
        &[
            ("Conv", &[4, 3, 3, 3]),
            ("Relu", &[]),
            ("Conv", &[2, 4, 1, 1]),
            ("Sigmoid", &[]),
        ],
        &["Relu_1", "Conv_2"],
    );
    check(&[("Flatten", &[]), ("Gemm", &[4, 2])], &["Gemm_1"]);
}

/// Which clip a convolution takes with it, where `Clip` has these bounds.
#[track_caller]
fn check_clip(low: Option<f32>, high: Option<f32>, attributes: bool, expected: Option<f32>) {
    let mut graph = row(&[("Conv", &[4, 3, 1, 1]), ("Clip", &[])]);
    let id = graph.producer(graph.outputs[0]).unwrap();
    let mut node = graph.node(id).cloned().unwrap();
    for (name, bound) in [("min", low), ("max", high)] {
        match bound {
            Some(bound) if attributes => node = node.with(name, AttributeValue::Float(bound)),
            Some(bound) => node.inputs.push(Some(
                graph.add_constant(name.to_owned(), Tensor::from_f32(&[], &[bound])),
            )),
            None => node.inputs.push(None),
        }
    }
    graph.remove_node(id);
    graph.push_node(node);
    let found = layers(&graph);
    assert_eq!(found[0].clip.map(|clip| clip.high), expected);
    let name = if expected.is_some() { "Clip_1" } else { "Conv_0" };
    assert_eq!(found[0].name, name);
}

#[test]
fn a_clip_from_zero_up_belongs_to_its_convolution() {
    for attributes in [false, true] {
        check_clip(Some(0.0), Some(6.0), attributes, Some(6.0));
        check_clip(Some(0.0), None, attributes, Some(f32::INFINITY));
        check_clip(Some(-1.0), Some(1.0), attributes, None);
        check_clip(None, Some(6.0), attributes, None);
        check_clip(Some(0.0), Some(0.0), attributes, None);
    }
}

#[test]
fn what_reads_a_pooled_value_stays_in_f32() {
    let squeeze: [(&str, &[usize]); 4] = [
        ("GlobalAveragePool", &[]),
        ("Conv", &[2, 4, 1, 1]),
        ("Relu", &[]),
        ("Conv", &[4, 2, 1, 1]),
    ];
    check(&squeeze, &[]);
    check(
        &[("Conv", &[4, 4, 1, 1]), ("AveragePool", &[]), ("Conv", &[4, 4, 1, 1])],
        &["Conv_0", "Conv_2"],
    );
}

#[test]
fn weights_that_are_no_matrix_of_a_window_are_no_layer() {
    check(&[("Conv", &[4, 3, 3])], &[]);
    check(&[("MatMul", &[4, 3])], &[]);
}
