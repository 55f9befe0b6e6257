//! Fusing on values: a [`Model`] in, its deploy form out, encoded only if the bytes are needed.

use std::io::{self, Write};

use bytes::Bytes;

use super::error::Error;
use super::options::Options;
use super::pipeline::{self, Outcome};
use super::report::Report;
use super::{explain, hash, stats};
use repserve_graph::onnx::{self, ExternalData, OnnxError};
use repserve_graph::shapes::Shapes;
use repserve_graph::{InputNormalization, Model};

/// The name of the tool in the files that it writes.
const PRODUCER: &str = "repserve";

/// A deploy graph and how it came about.
#[derive(Debug, Clone)]
pub struct Fused {
    /// The deploy graph; the graph as it was read where there was nothing to do.
    pub model: Model,
    /// What was done. The hashes of what was not read or written as bytes are empty.
    pub report: Report,
    /// Whether the deploy graph is another than the train-time graph.
    pub changed: bool,
    /// The normalization with which the train-time graph begins; the deploy graph may have it in its first convolution.
    pub normalization: Option<InputNormalization>,
    /// The file that was read, where it is the deploy graph's too: nothing was to do, and all weights are inside.
    unchanged_file: Option<Bytes>,
}

/// Rewrites a train-time model into its deploy form. Of the options, only the output matters.
///
/// ```
/// use repserve_graph::onnx::{self, ExternalData};
/// use repserve_reparam::{Options, fuse};
///
/// let train = include_bytes!("../../../models/repvgg-cifar10/model.onnx");
/// let train = onnx::read(train.to_vec().into(), &ExternalData::None)?;
/// let fused = fuse(train, &Options::default())?;
/// assert!(fused.changed);
/// assert_eq!(fused.model.graph.op_counts().get("BatchNormalization"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// An output that the model does not have.
pub fn fuse(mut model: Model, options: &Options) -> Result<Fused, Error> {
    let train = model.clone();
    let normalization = InputNormalization::of(&model);
    let opset = model.opset();
    let mut shapes = Shapes::infer(&model.graph, opset);
    let source = stats::stats(&model.graph, opset, &shapes);
    let Outcome {
        blocks,
        changed,
        warnings,
    } = pipeline::run(&mut model, options, &mut shapes)?;
    let deploy = if changed {
        stats::stats(&model.graph, opset, &shapes)
    } else {
        source.clone()
    };
    let report = Report {
        source,
        deploy,
        blocks,
        refusals: explain::refusals(&model.graph, opset, &shapes),
        warnings,
    };
    Ok(Fused {
        model: if changed { model } else { train },
        report,
        changed,
        normalization,
        unchanged_file: None,
    })
}

/// Reads a train-time model, once, and fuses it; the hash of the file is computed meanwhile.
///
/// # Errors
/// A file that is not a valid ONNX model, or an output that it does not have.
pub fn fuse_onnx(onnx: Bytes, options: &Options) -> Result<Fused, Error> {
    std::thread::scope(|scope| {
        let hash = scope.spawn(|| hash::digest(&onnx));
        let (model, whole) = read(&onnx, &options.external)?;
        let mut fused = fuse(model, options)?;
        fused.report.source.sha256 = hash.join().unwrap_or_default();
        if whole && !fused.changed {
            fused.unchanged_file = Some(onnx.clone());
        }
        Ok(fused)
    })
}

/// The model, and whether the file holds all of its weights.
fn read(onnx: &Bytes, external: &ExternalData) -> Result<(Model, bool), OnnxError> {
    match onnx::read(onnx.clone(), &ExternalData::None) {
        // Reading ends at the first tensor that lies elsewhere.
        Err(OnnxError::External { .. }) if *external != ExternalData::None => {
            Ok((onnx::read(onnx.clone(), external)?, false))
        }
        read => Ok((read?, true)),
    }
}

impl Fused {
    /// The deploy graph as an ONNX file, weights included, and its hash in the report. Byte for byte the file that was read where
    /// there was nothing to do and all weights are in it.
    ///
    /// # Errors
    /// A model that is too large for an ONNX file.
    pub fn encode(&mut self) -> Result<Bytes, Error> {
        if let Some(file) = self.whole_file() {
            return Ok(file);
        }
        let mut onnx = Vec::new();
        self.report.deploy.sha256 = write(self.model.clone(), &self.report, &mut onnx)?;
        Ok(onnx.into())
    }

    /// Writes [`Self::encode`]'s file to `sink` piece by piece, so that it is never in memory as a whole, and its hash into the report.
    ///
    /// # Errors
    /// As [`Self::encode`], and what `sink` reports.
    pub fn encode_to(&mut self, mut sink: impl Write) -> Result<(), Error> {
        match self.whole_file() {
            Some(file) => sink
                .write_all(&file)
                .and_then(|()| sink.flush())
                .map_err(OnnxError::from)?,
            None => self.report.deploy.sha256 = write(self.model.clone(), &self.report, sink)?,
        }
        Ok(())
    }

    /// The same, of a graph that is not needed any more: each tensor is freed once it is written.
    ///
    /// # Errors
    /// As [`Self::encode`], and what `sink` reports.
    pub fn write_to(mut self, mut sink: impl Write) -> Result<Report, Error> {
        if let Some(file) = self.whole_file() {
            let written = sink.write_all(&file).and_then(|()| sink.flush());
            written.map_err(OnnxError::from)?;
        } else {
            self.report.deploy.sha256 = write(self.model, &self.report, sink)?;
        }
        Ok(self.report)
    }

    /// The deploy graph was altered after it was fused.
    pub fn altered(&mut self) {
        self.changed = true;
        self.unchanged_file = None;
    }

    /// The file that was read, where it is the result.
    fn whole_file(&mut self) -> Option<Bytes> {
        let file = self.unchanged_file.clone()?;
        self.report.deploy.sha256.clone_from(&self.report.source.sha256);
        Some(file)
    }
}

/// Writes the signed model; its hash.
fn write(mut model: Model, report: &Report, sink: impl io::Write) -> Result<String, Error> {
    sign(&mut model, report);
    Ok(hash::write(onnx::pieces(model)?, sink).map_err(OnnxError::from)?)
}

/// Writes who made the model and what was done into its metadata.
fn sign(model: &mut Model, report: &Report) {
    model.producer_name = PRODUCER.to_owned();
    model.producer_version = env!("CARGO_PKG_VERSION").to_owned();
    model.ir_version = model.ir_version.max(4);
    model.metadata.retain(|(key, _)| !key.starts_with("repserve."));
    let (a, b) = (&report.source, &report.deploy);
    let mut note = |key: &str, value: String| model.metadata.push((format!("repserve.{key}"), value));
    note("source_sha256", a.sha256.clone());
    note("blocks_fused", report.blocks.len().to_string());
    for (kind, count) in report.by_kind() {
        note(&format!("blocks_{kind}"), count.to_string());
    }
    note("refusals", report.refusals.len().to_string());
    for (name, stats) in [("before", a), ("after", b)] {
        note(&format!("nodes_{name}"), stats.nodes().to_string());
        note(&format!("convolutions_{name}"), stats.count("Conv").to_string());
        note(&format!("parameters_{name}"), stats.parameters.to_string());
        if let Some(macs) = stats.macs {
            note(&format!("macs_{name}"), macs.to_string());
        }
    }
}
