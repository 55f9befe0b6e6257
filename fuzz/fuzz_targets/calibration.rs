//! Any text as a calibration.json: an error, or a calibration that is written and read again, decodes its pictures and makes of the
//! built-in model an int8 graph or an error. Never a panic.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use repserve::graph::Model;
use repserve::onnx::{ExternalData, read, write};
use repserve::quantize::{Calibration, rewrite};
use repserve::reparam::{Options, reparameterize};

static DEPLOY: LazyLock<Model> = LazyLock::new(|| {
    let train = include_bytes!("../../models/repvgg-cifar10/model.onnx");
    let deployed = reparameterize(train, &Options::default()).expect("the built-in model fuses");
    read(deployed.onnx.into(), &ExternalData::None).expect("what is written can be read")
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(calibration) = Calibration::parse(text) {
        assert!(Calibration::parse(&calibration.to_text()).is_ok());
        let _ = calibration.gate_files();
        if let Ok(int8) = rewrite(DEPLOY.clone(), &calibration) {
            assert!(write(int8).is_ok());
        }
    }
});
