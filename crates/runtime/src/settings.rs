//! The section `runtime` of the configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How the thread plan comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanMode {
    /// From the cores that this process may use and from what warm-up measures.
    #[default]
    Auto,
    /// As `cores` and `wide_session` say; nothing is measured.
    Explicit,
}

/// Whether this program's own kernels compute layers in place of ONNX Runtime's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelMode {
    /// In f32 those layers that measure faster on this machine, at start-up; in int8 all that the kernels compute.
    #[default]
    Auto,
    /// Every layer that the kernels compute, unmeasured.
    On,
    /// None.
    Off,
}

/// The section `runtime` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeSettings {
    /// The shared library; empty: it is searched.
    pub library: PathBuf,
    /// Whether warm-up measures and decides.
    pub plan: PlanMode,
    /// Cores to use, each with a worker and a one-core session; 0: what affinity and cgroup quota leave.
    pub cores: usize,
    /// Whether an explicit plan has an all-core session for light load.
    pub wide_session: bool,
    /// Time that measuring the batch-latency curve may take, in milliseconds.
    pub measure_ms_max: u64,
    /// Largest batch that is measured.
    pub measure_batch_max: usize,
    /// Whether a model's sessions share one copy of its weights.
    pub share_weights: bool,
    /// Which layers this program's own kernels compute, in f32 and in int8.
    pub kernels: KernelMode,
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            library: PathBuf::new(),
            plan: PlanMode::Auto,
            cores: 0,
            wide_session: true,
            measure_ms_max: 2000,
            measure_batch_max: 16,
            share_weights: true,
            kernels: KernelMode::Auto,
        }
    }
}
