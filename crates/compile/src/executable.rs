//! What ONNX Runtime is to run: an int8 graph, or the fp32 graph with kernels where they are faster.

use super::error::CompileError;
use super::facts::Int8Facts;
use super::fused::Fused;
use super::graph_input::GraphInput;
use super::package::Package;
use super::phase::{Clock, Phase};
use super::quantized::{Gated, Quantized, quantize};
use super::settings::CompileSettings;
use repserve_quantize::Precision;
use repserve_runtime::{Batching, KernelReport, Pool, Runtime, lower};

/// What ONNX Runtime is to run.
#[derive(Debug)]
pub enum Executable {
    /// The int8 graph.
    Quantized(Quantized),
    /// The fp32 graph.
    Lowered(Lowered),
}

/// The fp32 graph, with this program's kernels where they were chosen.
#[derive(Debug)]
pub struct Lowered {
    /// Makes its sessions.
    pub pool: Pool,
    /// Which convolutions the kernels compute, and why.
    pub report: KernelReport,
    /// How the int8 graph did, where one was requested and this graph runs in its place.
    pub int8: Option<Int8Facts>,
}

impl Lowered {
    /// Chooses kernels for the deploy graph, and has ONNX Runtime optimize the result.
    ///
    /// # Errors
    /// ONNX Runtime refuses the graph.
    pub fn new(
        runtime: &Runtime,
        package: &Package,
        fused: &Fused,
        settings: &CompileSettings,
        clock: &mut Clock<'_>,
    ) -> Result<Self, CompileError> {
        let [height, width] = package.image_size();
        let channels = GraphInput::of(fused.model()).channels();
        let (mode, shape) = (settings.runtime.kernels, [channels, height, width]);
        let lowered = clock.time(Phase::Lower, || {
            lower(runtime, fused.model(), fused.plain(), mode, shape, fused.output())
        })?;
        let output = fused.output().map(str::to_owned);
        let pool = clock.time(Phase::Optimize, || {
            Pool::new(runtime, lowered.model, output, &settings.runtime)
        })?;
        Ok(Self {
            pool,
            report: lowered.report,
            int8: None,
        })
    }
}

impl Executable {
    /// Quantizes the deploy graph where int8 is requested, and lowers it else. The fp32 graph also takes the place of an int8 graph
    /// that did not pass the gate, where the settings say so.
    ///
    /// # Errors
    /// int8 without a calibration that fits, an int8 graph that may not be served, or a graph that ONNX Runtime refuses.
    pub fn new(
        runtime: &Runtime,
        package: &Package,
        fused: &Fused,
        settings: &CompileSettings,
        clock: &mut Clock<'_>,
    ) -> Result<Self, CompileError> {
        let int8 = match settings.precision {
            Precision::Fp32 => None,
            Precision::Int8 => match clock.time(Phase::Quantize, || quantize(runtime, package, fused, settings))? {
                Gated::Passed(quantized) => return Ok(Self::Quantized(*quantized)),
                Gated::Refused(int8) => Some(*int8),
            },
        };
        let lowered = Lowered::new(runtime, package, fused, settings, clock)?;
        Ok(Self::Lowered(Lowered { int8, ..lowered }))
    }

    /// The same, for sessions whose runs take that many images and that read the embeddings of `fused`.
    #[must_use]
    pub fn for_sessions(mut self, batching: Batching, fused: &Fused) -> Self {
        let pool = match &mut self {
            Self::Quantized(quantized) => &mut quantized.pool,
            Self::Lowered(lowered) => &mut lowered.pool,
        };
        *pool = pool
            .clone()
            .with_batching(batching)
            .with_further(fused.embedding_names());
        self
    }

    /// Makes its sessions.
    pub fn pool(&self) -> &Pool {
        match self {
            Self::Quantized(quantized) => &quantized.pool,
            Self::Lowered(lowered) => &lowered.pool,
        }
    }

    /// Arithmetic of the graph.
    pub fn precision(&self) -> Precision {
        match self {
            Self::Quantized(_) => Precision::Int8,
            Self::Lowered(_) => Precision::Fp32,
        }
    }

    /// Whether this program's kernels compute some of it.
    pub fn runs_kernels(&self) -> bool {
        let lowered = match self {
            Self::Quantized(_) => 0,
            Self::Lowered(lowered) => lowered.report.lowered,
        };
        lowered > 0 || self.pool().int8_kernels().is_some()
    }
}
