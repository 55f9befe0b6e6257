//! Any bytes as the header `baggage`.
#![no_main]

#[path = "../checks/baggage.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check(data));
