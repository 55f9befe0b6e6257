//! Graphs in which there is nothing to do, or nothing that may be done.

use super::build::{Net, square};
use super::fuse;
use crate::reason::Reason;
use repserve_graph::Node;

const C: usize = 4;

#[test]
fn quantization_inside_a_branch() {
    let mut net = Net::new(1);
    let x = net.input(&[C, 8, 8]);
    let a = net.conv_bn(x, [C, C], &square(3));
    let scale = net.given(&[], &[0.1]);
    let q = net.op("QuantizeLinear", &[a, scale]);
    let a = net.op("DequantizeLinear", &[q, scale]);
    let b = net.conv_bn(x, [C, C], &square(1));
    let y = net.add(a, b);
    net.output(y);
    let bytes = repserve_graph::onnx::write(net.model()).expect("writes");
    let report = crate::reparameterize(&bytes, &Default::default()).expect("runs").report;
    assert_eq!(report.deploy.count("Conv"), 2);
    assert!(
        report.refusals.iter().any(|r| matches!(r.reason, Reason::Quantized(_))),
        "{report}"
    );
}

#[test]
fn depthwise_separable_convolutions_stay_apart() {
    let mut net = Net::new(2);
    let x = net.input(&[C, 8, 8]);
    let y = net.conv_bn(x, [C, C], &square(3).groups(C));
    let y = net.conv_bn(y, [C, 8], &square(1));
    net.output(y);
    let outcome = fuse(&net);
    assert_eq!((outcome.count("Conv"), outcome.report.deploy.nodes()), (2, 2));
    assert!(outcome.report.refusals.is_empty());
}

#[test]
fn a_fused_graph_comes_out_byte_for_byte() {
    let mut net = Net::new(2);
    let x = net.input(&[C, 8, 8]);
    let y = net.conv(x, [C, 8], &square(3).bias());
    let y = net.relu(y);
    let y = net.push(Node::new("Conv", vec![y, y], Vec::new()));
    net.output(y);
    let bytes = repserve_graph::onnx::write(net.model()).expect("writes");
    let deployed = crate::reparameterize(&bytes, &Default::default()).expect("runs");
    assert!(deployed.onnx == bytes);
    assert_eq!(deployed.report.source, deployed.report.deploy);
}

#[test]
fn an_output_that_does_not_exist() {
    let mut net = Net::new(2);
    let x = net.input(&[C, 8, 8]);
    net.output(x);
    let bytes = repserve_graph::onnx::write(net.model()).expect("writes");
    let options = crate::Options {
        output: Some("logits".into()),
        ..Default::default()
    };
    let error = crate::reparameterize(&bytes, &options).expect_err("no such output");
    assert_eq!(
        error.to_string(),
        "the model has no output \"logits\"; its outputs are: input"
    );
}
