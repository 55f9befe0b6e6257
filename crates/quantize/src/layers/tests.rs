//! Which nodes of small graphs are layers.

use super::*;
use repserve_graph::{AttributeValue, Tensor, Value};

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

/// A model of the graph.
fn model(graph: &Graph) -> Model {
    Model {
        graph: graph.clone(),
        opsets: vec![(String::new(), 17)],
        ..Model::default()
    }
}

#[track_caller]
fn check(nodes: &[(&str, &[usize])], expected: &[&str]) {
    let graph = row(nodes);
    let found: Vec<_> = layers(&model(&graph)).into_iter().map(|l| l.name).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_layer_is_named_by_what_it_returns_after_its_relu() {
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
    let found = layers(&model(&graph));
    assert_eq!(found[0].activation.map(|activation| activation.high), expected);
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

/// The pads of a 3x3 convolution of this stride over an image of 8 by 8 with this `auto_pad`; `None` where it is no layer.
#[track_caller]
fn check_auto_pad(auto_pad: &str, stride: i64, expected: Option<[usize; 4]>) {
    let mut graph = row(&[("Conv", &[4, 3, 3, 3])]);
    let input = graph.inputs[0];
    graph.value_mut(input).shape = Some([1, 3, 8, 8].map(repserve_graph::Dim::Fixed).to_vec());
    let id = graph.nodes().next().map(|(id, _)| id).unwrap();
    let mut node = graph.node_mut(id).unwrap();
    *node = node
        .clone()
        .with("auto_pad", AttributeValue::String(auto_pad.to_owned().into()))
        .with("strides", AttributeValue::Ints(vec![stride; 2]));
    drop(node);
    let found = layers(&model(&graph)).into_iter().next().map(|layer| layer.kind);
    let pads = found.map(|kind| match kind {
        LayerKind::Conv(window) => window.pads,
        LayerKind::Gemm { .. } => panic!("a convolution"),
    });
    assert_eq!(pads, expected);
}

#[test]
fn convolutions_of_every_auto_pad_are_layers() {
    check_auto_pad("NOTSET", 1, Some([0; 4]));
    check_auto_pad("VALID", 2, Some([0; 4]));
    check_auto_pad("SAME_UPPER", 2, Some([0, 0, 1, 1]));
    check_auto_pad("SAME_LOWER", 2, Some([1, 1, 0, 0]));
    check_auto_pad("SAME", 1, None);
}

#[test]
fn odd_attributes_of_a_convolution_make_no_layer() {
    for (name, value) in [
        ("group", AttributeValue::Float(2.0)),
        ("kernel_shape", AttributeValue::Ints(vec![3, 5])),
        ("auto_pad", AttributeValue::Int(1)),
    ] {
        let mut graph = row(&[("Conv", &[4, 3, 3, 3])]);
        let id = graph.nodes().next().map(|(id, _)| id).unwrap();
        let mut node = graph.node_mut(id).unwrap();
        *node = node.clone().with(name, value);
        drop(node);
        assert!(layers(&model(&graph)).is_empty(), "{name}");
    }
}
