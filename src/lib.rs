//! `repserve` turns train-time convolutional classifiers into their deploy form and serves them over HTTP.
//!
//! The floors, from the ground up; each looks only at those above it in this list.

pub mod graph;
pub mod onnx;
pub mod reparam;

#[cfg(feature = "serve")]
pub mod kernels;
#[cfg(feature = "serve")]
pub mod quantize;

#[cfg(feature = "serve")]
pub mod batch;
#[cfg(feature = "serve")]
pub mod image;
#[cfg(feature = "serve")]
pub mod runtime;

#[cfg(feature = "serve")]
pub mod model;
#[cfg(feature = "serve")]
pub mod telemetry;

#[cfg(feature = "serve")]
pub mod classify;

#[cfg(feature = "serve")]
pub mod http;

#[cfg(feature = "serve")]
pub mod config;

#[cfg(feature = "serve")]
pub mod app;
#[cfg(feature = "serve")]
pub mod bench;
#[cfg(feature = "serve")]
pub mod cli;

#[cfg(test)]
mod floors;
