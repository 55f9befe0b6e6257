//! Shapes of single nodes.

use super::*;
use crate::{AttributeValue, Node, Tensor, Value};

/// The shape of the node's output over an input of `shape` (0: not known) and constants; `None` where it is not known.
#[track_caller]
fn check(node: Node, shape: &[usize], constants: &[Tensor], expected: Option<&[usize]>) {
    let mut graph = Graph::default();
    let dim = |n: usize| if n == 0 { unknown() } else { Dim::Fixed(n) };
    let input = graph.add_value(Value {
        shape: Some(shape.iter().map(|n| dim(*n)).collect()),
        ..Value::named("x")
    });
    graph.inputs.push(input);
    let constants: Vec<ValueId> = constants.iter().map(|c| graph.add_constant("c", c.clone())).collect();
    let output = graph.add_value(Value::named("y"));
    graph.push_node(Node {
        inputs: std::iter::once(input).chain(constants).map(Some).collect(),
        outputs: vec![Some(output)],
        ..node
    });
    let found = Shapes::infer(&graph, 18);
    let found = found
        .of(output)
        .map(|s| s.iter().map(|d| fixed(d).unwrap_or(0)).collect::<Vec<_>>());
    assert_eq!(found.as_deref(), expected);
}

fn node(op: &str) -> Node {
    Node::new(op, Vec::new(), Vec::new())
}

fn ints(values: &[i64]) -> Tensor {
    Tensor::from_i64(&[values.len()], values)
}

fn int(value: i64) -> AttributeValue {
    AttributeValue::Int(value)
}

#[test]
fn scalars_have_no_axes_and_do_no_harm() {
    let scalar = Tensor::from_i64(&[], &[0]);
    check(node("Concat").with("axis", int(0)), &[], &[], None);
    check(node("Gather"), &[], &[scalar], None);
    check(node("Slice"), &[], &[ints(&[0]), ints(&[1])], None);
    check(node("Flatten").with("axis", int(0)), &[], &[], Some(&[1, 1]));
}

#[test]
fn an_axis_of_a_flatten_counts_from_the_inputs_end() {
    check(node("Flatten").with("axis", int(-1)), &[2, 3, 4], &[], Some(&[6, 4]));
    check(node("Flatten").with("axis", int(3)), &[2, 3, 4], &[], Some(&[24, 1]));
    check(node("Flatten").with("axis", int(-4)), &[2, 3, 4], &[], None);
}

#[test]
fn no_axes_reduce_all_unless_that_is_switched_off() {
    check(node("ReduceMean"), &[2, 3], &[ints(&[])], Some(&[1, 1]));
    check(node("ReduceMean"), &[2, 3], &[], Some(&[1, 1]));
    let noop = node("ReduceSum").with("noop_with_empty_axes", int(1));
    check(noop, &[2, 3], &[ints(&[])], Some(&[2, 3]));
    check(
        node("ReduceMax").with("keepdims", int(0)),
        &[2, 3],
        &[ints(&[-1])],
        Some(&[2]),
    );
}

#[test]
fn a_squeeze_without_axes_drops_ones_where_all_extents_are_known() {
    check(node("Squeeze"), &[2, 1, 3], &[], Some(&[2, 3]));
    check(node("Squeeze"), &[0, 1, 3], &[], None);
    check(node("Squeeze"), &[0, 1, 3], &[ints(&[1])], Some(&[0, 3]));
}

#[test]
fn a_pad_that_names_its_axes_is_one_of_these() {
    let fill = Tensor::from_f32(&[], &[0.0]);
    check(
        node("Pad"),
        &[2, 3, 4],
        &[ints(&[1, 2]), fill, ints(&[-1])],
        Some(&[2, 3, 7]),
    );
}

#[test]
fn what_makes_no_sense_stays_unknown() {
    check(node("Reshape"), &[2, 3], &[ints(&[-1, -1])], None);
    check(
        node("Transpose").with("perm", AttributeValue::Ints(vec![0, 0])),
        &[2, 3],
        &[],
        None,
    );
    check(node("Concat"), &[2, 3], &[], None);
    let weights = Tensor::from_f32(&[4, 3, 3, 3], &[0.0; 108]);
    let auto = |value: &str| node("Conv").with("auto_pad", AttributeValue::String(value.to_owned().into()));
    check(auto("SAME"), &[1, 3, 8, 8], std::slice::from_ref(&weights), None);
    check(auto("SAME_LOWER"), &[1, 3, 8, 0], &[weights], Some(&[1, 4, 8, 0]));
}

#[test]
fn a_transposed_convolution_widens_what_is_known() {
    let conv = || node("ConvTranspose").with("strides", AttributeValue::Ints(vec![2, 2]));
    let weights = || [Tensor::from_f32(&[3, 4, 2, 2], &[0.0; 48])];
    check(conv(), &[1, 3, 8, 0], &weights(), Some(&[1, 4, 16, 0]));
    check(conv(), &[1, 3, 8], &weights(), None);
}

#[test]
fn an_expansion_keeps_extents_that_it_asks_a_one_for() {
    check(node("Expand"), &[3, 1], &[ints(&[2, 1, 6])], Some(&[2, 3, 6]));
    check(node("Expand"), &[3, 1], &[ints(&[-1, 6])], None);
}
