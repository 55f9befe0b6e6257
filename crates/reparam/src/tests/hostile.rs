//! Damaged models through the whole pipeline: an error or a valid model, never a panic.

use bytes::Bytes;
use proptest::prelude::*;

use crate::{Options, reparameterize_bytes};
use repserve_graph::onnx::{ExternalData, read, write};
use repserve_graph::{AttributeValue, DType, Dim, Graph, Model, Node, Tensor, Value, ValueId};

/// A tiny model in which almost every byte is structure, so that damage hits it.
fn structure() -> Vec<u8> {
    let mut graph = Graph::default();
    let mut x = Value::named("x");
    x.dtype = Some(DType::F32);
    x.shape = Some(vec![
        Dim::Symbol("n".into()),
        Dim::Fixed(1),
        Dim::Fixed(4),
        Dim::Fixed(4),
    ]);
    let x = graph.add_value(x);
    graph.inputs.push(x);
    let w = graph.add_constant("w", Tensor::from_f32(&[1, 1, 3, 3], &[0.5; 9]));
    let v = graph.add_constant("v", Tensor::from_f32(&[1, 1, 1, 1], &[0.5]));
    let b = graph.add_constant("b", Tensor::from_f32(&[1], &[0.5]));
    let p = graph.add_constant("p", Tensor::from_i64(&[8], &[0, 0, 1, 1, 0, 0, 1, 1]));
    let i = graph.add_constant("i", Tensor::from_i64(&[1, 1], &[0]));
    let mut add = |op: &str, inputs: Vec<ValueId>, ints: &[(&str, &[i64])]| {
        let output = graph.add_value(Value::named(op.to_lowercase()));
        let node = Node::new(op, inputs, vec![output]);
        let node = ints
            .iter()
            .fold(node, |n, (name, v)| n.with(*name, AttributeValue::Ints(v.to_vec())));
        graph.push_node(node);
        output
    };
    let dense = add(
        "Conv",
        vec![x, w, b],
        &[("strides", &[1, 1]), ("pads", &[1; 4]), ("dilations", &[1, 1])],
    );
    let point = add("Conv", vec![x, v], &[("strides", &[1, 1])]);
    let bn = add("BatchNormalization", vec![x, b, b, b, b], &[]);
    let sum = add("Add", vec![dense, point], &[]);
    let sum = add("Add", vec![sum, bn], &[]);
    let relu = add("Relu", vec![sum], &[]);
    let padded = add("Pad", vec![relu, p], &[]);
    let turned = add("Transpose", vec![padded], &[("perm", &[2, 1, 0, 3])]);
    let shape = add("Shape", vec![turned], &[]);
    let row = add("Slice", vec![shape, i, b, i], &[]);
    let border = add("Expand", vec![b, row], &[]);
    let written = add("ScatterND", vec![turned, i, border], &[]);
    let back = add("Transpose", vec![written], &[("perm", &[2, 1, 0, 3])]);
    let pool = add(
        "AveragePool",
        vec![back],
        &[("kernel_shape", &[3, 3]), ("strides", &[1, 1])],
    );
    let flat = add("Reshape", vec![pool, p], &[]);
    graph.outputs.push(flat);
    let model = Model {
        graph,
        ir_version: 8,
        opsets: vec![(String::new(), 17)],
        ..Model::default()
    };
    write(model).unwrap()
}

/// What comes out of the pipeline can be read again.
fn check(bytes: Vec<u8>) {
    if let Ok(deployed) = reparameterize_bytes(Bytes::from(bytes), &Options::default()) {
        read(Bytes::from(deployed.onnx), &ExternalData::None).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_structure_never_panics(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = structure();
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        check(bytes);
    }
}

#[test]
fn the_undamaged_model_is_fused() {
    let deployed = reparameterize_bytes(Bytes::from(structure()), &Options::default()).unwrap();
    assert_eq!(deployed.report.deploy.count("Conv"), 1, "{}", deployed.report);
}
