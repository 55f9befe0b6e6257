//! What ONNX Runtime is to run: an int8 graph, or the fp32 graph with kernels where they are faster.

use super::auto::Auto;
use super::error::CompileError;
use super::facts::Int8Facts;
use super::fused::Fused;
use super::graph_input::GraphInput;
use super::package::Package;
use super::phase::{Clock, Phase};
use super::precision::{AutoFacts, RequestedPrecision};
use super::quantized::{Gated, Quantized, quantize};
use super::settings::CompileSettings;
use repserve_quantize::Precision;
use repserve_runtime::{Batching, KernelReport, Pool, Runtime, lower_releasing};

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
    /// How the int8 graph did, where one was made and this graph runs in its place.
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
            let (model, plain, release) = (fused.model(), fused.plain(), || fused.release());
            lower_releasing(runtime, model, plain, mode, shape, fused.output(), &release)
        })?;
        let output = fused.output().map(str::to_owned);
        let pool = clock.time(Phase::Optimize, || {
            Pool::new(runtime, lowered.model, output, &settings.runtime)
        })?;
        fused.release();
        Ok(Self {
            pool,
            report: lowered.report,
            int8: None,
        })
    }

    /// The same, which runs in place of an int8 graph.
    pub(super) fn in_place_of(self, int8: Int8Facts) -> Self {
        let int8 = Some(Int8Facts { served: false, ..int8 });
        Self { int8, ..self }
    }
}

/// What ONNX Runtime is to run, and why where that was to be decided.
#[derive(Debug)]
pub struct Chosen {
    /// What it is to run.
    pub executable: Executable,
    /// How its arithmetic came about, where `auto` was requested.
    pub auto: Option<AutoFacts>,
}

impl Executable {
    /// Quantizes the deploy graph where int8 is requested, and lowers it else; `auto` does both and takes the faster. The fp32 graph also takes
    /// the place of an int8 graph that did not pass the gate, where the settings say so, and under `auto`. `batching`: how many images a
    /// run takes.
    ///
    /// # Errors
    /// int8 without a calibration that fits, an int8 graph that may not be served, or a graph that ONNX Runtime refuses.
    pub fn choose(
        runtime: &Runtime,
        package: &Package,
        fused: &Fused,
        batching: Batching,
        settings: &CompileSettings,
        clock: &mut Clock<'_>,
    ) -> Result<Chosen, CompileError> {
        let (executable, auto) = match settings.precision {
            RequestedPrecision::Fp32 => {
                let lowered = Lowered::new(runtime, package, fused, settings, clock)?;
                (Self::Lowered(lowered), None)
            }
            RequestedPrecision::Int8 => {
                let gated = clock.time(Phase::Quantize, || quantize(runtime, package, fused, settings))?;
                let executable = match gated {
                    Gated::Passed(quantized) => Self::Quantized(*quantized),
                    Gated::Refused { int8, .. } => {
                        let lowered = Lowered::new(runtime, package, fused, settings, clock)?;
                        Self::Lowered(lowered.in_place_of(*int8))
                    }
                };
                (executable, None)
            }
            RequestedPrecision::Auto => {
                let auto = Auto {
                    runtime,
                    package,
                    fused,
                    batching,
                    settings,
                };
                let (executable, facts) = auto.choose(clock)?;
                (executable, Some(facts))
            }
        };
        Ok(Chosen {
            executable: executable.for_sessions(batching, fused),
            auto,
        })
    }

    /// The same, for sessions whose runs take that many images and that read the embeddings of `fused`.
    fn for_sessions(mut self, batching: Batching, fused: &Fused) -> Self {
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
