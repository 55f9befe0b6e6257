//! Any text as a calibration.json.
#![no_main]

#[path = "../checks/calibration.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check(data));
