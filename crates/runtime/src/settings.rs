//! The section `runtime` of the configuration.

use std::path::PathBuf;

use repserve_settings::{settings, time_ms};
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

settings! {
    /// ONNX Runtime, this program's own kernels, and the plan of threads and sessions.
    #[derive(Eq)]
    pub struct RuntimeSettings {
        /// ONNX Runtime's shared library. Empty: ORT_DYLIB_PATH, beside the executable, .onnxruntime/, the loader's path.
        library: PathBuf = PathBuf::new(),
        /// auto: cores from the affinity mask and the cgroup quota, wide session from what warm-up measures, batch size from that and from what is
        /// seen while it serves.
        /// explicit: `cores` and `wide_session` hold, nothing is measured, and `batch.batch_max = 0` means 1.
        plan: PlanMode = PlanMode::Auto,
        /// Cores to use, each with a worker and a one-core session. 0: all that this process may use; a quota of 1.5 cores counts as 2.
        #[allowed(0..=1024)]
        cores: usize = 0,
        /// Whether an explicit plan has an all-core session, which serves a request that is alone.
        wide_session: bool = true,
        /// Milliseconds of CPU time that measuring the batch-latency curve may take at the start; under a quota it takes longer.
        #[allowed(time_ms(0))]
        measure_ms_max: u64 = 2000,
        /// Largest batch that is measured, or tried while it serves; above 4 only where what all sessions compute with is small: 64 MiB, or half of the weights.
        #[allowed(1..=1024)]
        measure_batch_max: usize = 16,
        /// Whether all sessions of a model share one copy of its weights.
        share_weights: bool = true,
        /// Whether this program's own kernels compute layers in place of ONNX Runtime's: convolutions of any stride in fp32 (Winograd's algorithm
        /// for 3x3 where it fits), convolutions and linear layers in int8 where the processor has VNNI (AVX-512 or AVX).
        /// auto: in fp32 those that measure faster when the model is loaded, in int8 all that the kernels compute;
        /// on: all that the kernels compute, unmeasured; off: none.
        kernels: KernelMode = KernelMode::Auto,
    }
}
