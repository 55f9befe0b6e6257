//! Operators on constants: what they make, and what they leave.

mod movement;

use super::*;
use repserve_graph::{AttributeValue as A, ValueId};

/// A node with as many present inputs as `inputs`, run on them.
fn run(op: &str, attributes: &[(&str, A)], inputs: &[Option<&Tensor>], opset: i64) -> Option<Tensor> {
    let mut node = Node::new(op, vec![], vec![ValueId(99)]);
    node.inputs = inputs
        .iter()
        .enumerate()
        .map(|(i, t)| t.map(|_| ValueId(i as u32)))
        .collect();
    for (name, value) in attributes {
        node = node.with(*name, value.clone());
    }
    evaluate(&node, inputs, opset, Some(DType::F16))
}

fn check(op: &str, attributes: &[(&str, A)], inputs: &[&Tensor], expected: &Tensor) {
    let inputs: Vec<Option<&Tensor>> = inputs.iter().copied().map(Some).collect();
    let found = run(op, attributes, &inputs, 17);
    assert_eq!(found.as_ref(), Some(expected), "{op}");
}

fn check_none(op: &str, attributes: &[(&str, A)], inputs: &[&Tensor]) {
    let inputs: Vec<Option<&Tensor>> = inputs.iter().copied().map(Some).collect();
    assert_eq!(run(op, attributes, &inputs, 17), None, "{op}");
}

fn i(shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::from_i64(shape, values)
}

fn f(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_f32(shape, values)
}

fn boolean(shape: &[usize], values: &[u8]) -> Tensor {
    Tensor::new(DType::Bool, shape.to_vec(), values.to_vec().into()).unwrap()
}

#[test]
fn constants_come_from_their_attribute() {
    check(
        "Constant",
        &[("value", A::Tensor(i(&[2], &[3, 4])))],
        &[],
        &i(&[2], &[3, 4]),
    );
    check("Constant", &[("value_ints", A::Ints(vec![5]))], &[], &i(&[1], &[5]));
    check("Constant", &[("value_int", A::Int(5))], &[], &i(&[], &[5]));
    check("Constant", &[("value_float", A::Float(0.5))], &[], &f(&[], &[0.5]));
    check_none("Constant", &[], &[]);
    check("ConstantOfShape", &[], &[&i(&[2], &[1, 2])], &f(&[1, 2], &[0.0, 0.0]));
    let one = ("value", A::Tensor(i(&[1], &[1])));
    check(
        "ConstantOfShape",
        std::slice::from_ref(&one),
        &[&i(&[1], &[3])],
        &i(&[3], &[1, 1, 1]),
    );
    check_none("ConstantOfShape", &[], &[&i(&[2], &[1 << 20, 1 << 20])]);
    check_none("ConstantOfShape", &[], &[&i(&[1], &[-1])]);
}

#[test]
fn shapes_and_ranges() {
    let x = f(&[2, 3], &[0.0; 6]);
    check("Shape", &[], &[&x], &i(&[2], &[2, 3]));
    check("Shape", &[("start", A::Int(-1))], &[&x], &i(&[1], &[3]));
    check(
        "Shape",
        &[("start", A::Int(0)), ("end", A::Int(1))],
        &[&x],
        &i(&[1], &[2]),
    );
    check("Size", &[], &[&x], &i(&[], &[6]));
    check(
        "Range",
        &[],
        &[&i(&[], &[1]), &i(&[], &[6]), &i(&[], &[2])],
        &i(&[3], &[1, 3, 5]),
    );
    check(
        "Range",
        &[],
        &[&i(&[], &[3]), &i(&[], &[0]), &i(&[], &[-2])],
        &i(&[2], &[3, 1]),
    );
    check(
        "Range",
        &[],
        &[&i(&[], &[3]), &i(&[], &[0]), &i(&[], &[1])],
        &i(&[0], &[]),
    );
    check_none("Range", &[], &[&i(&[], &[0]), &i(&[], &[i64::MAX]), &i(&[], &[1])]);
    check_none("Range", &[], &[&i(&[], &[0]), &i(&[], &[4]), &i(&[], &[0])]);
}

#[test]
fn casts() {
    check(
        "Cast",
        &[("to", A::Int(7))],
        &[&f(&[2], &[1.9, -1.9])],
        &i(&[2], &[1, -1]),
    );
    check("Cast", &[("to", A::Int(1))], &[&i(&[1], &[3])], &f(&[1], &[3.0]));
    check(
        "Cast",
        &[("to", A::Int(9))],
        &[&i(&[2], &[0, 7])],
        &boolean(&[2], &[0, 1]),
    );
    let half = Tensor::from_f64(DType::F16, &[], &[0.0]);
    check("CastLike", &[], &[&f(&[], &[0.0]), &half], &half);
    check_none("Cast", &[("to", A::Int(7))], &[&f(&[1], &[f32::NAN])]);
    check_none("Cast", &[("to", A::Int(8))], &[&f(&[1], &[1.0])]);
}

#[test]
fn arithmetic() {
    let x = f(&[2], &[1.0, 4.0]);
    check(
        "Add",
        &[],
        &[&x, &f(&[2, 1], &[1.0, 2.0])],
        &f(&[2, 2], &[2.0, 5.0, 3.0, 6.0]),
    );
    check("Sqrt", &[], &[&x], &f(&[2], &[1.0, 2.0]));
    check("Reciprocal", &[], &[&x], &f(&[2], &[1.0, 0.25]));
    check("Neg", &[], &[&i(&[1], &[3])], &i(&[1], &[-3]));
    check("Div", &[], &[&i(&[1], &[7]), &i(&[1], &[2])], &i(&[1], &[3]));
    check(
        "Equal",
        &[],
        &[&i(&[2], &[1, 2]), &i(&[], &[2])],
        &boolean(&[2], &[0, 1]),
    );
    check(
        "Where",
        &[],
        &[&boolean(&[2], &[0, 1]), &i(&[], &[9]), &i(&[2], &[1, 2])],
        &i(&[2], &[1, 9]),
    );
    check(
        "ReduceProd",
        &[("keepdims", A::Int(0))],
        &[&i(&[3], &[2, 3, 4])],
        &i(&[], &[24]),
    );
    check(
        "ReduceMean",
        &[("axes", A::Ints(vec![1]))],
        &[&f(&[1, 2], &[1.0, 2.0])],
        &f(&[1, 1], &[1.5]),
    );
    check(
        "ReduceL2",
        &[("axes", A::Ints(vec![1, 2]))],
        &[&f(&[2, 1, 2], &[3.0, 4.0, 0.0, 2.0])],
        &f(&[2, 1, 1], &[5.0, 2.0]),
    );
    check_none("Div", &[], &[&i(&[1], &[7]), &i(&[1], &[0])]);
    check_none("Mul", &[], &[&i(&[1], &[i64::MAX]), &i(&[1], &[2])]);
    check_none("Add", &[], &[&x, &i(&[2], &[1, 2])]);
    check_none("Add", &[], &[&x, &f(&[3], &[0.0; 3])]);
    check_none("Softmax", &[], &[&x]);
    let (a, b) = (f(&[2], &[1.0, 2.0]), f(&[1], &[1.0]));
    assert_eq!(
        run("Add", &[], &[Some(&a), Some(&b)], 6),
        None,
        "opset 6 has its own broadcasting"
    );
}
