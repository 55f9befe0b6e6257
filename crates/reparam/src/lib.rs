//! The re-parameterizer: bytes of a train-time ONNX model in, bytes of its deploy form out.
//!
//! Every set of linear branches between one value and another becomes the one convolution that it is, whoever exported
//! the model and whatever its nodes are called. What is not understood passes through untouched.
//!
//! [`reparameterize`] is the way in for files, [`fuse`] for graphs in memory. [`kernel`] holds the algebra, [`report`] what was done, [`reason`] why something
//! was not. Nothing here knows a runtime; [`equivalence`] compares two graphs through whatever runs them.
//!
//! As a library, `default-features = false` in the dependency leaves the server out.

pub mod equivalence;
mod explain;
mod fold;
mod fuse;
mod hash;
#[cfg(test)]
mod hostile_tests;
pub mod kernel;
mod passes;
mod pipeline;
pub mod reason;
mod region;
pub mod report;
mod stats;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use bytes::Bytes;

use report::Report;
use repserve_graph::onnx::{ExternalData, OnnxError};
use repserve_graph::verify::VerifyError;

pub use fuse::{Fused, fuse, fuse_onnx};

/// What to do besides fusing.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The one output to keep; what only the others need is removed. All of them where `None`.
    pub output: Option<String>,
    /// Where weights that lie beside the file may be read from.
    pub external: ExternalData,
}

/// A deploy model and how it came about.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// The deploy graph as an ONNX file, weights included.
    pub onnx: Vec<u8>,
    /// What was done.
    pub report: Report,
}

/// Why a model could not be re-parameterized.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not a model that can be read, or the result could not be written.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The output to keep does not exist.
    #[error("the model has no output {name:?}; its outputs are: {known}")]
    NoSuchOutput {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A pass made an invalid graph: a defect of this program, please report it.
    #[error("the pass {pass} made an invalid graph (please report this): {source}")]
    Broken {
        /// The pass.
        pass: &'static str,
        /// What is invalid.
        source: VerifyError,
    },
}

/// Rewrites a train-time model into its deploy form.
///
/// A model in which there is nothing to do comes out as it went in: byte for byte, or, where its weights lay beside it,
/// the same graph with the weights inside.
///
/// ```
/// use repserve_reparam::{Options, reparameterize};
///
/// let train = include_bytes!("../../../models/repvgg-cifar10/model.onnx");
/// let deployed = reparameterize(train, &Options::default())?;
/// assert!(deployed.report.source.count("BatchNormalization") > 0);
/// assert_eq!(deployed.report.deploy.count("BatchNormalization"), 0);
/// println!("{}", deployed.report);
/// # Ok::<(), repserve_reparam::Error>(())
/// ```
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
/// use repserve::onnx::ExternalData;
/// use repserve_reparam::{Options, reparameterize_to};
///
/// let options = Options {
///     output: Some("logits".to_owned()),
///     external: ExternalData::Folder("models".into()),
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
