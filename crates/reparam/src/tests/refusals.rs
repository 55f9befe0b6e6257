//! Graphs that must stay as they are, each with its reason in the report.

use super::build::{Net, square};
use super::fuse;
use crate::reason::Reason;
use repserve_graph::{AttributeValue, DType, Dim, Tensor, Value, ValueId};

const C: usize = 4;

/// Builds a block and checks that `convs` convolutions are left and that a refusal has a reason that `expected` accepts.
fn check(convs: usize, expected: impl Fn(&Reason) -> bool, block: impl FnOnce(&mut Net, ValueId) -> ValueId) {
    let mut net = Net::new(11);
    let input = net.input(&[C, 8, 7]);
    let x = net.relu(input);
    let y = block(&mut net, x);
    let y = net.relu(y);
    net.output(y);
    let outcome = fuse(&net);
    assert_eq!(outcome.count("Conv"), convs, "{}", outcome.report);
    assert!(outcome.error <= 1e-6, "error {}", outcome.error);
    let found = outcome
        .report
        .refusals
        .iter()
        .any(|r| expected(&r.reason) && !r.nodes.is_empty());
    assert!(found, "{}", outcome.report);
}

fn attribute(net: &mut Net, value: ValueId, name: &str, to: AttributeValue) {
    let id = net.graph.producer(value).expect("a node");
    let mut node = net.graph.node_mut(id).expect("a node");
    node.attributes.retain(|a| a.name != name);
    *node = node.clone().with(name, to);
}

#[test]
fn batch_normalization_in_training_mode() {
    check(
        1,
        |r| matches!(r, Reason::TrainingMode(_)),
        |net, x| {
            let y = net.conv_bn(x, [C, C], &square(3));
            attribute(net, y, "training_mode", AttributeValue::Int(1));
            y
        },
    );
}

#[test]
fn dropout_in_training_mode() {
    check(
        2,
        |r| matches!(r, Reason::TrainingMode(_)),
        |net, x| {
            let a = net.conv(x, [C, C], &square(3));
            let ratio = net.given(&[], &[0.5]);
            let on = Tensor::new(DType::Bool, Vec::new(), vec![1u8].into()).expect("a flag");
            let on = net.graph.add_constant("training", on);
            let a = net.op("Dropout", &[a, ratio, on]);
            let b = net.conv(x, [C, C], &square(1));
            net.add(a, b)
        },
    );
}

#[test]
fn weights_that_are_not_constant() {
    check(
        2,
        |r| matches!(r, Reason::DynamicWeights(_)),
        |net, x| {
            let dynamic = net.graph.add_value(Value {
                dtype: Some(DType::F32),
                shape: Some([C, C, 1, 1].iter().map(|n| Dim::Fixed(*n)).collect()),
                ..Value::named("weights")
            });
            net.graph.inputs.push(dynamic);
            let a = net.op("Conv", &[x, dynamic]);
            let b = net.conv(x, [C, C], &square(3));
            net.add(a, b)
        },
    );
}

#[test]
fn a_reflecting_border() {
    check(
        1,
        |r| matches!(r, Reason::PadMode(m) if m == "reflect"),
        |net, x| {
            let y = net.pad(x, 1, "reflect");
            net.conv_bn(y, [C, C], &square(3).unpadded())
        },
    );
}

#[test]
fn an_inner_value_used_elsewhere() {
    check(
        2,
        |r| matches!(r, Reason::UsedElsewhere(_)),
        |net, x| {
            let inner = net.conv(x, [C, C], &square(3));
            let a = net.bn(inner, C);
            let b = net.conv_bn(x, [C, C], &square(1));
            let y = net.add(a, b);
            let other = net.op("Sigmoid", &[inner]);
            net.op("Mul", &[y, other])
        },
    );
}

#[test]
fn an_inner_value_that_is_an_output() {
    check(
        2,
        |r| matches!(r, Reason::GraphOutput(_)),
        |net, x| {
            let a = net.conv_bn(x, [C, C], &square(3));
            net.output(a);
            let b = net.conv_bn(x, [C, C], &square(1));
            net.add(a, b)
        },
    );
}

#[test]
fn an_activation_inside_a_branch() {
    check(
        2,
        |r| matches!(r, Reason::NotLinear(op) if op == "Relu"),
        |net, x| {
            let a = net.conv_bn(x, [C, C], &square(3));
            let a = net.relu(a);
            let b = net.conv_bn(x, [C, C], &square(1));
            net.add(a, b)
        },
    );
}

#[test]
fn unequal_strides() {
    check(
        2,
        |r| *r == Reason::UnequalStrides,
        |net, x| {
            let half = net.pool(x, &square(1).stride(2), false);
            let a = net.conv(x, [C, C], &square(3).stride(4));
            let b = net.conv(half, [C, C], &square(1).stride(1));
            let b = net.pad(b, -1, "constant");
            net.add(a, b)
        },
    );
}

#[test]
fn batch_normalization_before_a_padded_window() {
    check(
        1,
        |r| *r == Reason::ShiftBeforePadding,
        |net, x| {
            let y = net.bn(x, C);
            net.conv(y, [C, C], &square(3))
        },
    );
}

#[test]
fn a_serial_branch_with_zero_padding_in_the_middle() {
    check(
        3,
        |r| *r == Reason::ShiftBeforePadding,
        |net, x| {
            let a = net.conv_bn(x, [C, C], &square(1));
            let a = net.conv_bn(a, [C, C], &square(3));
            let b = net.conv_bn(x, [C, C], &square(3));
            net.add(a, b)
        },
    );
}

#[test]
fn windows_behind_windows_with_padding() {
    check(
        3,
        |r| *r == Reason::WindowBeforePadding,
        |net, x| {
            let a = net.conv(x, [C, C], &square(3));
            let a = net.conv(a, [C, C], &square(3));
            let b = net.conv(x, [C, C], &square(5));
            net.add(a, b)
        },
    );
}

#[test]
fn a_border_of_another_value() {
    check(
        3,
        |r| *r == Reason::PaddingValue,
        |net, x| {
            let a = net.conv(x, [C, C], &square(1).bias());
            let pads = Tensor::from_i64(&[8], &[0, 0, 1, 1, 0, 0, 1, 1]);
            let pads = net.graph.add_constant("pads", pads);
            let value = net.given(&[], &[0.3]);
            let a = net.op("Pad", &[a, pads, value]);
            let a = net.conv(a, [C, C], &square(3).unpadded());
            let b = net.conv(x, [C, C], &square(3));
            net.add(a, b)
        },
    );
}

#[test]
fn a_padded_pool_that_does_not_count_its_padding() {
    check(
        2,
        |r| *r == Reason::PoolCount,
        |net, x| {
            let a = net.conv(x, [C, C], &square(1));
            let a = net.pool(a, &square(3), false);
            let b = net.conv(x, [C, C], &square(3));
            net.add(a, b)
        },
    );
}

#[test]
fn odd_attributes_are_no_guesses() {
    for (name, value) in [
        ("auto_pad", AttributeValue::Int(1)),
        ("group", AttributeValue::Float(1.0)),
        ("strides", AttributeValue::Int(1)),
    ] {
        let mut net = Net::new(5);
        let x = net.input(&[C, 8, 8]);
        let a = net.conv(x, [C, C], &square(3));
        attribute(&mut net, a, name, value);
        let b = net.conv(x, [C, C], &square(1));
        let y = net.add(a, b);
        net.output(y);
        let bytes = repserve_graph::onnx::write(net.model()).expect("writes");
        let deployed = crate::reparameterize(&bytes, &crate::Options::default()).expect("reparameterizes");
        assert!(deployed.report.blocks.is_empty(), "{name}: {}", deployed.report);
    }
}

#[test]
fn a_pool_that_rounds_up() {
    check(
        2,
        |r| *r == Reason::CeilMode,
        |net, x| {
            let a = net.conv(x, [C, C], &square(1));
            let a = net.pool(a, &square(2).unpadded().stride(2), false);
            attribute(net, a, "ceil_mode", AttributeValue::Int(1));
            let b = net.conv(x, [C, C], &square(1).stride(2));
            net.add(a, b)
        },
    );
}

#[test]
fn a_constant_that_differs_from_pixel_to_pixel() {
    check(
        2,
        |r| matches!(r, Reason::NotPerChannel(_)),
        |net, x| {
            let a = net.conv(x, [C, C], &square(3));
            let position = net.constant(&[1, 1, 8, 7]);
            let a = net.add(a, position);
            let b = net.conv(x, [C, C], &square(1));
            net.add(a, b)
        },
    );
}

#[test]
fn a_sum_that_broadcasts() {
    check(
        2,
        |r| matches!(r, Reason::Broadcast(1, 4)),
        |net, x| {
            let a = net.conv(x, [C, C], &square(3));
            let b = net.conv(x, [C, 1], &square(1));
            net.add(a, b)
        },
    );
}

#[test]
fn a_depthwise_and_a_dense_branch_would_cost_too_much() {
    check(
        2,
        |r| matches!(r, Reason::Costly { .. }),
        |net, x| {
            let a = net.conv(x, [C, C], &square(5).groups(C));
            let b = net.conv(x, [C, C], &square(1));
            net.add(a, b)
        },
    );
}
