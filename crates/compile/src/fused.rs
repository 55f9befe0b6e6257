//! The deploy graph of a model, as a value and encoded.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::arithmetic::Arithmetic;
use super::embedding::{self, Embedding};
use super::error::CompileError;
use super::source::Source;
use repserve_cache::Scratch;
use repserve_graph::onnx::{self, ExternalData};
use repserve_graph::shapes::{Shapes, fixed};
use repserve_graph::{DType, Dim, GraphEnd, InputNormalization, Model, ValueId};
use repserve_reparam::report::Report;
use repserve_reparam::{Unfused, fuse_onnx};
use repserve_runtime::SessionModel;
use serde::{Deserialize, Serialize};

/// A train-time graph and its deploy graph.
#[derive(Debug)]
pub struct Fused {
    source: Source,
    model: Model,
    plain: SessionModel,
    report: Report,
    output: Option<String>,
    embeddings: Vec<Embedding>,
    normalization: Option<InputNormalization>,
    /// The encoded deploy graph, where a file holds it.
    scratch: Option<Scratch>,
}

/// Bytes of weights from which on a deploy graph is kept in a file, not in memory.
const SCRATCH_BYTES_MIN: usize = 4 << 20;

/// What was found out about a deploy graph.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) report: Report,
    pub(super) output: Option<String>,
    pub(super) embeddings: Vec<Embedding>,
}

impl Fused {
    /// Parses the train-time graph, fuses it and encodes the result.
    ///
    /// # Errors
    /// A file that is not a valid ONNX model, or an output that it does not have.
    pub fn new(source: Source) -> Result<Self, CompileError> {
        let fused = fuse_onnx(source.bytes()?, &source.options)?;
        Self::encode(source, fused)
    }

    /// What was made of `source` by [`fuse_onnx`], encoded.
    ///
    /// # Errors
    /// A deploy graph that is too large for an ONNX file.
    pub fn encode(source: Source, mut fused: repserve_reparam::Fused) -> Result<Self, CompileError> {
        let output = source.options.output.clone();
        let output = output.or_else(|| chosen_output(&fused.model, source.labels, &source.options.further));
        let embeddings = embedding::expose(&mut fused, &source)?;
        let scratch = scratch(&mut fused, source.scratch.as_deref());
        let onnx = match &scratch {
            Some(scratch) => scratch.bytes(),
            None => fused.encode()?,
        };
        let model = if fused.changed || scratch.is_some() {
            // Its tensors are parts of the file from here on, not copies beside it.
            drop(fused.model);
            onnx::read(onnx.clone(), &ExternalData::None).map_err(repserve_reparam::Error::from)?
        } else {
            fused.model
        };
        Ok(Self {
            output,
            source,
            plain: SessionModel::as_given(onnx),
            model,
            report: fused.report,
            embeddings,
            normalization: fused.normalization,
            scratch,
        })
    }

    /// One that was fused before; `onnx` is `model`, encoded.
    pub(super) fn restored(source: Source, model: Model, onnx: Bytes, found: Found) -> Self {
        let Found {
            report,
            output,
            embeddings,
        } = found;
        Self {
            source,
            model,
            plain: SessionModel::as_given(onnx),
            report,
            output,
            embeddings,
            // What it makes doubtful is among the report's warnings.
            normalization: None,
            scratch: None,
        }
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

    /// Fuses the same train-time graph again, but for what `unfused` says.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn again(&self, unfused: Unfused) -> Result<Self, CompileError> {
        let mut source = self.source.clone();
        source.options.unfused = unfused;
        Self::new(source)
    }

    /// The output that sessions read; the first if `None`.
    pub fn output(&self) -> Option<&str> {
        self.output.as_deref()
    }

    /// Inner values that sessions read as well.
    pub fn embeddings(&self) -> &[Embedding] {
        &self.embeddings
    }

    /// Their names.
    pub(super) fn embedding_names(&self) -> Vec<String> {
        self.embeddings.iter().map(|embedding| embedding.name.clone()).collect()
    }

    /// What was found out about it.
    pub(super) fn found(&self) -> Found {
        Found {
            report: self.report.clone(),
            output: self.output.clone(),
            embeddings: self.embeddings.clone(),
        }
    }

    /// What computes that output.
    pub fn end(&self) -> GraphEnd {
        let graph = &self.model.graph;
        let named = self.output().and_then(|name| graph.find(name));
        let output = named.or_else(|| graph.outputs.first().copied());
        output.map_or(GraphEnd::Other(String::new()), |output| GraphEnd::of(graph, output))
    }

    /// The normalization with which the train-time graph begins.
    pub fn normalization(&self) -> Option<&InputNormalization> {
        self.normalization.as_ref()
    }

    /// Whether values are rounded to a grid of integers on the way.
    pub fn is_quantized(&self) -> bool {
        Arithmetic::of(&self.model).quantized
    }

    /// The report, for what was found out later.
    pub(super) fn report_mut(&mut self) -> &mut Report {
        &mut self.report
    }

    /// Gives back the memory of what was read of a deploy graph that a file holds.
    pub(super) fn release(&self) {
        self.scratch.iter().for_each(Scratch::release);
    }

    /// Lets go of the train-time file's bytes, as far as they are many; [`Source::bytes`] reads them again.
    pub(super) fn forget_source(&mut self) {
        if self.source.onnx.len() >= SCRATCH_BYTES_MIN {
            self.source.onnx = Bytes::new();
        }
    }

    /// What was fused, once the graphs are not needed any more.
    pub fn into_report(self) -> Report {
        self.report
    }
}

/// A large deploy graph, encoded into a file in `folder` or among the system's temporary ones; `None` where it is small or neither can be
/// written.
fn scratch(fused: &mut repserve_reparam::Fused, folder: Option<&Path>) -> Option<Scratch> {
    let bytes: usize = fused
        .model
        .graph
        .constants()
        .map(|(_, tensor)| tensor.data().len())
        .sum();
    if bytes < SCRATCH_BYTES_MIN {
        return None;
    }
    let temporary = std::env::temp_dir();
    let folders = folder.into_iter().chain([temporary.as_path()]);
    let mut write = |folder: &Path| {
        let scratch = Scratch::new(folder, |sink| fused.encode_to(sink).map_err(io::Error::other));
        let failed = |error: &io::Error| tracing::debug!(folder = %folder.display(), %error, "the deploy graph cannot be kept there");
        scratch.inspect_err(failed).ok()
    };
    folders.into_iter().find_map(&mut write)
}

/// The name of the output of classes, where there are several: floats, one row an image; as many as there are labels, where one has so
/// many. `None` where there is no choice and will be none, for there are no embeddings, whose names are `further`.
fn chosen_output(model: &Model, labels: Option<usize>, further: &[String]) -> Option<String> {
    let graph = &model.graph;
    if graph.outputs.len() < 2 && further.is_empty() {
        return None;
    }
    let shapes = Shapes::infer(graph, model.opset());
    let floats = |value: &ValueId| graph.value(*value).dtype.is_none_or(DType::is_float);
    let classes = |value: &ValueId| match shapes.of(*value)? {
        [n] => fixed(n),
        [_, n, rest @ ..] if rest.iter().all(|d| *d == Dim::Fixed(1)) => fixed(n),
        _ => None,
    };
    let mut candidates: Vec<ValueId> = graph.outputs.iter().copied().filter(floats).collect();
    candidates.sort_by_key(|value| {
        let found = classes(value);
        (labels.is_none() || found != labels, found.is_none())
    });
    candidates.first().map(|value| graph.value(*value).name.clone())
}
