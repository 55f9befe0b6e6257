//! Operators decoded once: what a node computes, as a typed value, for every part that reads nodes.
//!
//! A decoder (`Conv::of(view)` and its like) reads attributes, defaults and constant operands as the ONNX standard gives them for the
//! graph's operator set. It returns `None` for a node of another operator, and an [`OperatorError`] for one that is odd: never a guess.
//! [`Operator`] is the table of what parts that treat operators alike want to know of each. No other crate reads attributes, or inputs by
//! their position.

mod arithmetic;
mod axes;
mod channelwise;
mod constant;
mod conv;
mod conv_transpose;
mod error;
mod matrix;
mod movement;
mod pool;
mod quantized_sum;
mod scatter;
mod table;
#[cfg(test)]
mod tests;
mod view;
mod window;

pub use arithmetic::{Alignment, Scaling, Sum};
pub use axes::{Concat, Flatten, Gather, Reduction, Squeeze, Unsqueeze};
pub use channelwise::{BatchNormalization, Clip, Dropout};
pub use constant::{Constant, ConstantOfShape};
pub use conv::{Conv, MICROSOFT_DOMAIN, QLinearConv, QuantizedInputs};
pub use conv_transpose::ConvTranspose;
pub use error::OperatorError;
pub use matrix::{Gemm, MatMul, QGemm};
pub use movement::{AxisCut, Cast, Expand, Pad, Reshape, ReshapeExtent, ShapeOf, Slice, Transpose};
pub use pool::{GlobalAverage, Pool};
pub use quantized_sum::QLinearAdd;
pub use scatter::Scatter;
pub use table::{Elementwise, LinearForm, MovedInputs, Operator, ShapeRule};
pub use view::{GraphView, NodeView, axis_of};
pub use window::{ImageWindow, SamePadding, Window};
