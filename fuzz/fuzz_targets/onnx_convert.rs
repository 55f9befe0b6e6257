//! Any bytes as an ONNX model.
#![no_main]

#[path = "../checks/onnx_convert.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check(data));
