//! The settings of compiling.

use serde::Deserialize;

use repserve_preprocess::Limits;
use repserve_quantize::{GateSettings, Precision};
use repserve_runtime::RuntimeSettings;

/// The settings of compiling.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CompileSettings {
    /// Arithmetic of the graph to run.
    pub precision: Precision,
    /// Comparison of the deploy graph with the train-time graph.
    pub verify: VerifySettings,
    /// Comparison of the int8 graph with the fp32 graph.
    pub gate: GateSettings,
    /// ONNX Runtime, kernels and threads.
    pub runtime: RuntimeSettings,
    /// What an image of the gate may cost.
    pub limits: Limits,
}

/// Comparison of the deploy graph with the train-time graph before serving.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifySettings {
    /// Batches of random inputs.
    pub batches: usize,
    /// Inputs in a batch.
    pub batch_size: usize,
    /// Seed of the random inputs.
    pub seed: u64,
    /// Largest difference of the outputs, relative to the largest output.
    pub relative_error_max: f64,
    /// Smallest share of inputs whose best class agrees, 0 to 1.
    pub top1_agreement_min: f64,
}

impl Default for VerifySettings {
    fn default() -> Self {
        Self {
            batches: 3,
            batch_size: 4,
            seed: 2024,
            relative_error_max: 1e-4,
            top1_agreement_min: 1.0,
        }
    }
}
