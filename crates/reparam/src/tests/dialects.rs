//! The same block in other element types and older operator sets.

use super::build::{Net, square};
use super::fuse;
use repserve_graph::{AttributeValue, DType, ValueId};

const C: usize = 8;

/// Builds a RepVGG block and checks that one convolution is left, within `tolerance`.
fn check(opset: i64, dtype: DType, tolerance: f64, change: impl FnOnce(&mut Net, ValueId)) {
    let mut net = Net::new(opset as u64);
    (net.opset, net.dtype) = (opset, dtype);
    let x = net.input(&[C, 7, 7]);
    let a = net.conv_bn(x, [C, C], &square(3));
    change(&mut net, a);
    let b = net.conv(x, [C, C], &square(1).bias());
    let y = net.add(a, b);
    net.output(y);
    let outcome = fuse(&net);
    assert_eq!(outcome.report.deploy.nodes(), 1, "{}", outcome.report);
    let weight = outcome
        .deploy
        .graph
        .nodes()
        .next()
        .and_then(|(_, n)| n.input(1))
        .expect("weights");
    assert_eq!(outcome.deploy.graph.constant(weight).map(|t| t.dtype()), Some(dtype));
    assert!(outcome.error <= tolerance, "error {}", outcome.error);
}

#[test]
fn half_precision_is_rounded_once() {
    check(17, DType::F16, 2e-3, |_, _| {});
}

#[test]
fn brain_floats_are_rounded_once() {
    check(17, DType::BF16, 1.6e-2, |_, _| {});
}

#[test]
fn doubles_stay_doubles() {
    check(17, DType::F64, 1e-14, |_, _| {});
}

#[test]
fn batch_normalization_of_operator_set_6_says_that_it_tests() {
    check(6, DType::F32, 1e-6, |net, bn| {
        let id = net.graph.producer(bn).expect("a node");
        let mut node = net.graph.node_mut(id).expect("a node");
        *node = node
            .clone()
            .with("is_test", AttributeValue::Int(1))
            .with("spatial", AttributeValue::Int(1));
    });
}

/// Two parallel 3x3 convolutions of this padding and stride become one.
#[track_caller]
fn check_auto_pad(auto_pad: &str, stride: usize) {
    let mut net = Net::new(3);
    let x = net.input(&[C, 9, 8]);
    let branches = [(); 2].map(|()| {
        let branch = net.conv(x, [C, C], &square(3).unpadded().stride(stride));
        let id = net.graph.producer(branch).expect("a node");
        let mut node = net.graph.node_mut(id).expect("a node");
        node.attributes.retain(|attribute| attribute.name != "pads");
        *node = node
            .clone()
            .with("auto_pad", AttributeValue::String(auto_pad.to_owned().into()));
        branch
    });
    let y = net.add(branches[0], branches[1]);
    net.output(y);
    let outcome = fuse(&net);
    assert_eq!(outcome.report.deploy.nodes(), 1, "{}", outcome.report);
    assert!(outcome.error <= 1e-6, "error {}", outcome.error);
}

#[test]
fn branches_of_every_auto_pad_are_merged() {
    for stride in [1, 2] {
        for auto_pad in ["NOTSET", "", "VALID", "SAME_UPPER", "SAME_LOWER"] {
            check_auto_pad(auto_pad, stride);
        }
    }
}
