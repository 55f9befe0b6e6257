//! The re-parameterizer: bytes of a train-time ONNX model in, bytes of its deploy form out.
//!
//! Networks like RepVGG, MobileOne and Diverse Branch Block train with parallel linear branches. Every set of linear branches
//! between one value and another becomes the one convolution that it is, whatever exported the model and whatever its nodes are
//! called. What is not understood passes through untouched, and the report gives the reason.
//!
//! [`reparameterize`] is the entry point for files, [`fuse()`] for graphs in memory; [`report`] lists what was done, [`reason`] why something was not. Nothing here knows a
//! runtime; [`equivalence`] compares two graphs through whatever runs them.
//!
//! ```
//! use repserve_graph::{AttributeValue, DType, Dim, Graph, Model, Node, Tensor, Value, onnx};
//! use repserve_reparam::{Options, reparameterize};
//!
//! // y = Conv3x3(x) + Conv1x1(x)
//! let mut graph = Graph::default();
//! let x = graph.add_value(Value {
//!     dtype: Some(DType::F32),
//!     shape: Some([1, 2, 8, 8].map(Dim::Fixed).to_vec()),
//!     ..Value::named("x")
//! });
//! graph.inputs.push(x);
//! let [a, b, y] = ["a", "b", "y"].map(|name| graph.add_value(Value::named(name)));
//! graph.value_mut(y).dtype = Some(DType::F32);
//! let wide = graph.add_constant("wide", Tensor::from_f32(&[2, 2, 3, 3], &[0.5; 36]));
//! let narrow = graph.add_constant("narrow", Tensor::from_f32(&[2, 2, 1, 1], &[0.25; 4]));
//! let pads = AttributeValue::Ints(vec![1; 4]);
//! graph.push_node(Node::new("Conv", vec![x, wide], vec![a]).with("pads", pads));
//! graph.push_node(Node::new("Conv", vec![x, narrow], vec![b]));
//! graph.push_node(Node::new("Add", vec![a, b], vec![y]));
//! graph.outputs.push(y);
//! let model = Model { graph, ir_version: 8, opsets: vec![(String::new(), 17)], ..Model::default() };
//!
//! let deployed = reparameterize(&onnx::write(model)?, &Options::default())?;
//! assert_eq!(deployed.report.source.count("Conv"), 2);
//! assert_eq!(deployed.report.deploy.count("Conv"), 1);
//! assert_eq!(deployed.report.blocks[0].branches, "3x3 + 1x1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod algebra;
pub mod equivalence;
mod error;
mod explain;
mod fold;
mod fuse;
mod hash;
mod options;
mod passes;
mod pipeline;
pub mod reason;
mod region;
pub mod report;
mod stats;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use fuse::{Fused, fuse, fuse_onnx};
pub use options::{Options, Unfused};
pub use stats::layers;

use std::io::{self, Write};

use bytes::Bytes;

use report::Report;

/// A deploy model and how it came about.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// The deploy graph as an ONNX file, weights included.
    pub onnx: Vec<u8>,
    /// What was done.
    pub report: Report,
}

/// Rewrites a train-time model into its deploy form.
///
/// A model in which there is nothing to do comes out as it went in: byte for byte, or, where its weights lay beside it,
/// the same graph with the weights inside.
///
/// The crate's first page has an example.
///
/// # Errors
/// A file that is not a valid ONNX model, or an output that it does not have.
pub fn reparameterize(onnx: &[u8], options: &Options) -> Result<Deployed, Error> {
    reparameterize_bytes(Bytes::copy_from_slice(onnx), options)
}

/// [`reparameterize`] without the copy: the model's weights are read from the shared buffer.
///
/// # Errors
/// As [`reparameterize`].
pub fn reparameterize_bytes(onnx: Bytes, options: &Options) -> Result<Deployed, Error> {
    let mut out = Vec::new();
    let report = reparameterize_to(onnx, options, &mut out)?;
    Ok(Deployed { onnx: out, report })
}

/// [`reparameterize_bytes`] that writes the result to `sink` piece by piece, so that it is never in memory as a whole.
///
/// From file to file, with weights that may lie beside the model, and one of its outputs kept:
///
/// ```no_run
/// use std::fs::{self, File};
/// use std::io::BufWriter;
///
/// use repserve_graph::onnx::ExternalData;
/// use repserve_reparam::{Options, reparameterize_to};
///
/// let options = Options {
///     output: Some("logits".to_owned()),
///     external: ExternalData::Folder("models".into()),
///     ..Options::default()
/// };
/// let sink = BufWriter::new(File::create("deploy.onnx")?);
/// let report = reparameterize_to(fs::read("models/train.onnx")?.into(), &options, sink)?;
/// for refusal in &report.refusals {
///     println!("{} stays as it is: {}", refusal.block, refusal.reason);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`reparameterize`], and what `sink` reports.
pub fn reparameterize_to(onnx: Bytes, options: &Options, sink: impl Write) -> Result<Report, Error> {
    fuse_onnx(onnx, options)?.write_to(sink)
}

/// The report of what [`reparameterize`] would do; the model that it would make is hashed and not kept.
///
/// # Errors
/// As [`reparameterize`].
pub fn inspect(onnx: Bytes, options: &Options) -> Result<Report, Error> {
    reparameterize_to(onnx, options, io::sink())
}
