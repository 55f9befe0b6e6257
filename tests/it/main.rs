//! The integration tests, one binary: the real server on port 0 with the real ONNX Runtime.
//!
//! The library is found through `ORT_DYLIB_PATH` or in `.onnxruntime/`; `make onnxruntime` fetches it there.

#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub, reason = "a test binary has no outside")]

mod auto_pad;
mod back_pressure;
mod bodies;
mod broken_images;
mod cache;
mod classifiers;
mod cli;
mod config;
mod corpora;
mod drain;
mod embeddings;
mod errors;
mod eval;
mod faults;
mod fuzz;
mod grpc;
mod hostile;
mod http2;
mod int8_graphs;
mod kernels;
mod killed;
mod limits;
mod loading;
mod memory;
mod metrics;
mod pictures;
mod predictions;
mod preprocess;
mod quantize;
mod repository;
mod scheduling;
mod secure;
mod service_manager;
mod soak;
#[allow(dead_code, reason = "each test binary uses its part")]
mod support;
#[cfg(feature = "otlp")]
mod traces;
mod v2;
