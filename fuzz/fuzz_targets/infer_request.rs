//! Any bytes as an inference request.
#![no_main]

#[path = "../checks/infer_request.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check(data));
