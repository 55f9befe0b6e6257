//! Any bytes as an image.
#![no_main]

#[path = "../checks/image_decode.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check(data));
