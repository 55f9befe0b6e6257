//! Convolution arithmetic alone: slices in, slices out. No ONNX Runtime and no graph; `runtime/` registers it as operators.
//!
//! Activations are *blocked*: `[N, ⌈C/B⌉, H, W, B]` with `B` the vector width of the instruction set, so that one load takes one
//! pixel of `B` channels. [`layout`] converts, [`geometry`] says what a layer is, [`cost`] which algorithm it gets, [`conv`] runs it,
//! [`winograd`] and [`direct`] are its two algorithms. [`int8`] computes on 8-bit codes in NHWC. `vector` is the only module with `unsafe`
//! and the only one that knows instruction sets.

pub mod conv;
pub mod executor;
pub mod int8;
pub mod layout;

mod band;
mod cost;
mod direct;
mod geometry;
mod layer;
mod scratch;
mod vector;
mod winograd;

#[cfg(test)]
mod tests;

pub use conv::PreparedConv;
pub use cost::fastest;
pub use executor::{Executor, Sequential};
pub use geometry::{Algorithm, Convolution, KernelError, SourceLayout, supports};
pub use int8::PreparedInt8Conv;
pub use vector::{CodeIsa, Isa};
