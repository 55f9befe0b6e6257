//! `precision = "auto"`: int8 behind its gate, measured beside the fp32 that would be served in its place.

use super::error::CompileError;
use super::executable::{Executable, Lowered};
use super::fused::Fused;
use super::graph_input::GraphInput;
use super::measured_batch::measured_batch_max;
use super::package::Package;
use super::phase::{Clock, Phase};
use super::precision::{AutoFacts, AutoReason, AutoTimes};
use super::quantized::{Gated, Quantized, gated};
use super::settings::CompileSettings;
use repserve_quantize::Precision;
use repserve_runtime::{Batching, Curve, ImageSession, ModelSession, Plan, Pool, Runtime};
use repserve_scheduler::{Sessions, Width};

/// How often each is measured, in turns: the least counts.
const TURNS: u32 = 2;

/// What is to be compiled, and how.
#[derive(Clone, Copy)]
pub(super) struct Auto<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) package: &'a Package,
    pub(super) fused: &'a Fused,
    pub(super) batching: Batching,
    pub(super) settings: &'a CompileSettings,
}

impl Auto<'_> {
    /// The int8 graph where the gate admits it and it is at least as fast, and the fp32 graph else; and why.
    ///
    /// # Errors
    /// A graph that ONNX Runtime refuses in fp32, or a session that does not run.
    pub(super) fn choose(self, clock: &mut Clock<'_>) -> Result<(Executable, AutoFacts), CompileError> {
        let candidate = clock.time(Phase::Quantize, || self.candidate());
        let lowered = Lowered::new(self.runtime, self.package, self.fused, self.settings, clock)?;
        match candidate {
            Ok(Gated::Passed(quantized)) => clock.time(Phase::WarmUp, || self.faster(lowered, *quantized)),
            Ok(Gated::Refused { int8, reason }) => {
                let facts = AutoFacts::without_int8(AutoReason::Int8Refused, reason);
                Ok((Executable::Lowered(lowered.in_place_of(*int8)), facts))
            }
            Err(facts) => Ok((Executable::Lowered(lowered), facts)),
        }
    }

    fn faster(self, lowered: Lowered, quantized: Quantized) -> Result<(Executable, AutoFacts), CompileError> {
        let times = self
            .measured(&lowered.pool, &quantized.pool)?
            .ok_or(CompileError::NoSession)?;
        let facts = AutoFacts::faster(times);
        let executable = match facts.reason.precision() {
            Precision::Int8 => Executable::Quantized(quantized),
            Precision::Fp32 => Executable::Lowered(lowered.in_place_of(quantized.int8)),
        };
        Ok((executable, facts))
    }

    /// The int8 graph and what its gate says; else why there is none.
    fn candidate(self) -> Result<Gated, AutoFacts> {
        gated(self.runtime, self.package, self.fused, self.settings).map_err(|error| {
            let reason = match error {
                CompileError::NoCalibration => AutoReason::NoCalibration,
                _ => AutoReason::Int8Unusable,
            };
            AutoFacts::without_int8(reason, error.to_string())
        })
    }

    /// What an image takes in one-core sessions of each.
    fn measured(self, fp32: &Pool, int8: &Pool) -> Result<Option<AutoTimes>, CompileError> {
        let fp32 = self.sessions(fp32, Precision::Fp32)?;
        let int8 = self.sessions(int8, Precision::Int8)?;
        let mut sides = [(fp32, Vec::new()), (int8, Vec::new())];
        for _ in 0..TURNS {
            for (sessions, curves) in &mut sides {
                curves.push(self.curve(sessions)?);
            }
        }
        let [(_, fp32), (_, int8)] = &sides;
        Ok(AutoTimes::of(fp32, int8))
    }

    fn sessions(self, pool: &Pool, precision: Precision) -> Result<Measured, CompileError> {
        let pool = pool.clone().with_batching(self.batching);
        let sessions = (0..pool.plan().cores).map(|_| pool.session(Width::Narrow));
        let sessions = sessions.collect::<Result<Vec<_>, _>>()?;
        let batch_fixed = sessions.first().and_then(ModelSession::batch_fixed);
        let (count, settings) = (sessions.len(), &self.settings.runtime);
        let batch_max = || measured_batch_max(self.fused, self.shape(), precision, count, settings);
        let narrow = sessions
            .into_iter()
            .map(|session| ImageSession::new(session, self.shape()));
        Ok(Measured {
            sessions: Sessions {
                narrow: narrow.collect(),
                wide: None,
            },
            batch_max: batch_fixed.unwrap_or_else(batch_max),
        })
    }

    fn curve(self, measured: &mut Measured) -> Result<Curve, CompileError> {
        let image = vec![0.0; self.shape().iter().product()];
        let time = Plan::measure_time(&self.settings.runtime) / TURNS;
        Ok(Curve::measure(
            &mut measured.sessions,
            &image,
            measured.batch_max,
            time,
            false,
        )?)
    }

    /// Channels, height and width of an image.
    fn shape(self) -> [usize; 3] {
        let [height, width] = self.package.image_size();
        [GraphInput::of(self.fused.model()).channels(), height, width]
    }
}

/// Sessions that are measured, and the largest batch that they may run.
struct Measured {
    sessions: Sessions<ImageSession>,
    batch_max: usize,
}
