//! Operators that move elements, in old and new operator sets.

use super::*;

#[test]
fn reshapes_in_old_and_new_operator_sets() {
    let x = i(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    check("Reshape", &[], &[&x, &i(&[2], &[0, -1])], &x);
    check(
        "Reshape",
        &[],
        &[&x, &i(&[2], &[3, 2])],
        &i(&[3, 2], &[1, 2, 3, 4, 5, 6]),
    );
    check(
        "Reshape",
        &[("shape", A::Ints(vec![-1]))],
        &[&x],
        &i(&[6], &[1, 2, 3, 4, 5, 6]),
    );
    check_none("Reshape", &[], &[&x, &i(&[2], &[4, -1])]);
    check(
        "Flatten",
        &[("axis", A::Int(2))],
        &[&x],
        &i(&[6, 1], &[1, 2, 3, 4, 5, 6]),
    );
    check("Flatten", &[("axis", A::Int(-1))], &[&x], &x);
    let y = i(&[1, 2, 1], &[1, 2]);
    check("Squeeze", &[("axes", A::Ints(vec![0]))], &[&y], &i(&[2, 1], &[1, 2]));
    check("Squeeze", &[], &[&y, &i(&[1], &[-1])], &i(&[1, 2], &[1, 2]));
    check("Squeeze", &[], &[&y], &i(&[2], &[1, 2]));
    check_none("Squeeze", &[("axes", A::Ints(vec![1]))], &[&y]);
    check(
        "Unsqueeze",
        &[("axes", A::Ints(vec![0, 2]))],
        &[&i(&[2], &[1, 2])],
        &i(&[1, 2, 1], &[1, 2]),
    );
    check(
        "Unsqueeze",
        &[],
        &[&i(&[2], &[1, 2]), &i(&[1], &[-1])],
        &i(&[2, 1], &[1, 2]),
    );
}

#[test]
fn movement() {
    let x = i(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    check("Transpose", &[], &[&x], &i(&[3, 2], &[1, 4, 2, 5, 3, 6]));
    check_none("Transpose", &[("perm", A::Ints(vec![0, 0]))], &[&x]);
    check(
        "Expand",
        &[],
        &[&i(&[2, 1], &[1, 2]), &i(&[2], &[1, 2])],
        &i(&[2, 2], &[1, 1, 2, 2]),
    );
    check_none("Expand", &[], &[&i(&[1], &[1]), &i(&[2], &[1 << 30, 1 << 30])]);
    check(
        "Concat",
        &[("axis", A::Int(-1))],
        &[&x, &i(&[2, 1], &[7, 8])],
        &i(&[2, 4], &[1, 2, 3, 7, 4, 5, 6, 8]),
    );
    check(
        "Gather",
        &[("axis", A::Int(1))],
        &[&x, &i(&[2], &[-1, 0])],
        &i(&[2, 2], &[3, 1, 6, 4]),
    );
    check("Gather", &[], &[&x, &i(&[], &[1])], &i(&[3], &[4, 5, 6]));
    check_none("Gather", &[], &[&x, &i(&[], &[2])]);
    check("Identity", &[], &[&x], &x);
}

#[test]
fn slices_in_old_and_new_operator_sets() {
    let x = i(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let old = [
        ("starts", A::Ints(vec![1])),
        ("ends", A::Ints(vec![i64::MAX])),
        ("axes", A::Ints(vec![1])),
    ];
    check("Slice", &old, &[&x], &i(&[2, 2], &[2, 3, 5, 6]));
    let one = |v| i(&[1], &[v]);
    check(
        "Slice",
        &[],
        &[&x, &one(-1), &one(-9), &one(1), &one(-1)],
        &i(&[2, 3], &[3, 2, 1, 6, 5, 4]),
    );
    check(
        "Slice",
        &[],
        &[&x, &one(0), &one(3), &one(1), &one(2)],
        &i(&[2, 2], &[1, 3, 4, 6]),
    );
    check("Slice", &[], &[&x, &one(2), &one(1)], &i(&[0, 3], &[]));
    check(
        "Slice",
        &[],
        &[&i(&[0], &[]), &one(0), &one(1), &one(0), &one(-1)],
        &i(&[0], &[]),
    );
    check_none("Slice", &[], &[&x, &one(0), &one(3), &one(1), &one(0)]);
    check(
        "Slice",
        &[],
        &[&x, &one(0), &one(i64::MAX), &one(1), &one(i64::MAX)],
        &i(&[2, 1], &[1, 4]),
    );
    check(
        "Slice",
        &[],
        &[&x, &one(2), &one(i64::MIN), &one(1), &one(-i64::MAX)],
        &i(&[2, 1], &[3, 6]),
    );
}

#[test]
fn pads_and_scatters() {
    let x = f(&[1, 2], &[1.0, 2.0]);
    check(
        "Pad",
        &[],
        &[&x, &i(&[4], &[0, 1, 1, 0])],
        &f(&[2, 3], &[0.0, 1.0, 2.0, 0.0, 0.0, 0.0]),
    );
    check(
        "Pad",
        &[("pads", A::Ints(vec![0, 0, 0, 1])), ("value", A::Float(5.0))],
        &[&x],
        &f(&[1, 3], &[1.0, 2.0, 5.0]),
    );
    check_none(
        "Pad",
        &[("mode", A::String("reflect".into()))],
        &[&x, &i(&[4], &[0, 1, 0, 1])],
    );
    check_none("Pad", &[], &[&x, &i(&[4], &[0, i64::MAX, 0, i64::MAX])]);
    let y = i(&[2, 2], &[1, 2, 3, 4]);
    check(
        "ScatterND",
        &[],
        &[&y, &i(&[1, 1], &[-1]), &i(&[1, 2], &[8, 9])],
        &i(&[2, 2], &[1, 2, 8, 9]),
    );
    check(
        "ScatterND",
        &[],
        &[&y, &i(&[1, 2], &[0, 1]), &i(&[1], &[8])],
        &i(&[2, 2], &[1, 8, 3, 4]),
    );
    check_none("ScatterND", &[], &[&y, &i(&[1, 1], &[2]), &i(&[1, 2], &[8, 9])]);
    check_none(
        "ScatterND",
        &[("reduction", A::String("add".into()))],
        &[&y, &i(&[1, 1], &[0]), &i(&[1, 2], &[8, 9])],
    );
    check(
        "ScatterElements",
        &[("axis", A::Int(1))],
        &[&y, &i(&[2, 1], &[1, 0]), &i(&[2, 1], &[8, 9])],
        &i(&[2, 2], &[1, 8, 9, 4]),
    );
}
