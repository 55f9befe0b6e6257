//! `repserve`: an HTTP server for convolutional classifiers. What it is made of stands in `crates/`; here are the server and its
//! command line.

pub mod app;
pub mod classify;
pub mod cli;
pub mod config;
pub mod http;
pub mod model;
mod niceness;
pub mod repository;
pub mod telemetry;
