//! What is known of a served model.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::Signature;
use crate::model::{Manifest, Precision};
use crate::telemetry::ModelInfo;
use repserve_quantize::Agreement;
use repserve_reparam::equivalence::Equivalence;
use repserve_reparam::report::Report;
use repserve_runtime::WinogradReport;

/// How an int8 graph did at the gate before serving.
#[derive(Debug, Clone, Serialize)]
pub struct Int8 {
    /// Whether it is the graph that runs; else the fp32 graph does.
    pub served: bool,
    /// int8 against fp32 on images that were kept back from calibration.
    pub agreement: Agreement,
    /// How many times as fast as ONNX Runtime's fp32 session an int8 one was over those images, on all cores.
    pub times_as_fast: f64,
    /// Layers that compute in int8.
    pub layers: usize,
    /// Layers that were left in fp32, by the values they answer with.
    pub layers_fp32: Vec<String>,
}

/// What is known of a served model.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What its folder says.
    pub manifest: Manifest,
    /// A label a class.
    pub labels: Vec<String>,
    /// What goes in and what comes out.
    pub signature: Signature,
    /// Arithmetic of the graph that runs.
    pub precision: Precision,
    /// How the int8 graph did, where one was asked for.
    pub int8: Option<Int8>,
    /// What the re-parameterizer did.
    pub report: Report,
    /// How far deploy and train-time graph agree.
    pub equivalence: Equivalence,
    /// Which convolutions the kernels compute, and why.
    pub winograd: WinogradReport,
    /// How it runs: the decoder, the sessions and their threads.
    pub plan: serde_json::Value,
    /// What loading took, by phase.
    pub load: Vec<(&'static str, Duration)>,
}

impl Facts {
    /// For `repserve_model_info`.
    pub fn info(&self) -> ModelInfo {
        ModelInfo {
            model: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            precision: self.precision.label().to_owned(),
            source_sha256: self.report.source.sha256.clone(),
            deploy_sha256: self.report.deploy.sha256.clone(),
        }
    }

    /// For people and programs that ask for the model: what was fused, how exact it is, how it runs.
    pub fn card(&self) -> serde_json::Value {
        let (before, after) = (&self.report.source, &self.report.deploy);
        let graph = |stats: &repserve_reparam::report::GraphStats| {
            json!({
                "sha256": stats.sha256,
                "nodes": stats.nodes(),
                "convolutions": stats.count("Conv"),
                "parameters": stats.parameters,
                "macs": stats.macs,
            })
        };
        let load: serde_json::Map<_, _> = self
            .load
            .iter()
            .map(|(phase, took)| ((*phase).to_owned(), json!(took.as_secs_f64())))
            .collect();
        json!({
            "precision": self.precision.label(),
            "int8": self.int8,
            "source": graph(before),
            "deploy": graph(after),
            "blocks_fused": self.report.blocks.len(),
            "refusals": self.report.refusals.len(),
            "equivalence": self.equivalence,
            "winograd": self.winograd,
            "plan": self.plan,
            "load_seconds": load,
        })
    }
}
