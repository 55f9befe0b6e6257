//! The entry of a deploy graph: it holds on every processor.

use repserve_cache::Entry;
use repserve_graph::onnx::{self, ExternalData};
use repserve_reparam::equivalence::{Equivalence, Output};
use repserve_runtime::Batching;
use serde::{Deserialize, Serialize};

use super::super::compiled::Graph;
use super::super::fused::{Found, Fused};
use super::super::package::Package;
use super::super::settings::CompileSettings;
use super::super::verify::{Verified, probes_of};
use super::external::Files;
use super::{Unusable, record};

/// The section of the deploy graph, an ONNX file.
pub(super) const DEPLOY: &str = "deploy";

/// What was found out about it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct GraphRecord {
    external: Files,
    found: Found,
    equivalence: Equivalence,
    batching: Batching,
    /// The probes that the graphs were compared on, by their labels; their values follow from the settings.
    probes: Vec<String>,
    /// The deploy graph's outputs, one a probe.
    outputs: Vec<Output>,
    /// The train-time graph's output for the first probe.
    answer: Output,
    /// The deploy graph's embeddings of each probe.
    embedded: Vec<Vec<Output>>,
}

impl GraphRecord {
    pub(super) fn of(graph: &Graph, external: &Files) -> Self {
        let Graph { fused, verified, .. } = graph;
        Self {
            external: external.clone(),
            found: fused.found(),
            equivalence: verified.equivalence.clone(),
            batching: verified.batching,
            probes: verified.probes.iter().map(|probe| probe.label.clone()).collect(),
            outputs: verified.outputs.clone(),
            answer: verified.answer.clone(),
            embedded: verified.embedded.clone(),
        }
    }
}

/// The graph that the entry holds.
///
/// # Errors
/// An entry that is not what it ought to be, or data files that have changed.
pub(super) fn restored(package: &Package, entry: &Entry, settings: &CompileSettings) -> Result<Graph, Unusable> {
    let record: GraphRecord = record(entry)?;
    record.external.check(package)?;
    let deploy = entry.section(DEPLOY)?;
    let model = onnx::read(deploy.clone(), &ExternalData::None).map_err(|error| {
        let error = repserve_reparam::Error::from(error);
        Unusable::Compile(error.into())
    })?;
    let fused = Fused::restored(package.source(), model, deploy, record.found);
    let graph = Graph::compared(package, fused, |preprocess, image| {
        let mut probes = probes_of(preprocess, image, &settings.verify);
        probes.retain(|probe| record.probes.contains(&probe.label));
        Verified {
            equivalence: record.equivalence,
            probes,
            outputs: record.outputs,
            answer: record.answer,
            embedded: record.embedded,
            batching: record.batching,
            train_time_ms: None,
        }
    });
    Ok(graph?)
}
