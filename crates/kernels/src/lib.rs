//! Convolutions on a CPU: slices in, slices out. No ONNX Runtime and no graph: `repserve-runtime` registers it as operators.
//!
//! Activations are *blocked*: `[N, ⌈C/B⌉, H, W, B]` with `B` the vector width of the instruction set, so that one load takes one
//! pixel of `B` channels. [`layout`] converts, [`geometry`] says what a layer is, [`cost`] which algorithm it gets, [`conv`] runs it,
//! [`winograd`] and [`direct`] are its two algorithms. [`int8`] computes on 8-bit quantized values in NHWC, depthwise layers, residual sums and chains of layers too. `vector` is the only module
//! with `unsafe` and the only one that knows instruction sets.
//!
//! ```
//! use repserve_kernels::layout::{Extent, from_blocked};
//! use repserve_kernels::{Algorithm, Convolution, Isa, PreparedConv, Sequential, SourceLayout};
//!
//! // The sums over 2x2 windows of a 3x3 image, plus a bias.
//! let conv = Convolution {
//!     in_channels: 1,
//!     out_channels: 1,
//!     groups: 1,
//!     kernel: [2, 2],
//!     strides: [1, 1],
//!     pads: [0; 4],
//!     relu: false,
//! };
//! let isa = Isa::detect();
//! let layer = PreparedConv::new(conv, Algorithm::Direct, SourceLayout::Nchw, isa, &[1.0; 4], Some(&[0.5]))?;
//!
//! let input = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
//! let output = Extent { images: 1, channels: 1, height: 2, width: 2 };
//! let mut blocked = vec![0.0; output.len_blocked(isa.lanes())];
//! layer.run(&input, [1, 3, 3], None, &mut blocked, &Sequential)?;
//!
//! let mut sums = [0.0; 4];
//! from_blocked(&blocked, output, isa.lanes(), &mut sums);
//! assert_eq!(sums, [12.5, 16.5, 24.5, 28.5]);
//! # Ok::<(), repserve_kernels::KernelError>(())
//! ```

pub mod conv;
pub mod executor;
pub mod int8;
pub mod layout;

mod band;
mod cost;
mod direct;
mod geometry;
mod layer;
mod phases;
mod scratch;
mod vector;
mod winograd;

#[cfg(test)]
mod tests;

pub use conv::PreparedConv;
pub use cost::fastest;
pub use executor::{Executor, Sequential};
pub use geometry::{Algorithm, Convolution, KernelError, SourceLayout, supports};
pub use int8::{
    Finer, FinerNumbers, FloatDepthwise, Int8Bytes, Int8Chain, Int8ChainMemory, Int8Step, PreparedInt8Conv,
};
pub use vector::{Int8Isa, Int8Sum, Isa};
