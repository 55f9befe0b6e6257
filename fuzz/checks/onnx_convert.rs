//! Any bytes as an ONNX model: reading and fusing end in a model or an error, what is written can be read, is final and is
//! reported as it is.

use bytes::Bytes;
use repserve_graph::onnx::{ExternalData, read};
use repserve_reparam::{Options, reparameterize};

/// Checks one input.
pub fn check(data: &[u8]) {
    let Ok(deployed) = reparameterize(data, &Options::default()) else {
        return;
    };
    let written =
        read(Bytes::copy_from_slice(&deployed.onnx), &ExternalData::None).expect("what is written can be read");
    assert_eq!(written.graph.op_counts(), deployed.report.deploy.operators);
    let again = reparameterize(&deployed.onnx, &Options::default()).expect("what is written can be converted");
    assert!(
        again.report.blocks.is_empty(),
        "a second run fuses nothing: {}",
        again.report
    );
}
