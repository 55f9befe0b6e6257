//! The deploy graph of a model, as a value and encoded.

use bytes::Bytes;

use super::error::CompileError;
use super::source::Source;
use repserve_graph::Model;
use repserve_reparam::fuse_onnx;
use repserve_reparam::report::Report;
use repserve_runtime::SessionModel;

/// A train-time graph and its deploy graph.
#[derive(Debug)]
pub struct Fused {
    source: Source,
    model: Model,
    plain: SessionModel,
    report: Report,
}

impl Fused {
    /// Parses the train-time graph, fuses it and encodes the result.
    ///
    /// # Errors
    /// A file that is not a valid ONNX model, or an output that it does not have.
    pub fn new(source: Source) -> Result<Self, CompileError> {
        let fused = fuse_onnx(source.onnx.clone(), &source.options)?;
        Self::encode(source, fused)
    }

    /// What was made of `source` by [`fuse_onnx`], encoded.
    ///
    /// # Errors
    /// A deploy graph that is too large for an ONNX file.
    pub fn encode(source: Source, mut fused: repserve_reparam::Fused) -> Result<Self, CompileError> {
        let onnx = fused.encode()?;
        Ok(Self {
            source,
            plain: SessionModel::new(&fused.model, onnx),
            model: fused.model,
            report: fused.report,
        })
    }

    /// The train-time graph.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The deploy graph.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The deploy graph as an ONNX file.
    pub fn onnx(&self) -> &Bytes {
        &self.plain.onnx
    }

    /// The deploy graph for sessions, without lowering.
    pub fn plain(&self) -> &SessionModel {
        &self.plain
    }

    /// What was fused, and what was not and why.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The output that sessions read; the first if `None`.
    pub fn output(&self) -> Option<&str> {
        self.source.options.output.as_deref()
    }

    /// What was fused, once the graphs are not needed any more.
    pub fn into_report(self) -> Report {
        self.report
    }
}
