//! Any bytes as an inference request over gRPC.
#![no_main]

#[path = "../checks/grpc_request.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check(data));
