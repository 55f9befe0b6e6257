//! The re-parameterizer.

pub mod kernel;
mod passes;
pub mod reason;
mod region;
pub mod report;
mod shapes;
