//! The intermediate representation: what a model computes, without protobuf and without a runtime.
//!
//! A [`Model`] owns one [`Graph`]: nodes that produce values, values that carry constants. Values and nodes are
//! named by index ([`ValueId`], [`NodeId`]) and never move; an edit is a value of its own ([`Patch`]). What makes a
//! graph valid stands in the header of [`verify`]. [`onnx`] reads and writes bytes, [`shapes`] infers shapes, [`ops`] says
//! what a node computes. [`parallel`] shares out work to all cores.
//!
//! ```
//! use repserve_graph::ops::{Conv, GraphView};
//! use repserve_graph::shapes::Shapes;
//! use repserve_graph::{AttributeValue, Dim, Graph, Node, Tensor, Value, verify};
//!
//! let mut graph = Graph::default();
//! let x = graph.add_value(Value {
//!     shape: Some([1, 3, 8, 8].map(Dim::Fixed).to_vec()),
//!     ..Value::named("x")
//! });
//! graph.inputs.push(x);
//! let weights = graph.add_constant("w", Tensor::from_f32(&[4, 3, 3, 3], &[0.1; 108]));
//! let y = graph.add_value(Value::named("y"));
//! let same = AttributeValue::String("SAME_UPPER".into());
//! let conv = Node::new("Conv", vec![x, weights], vec![y])
//!     .with("auto_pad", same)
//!     .with("strides", AttributeValue::Ints(vec![2, 2]));
//! graph.push_node(conv);
//! graph.outputs.push(y);
//! verify::verify(&graph)?;
//!
//! let opset = 17;
//! let shapes = Shapes::infer(&graph, opset);
//! assert_eq!(shapes.spatial(y, 2), Some(vec![Some(4), Some(4)]));
//!
//! let view = GraphView { graph: &graph, shapes: &shapes, opset };
//! for (_, node) in graph.nodes() {
//!     let conv = Conv::of(&view.node(node))?.expect("the only node is a convolution");
//!     assert_eq!(conv.window.ends, [1, 1]);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attribute;
mod body;
mod dump;
mod end;
mod input_normalization;
mod known;
mod model;
mod node;
pub mod onnx;
pub mod ops;
mod order;
pub mod parallel;
mod patch;
mod ports;
pub mod shapes;
mod sweep;
mod tensor;
#[cfg(test)]
mod tests;
mod uses;
mod value;
pub mod verify;

pub use attribute::{Attribute, AttributeValue};
pub use body::{Graph, NodeMut};
pub use end::GraphEnd;
pub use input_normalization::InputNormalization;
pub use model::Model;
pub use node::Node;
pub use patch::Patch;
pub use ports::Ports;
pub use sweep::Swept;
pub use tensor::{DType, Tensor, TensorError};
pub use value::{Dim, NodeId, Value, ValueId};
