//! Any bytes as a form of images.
#![no_main]

#[path = "../checks/form.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check(data));
