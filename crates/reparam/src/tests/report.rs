//! What the report says of the two graphs is what stands in the two files.

use bytes::Bytes;

use super::build::{Net, square};
use super::reread;
use crate::report::Report;
use crate::{Options, inspect, reparameterize};
use repserve_graph::onnx::{self, ExternalData};
use repserve_graph::{AttributeValue, Node, Tensor};

/// A file without a block, in which `Constant` nodes and a bias computed from them could be folded.
fn with_constants() -> Net {
    let mut net = Net::new(4);
    let x = net.input(&[4, 6, 6]);
    let constant = |net: &mut Net, value: Tensor| {
        net.push(Node::new("Constant", Vec::new(), Vec::new()).with("value", AttributeValue::Tensor(value)))
    };
    let zero = constant(&mut net, Tensor::from_f32(&[1], &[0.25]));
    let four = constant(&mut net, Tensor::from_i64(&[1], &[4]));
    let bias = net.op("Expand", &[zero, four]);
    let weight = net.constant(&[4, 4, 3, 3]);
    let y = net.op("Conv", &[x, weight, bias]);
    let y = net.relu(y);
    net.output(y);
    net
}

/// Checks the report of `bytes` against what was written, and against what `inspect` says.
fn check(bytes: &[u8], options: &Options) -> (Vec<u8>, Report) {
    let deployed = reparameterize(bytes, options).expect("reparameterizes");
    let report = deployed.report;
    let written = reread(&deployed.onnx).graph;
    assert_eq!(report.deploy.operators, written.op_counts());
    assert_eq!(report.deploy.parameters, written.parameter_count());
    let hash = reparameterize(&deployed.onnx, &Options::default()).expect("reparameterizes again");
    assert_eq!(report.deploy.sha256, hash.report.source.sha256);
    assert_eq!(
        inspect(Bytes::copy_from_slice(bytes), options).expect("inspects"),
        report
    );
    (deployed.onnx, report)
}

#[test]
fn a_block_was_fused() {
    let mut net = with_constants();
    let y = net.graph.outputs[0];
    let z = net.conv_bn(y, [4, 4], &square(3));
    net.graph.outputs = Vec::new().into();
    net.output(z);
    let (_, report) = check(&onnx::write(net.model()).expect("writes"), &Options::default());
    assert_eq!((report.deploy.count("Constant"), report.blocks.len()), (0, 1));
}

#[test]
fn nothing_but_constants_could_be_folded() {
    let bytes = onnx::write(with_constants().model()).expect("writes");
    let (written, report) = check(&bytes, &Options::default());
    assert!(written == bytes);
    assert_eq!(report.source, report.deploy);
}

#[test]
fn nothing_but_constants_could_be_folded_and_weights_lie_beside() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut net = with_constants();
    let (id, weight) = net
        .graph
        .constants()
        .next()
        .map(|(id, t)| (id, t.clone()))
        .expect("weights");
    std::fs::write(folder.path().join("weights"), weight.data()).expect("writes");
    // `external_data { key: "location" value: "weights" }` and `data_location: EXTERNAL`.
    let entry = b"\x6a\x13\x0a\x08location\x12\x07weights\x70\x01";
    net.graph
        .set_constant(id, weight.with_opaque(Bytes::from_static(entry)));
    let options = Options {
        external: ExternalData::Folder(folder.path().to_owned()),
        ..Options::default()
    };
    let bytes = onnx::write(net.model()).expect("writes");
    assert!(
        reparameterize(&bytes, &Options::default()).is_err(),
        "the weights lie beside the file"
    );
    let (_, report) = check(&bytes, &options);
    assert_eq!(report.deploy.count("Constant"), 2);
}

#[test]
fn a_file_that_was_rewritten_names_its_tool() {
    let mut net = Net::new(7);
    let x = net.input(&[4, 6, 6]);
    let y = net.conv_bn(x, [4, 4], &square(3));
    net.output(y);
    let outcome = super::fuse(&net);
    assert_eq!(outcome.train.producer_name, "tests");
    assert_eq!(outcome.deploy.producer_name, "repserve");
    assert_eq!(outcome.deploy.producer_version, env!("CARGO_PKG_VERSION"));
}
