//! The settings of compiling.

use super::beside::Measured;
use super::precision::RequestedPrecision;
use repserve_preprocess::Limits;
use repserve_quantize::GateSettings;
use repserve_runtime::RuntimeSettings;
use repserve_settings::{rule, settings};
use serde::{Deserialize, Serialize};

/// The settings of compiling.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CompileSettings {
    /// Arithmetic of the graph to run.
    pub precision: RequestedPrecision,
    /// Comparison of the deploy graph with the train-time graph.
    pub verify: VerifySettings,
    /// Comparison of the int8 graph with the fp32 graph.
    pub gate: GateSettings,
    /// ONNX Runtime, kernels and threads.
    pub runtime: RuntimeSettings,
    /// What an image of the gate may cost.
    pub limits: Limits,
    /// What was measured of the models that are served, where this one is compiled beside them: then runs on all cores, which would hold
    /// those up, are not measured.
    pub beside: Option<Vec<Measured>>,
}

settings! {
    /// The deploy graph is compared with the train-time graph on random inputs before it is served.
    pub struct VerifySettings {
        /// Batches that are run.
        #[allowed(1..)]
        batches: usize = 2,
        /// Inputs in each batch (a graph of fixed batch size keeps its own).
        #[allowed(1..)]
        batch_size: usize = 4,
        /// Seed of the random inputs.
        seed: u64 = 2024,
        /// Largest difference of the outputs, relative to the largest output, for f32; more where the graph computes in coarser types,
        /// as follows from their precision.
        #[allowed(rule("positive, not infinite", |verify: &VerifySettings| {
            verify.relative_error_max.is_finite() && verify.relative_error_max > 0.0
        }))]
        relative_error_max: f64 = 1e-4,
        /// Smallest share of inputs whose best class agrees.
        #[allowed(0.0..=1.0)]
        top1_agreement_min: f64 = 1.0,
        /// What happens where they differ by more. unfused: the blocks that differ are left as they are, all of them if need be, with a
        /// warning. refuse: the model is not served.
        otherwise: VerifyOtherwise = VerifyOtherwise::Unfused,
    }
}

/// What is done where the deploy graph differs from the train-time graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyOtherwise {
    /// The blocks that differ are left unfused.
    #[default]
    Unfused,
    /// The model is not served.
    Refuse,
}
