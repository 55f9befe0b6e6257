//! Operators decoded once: what a node computes, as a typed value, for every part that reads nodes.
//!
//! A decoder (`Conv::of(view)` and its like) reads attributes, defaults and constant operands as the ONNX standard gives them for the
//! graph's operator set. It returns `None` for a node of another operator, and an [`OperatorError`] for one that is odd: never a guess.
//! [`Operator`] is the table of what parts that treat operators alike want to know of each.

mod axes;
mod channelwise;
mod conv;
mod error;
mod matrix;
mod movement;
mod pool;
mod table;
#[cfg(test)]
mod tests;
mod view;
mod window;

pub use axes::{Concat, Flatten, Gather, Reduction, Squeeze, Unsqueeze};
pub use channelwise::{BatchNormalization, Clip};
pub use conv::{Conv, MICROSOFT_DOMAIN, QLinearConv, QuantizedInputs};
pub use error::OperatorError;
pub use matrix::{Gemm, QGemm};
pub use movement::{AxisCut, Cast, Pad, Reshape, ReshapeExtent, ShapeOf, Slice, Transpose};
pub use pool::Pool;
pub use table::{Elementwise, MovedInputs, Operator, ShapeRule};
pub use view::{GraphView, NodeView, axis_of};
pub use window::{ImageWindow, SamePadding, Window};
