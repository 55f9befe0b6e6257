//! Any text as a calibration.json: an error, or a calibration that can be written and read again, and that makes of the built-in
//! model an int8 graph or an error.

use std::sync::LazyLock;

use repserve_graph::Model;
use repserve_graph::onnx::{ExternalData, read, write};
use repserve_quantize::{Calibration, rewrite};
use repserve_reparam::{Options, reparameterize};

static DEPLOY: LazyLock<Model> = LazyLock::new(|| {
    let train = include_bytes!("../../models/repvgg-cifar10/model.onnx");
    let deployed = reparameterize(train, &Options::default()).expect("the built-in model fuses");
    read(deployed.onnx.into(), &ExternalData::None).expect("what is written can be read")
});

/// Checks one input.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(calibration) = Calibration::parse(text) else {
        return;
    };
    Calibration::parse(&calibration.to_text()).expect("what is written can be read");
    let _ = calibration.gate_files();
    if let Ok(int8) = rewrite(DEPLOY.clone(), &calibration) {
        write(int8).expect("an int8 graph can be written");
    }
}
