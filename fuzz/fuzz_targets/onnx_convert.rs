//! Any bytes as an ONNX model: reading and fusing must end in a model or an error, and what is written must be readable.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use repserve::onnx::{ExternalData, read};
use repserve::reparam::{Options, reparameterize};

fuzz_target!(|data: &[u8]| {
    if let Ok(deployed) = reparameterize(data, &Options::default()) {
        assert!(read(Bytes::from(deployed.onnx), &ExternalData::None).is_ok());
    }
});
