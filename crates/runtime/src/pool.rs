//! Makes the sessions of one model.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cores::Cores;
use super::error::RuntimeError;
use super::locate::Runtime;
use super::operators::Int8Kernels;
use super::optimized::{Int8, OptimizedModel};
use super::plan::Plan;
use super::session::{Batching, ModelSession, SessionOptions};
use super::session_model::SessionModel;
use super::settings::{KernelMode, RuntimeSettings};
use repserve_kernels::Int8Isa;
use repserve_scheduler::{Sessions, Width};

/// Makes sessions of one model, at the start and again after one has failed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    pub(super) runtime: Runtime,
    pub(super) model: SessionModel,
    pub(super) output: Option<String>,
    pub(super) further: Vec<String>,
    pub(super) batching: Batching,
    pub(super) optimized: Option<Arc<OptimizedModel>>,
    pub(super) plan: Plan,
}

impl Pool {
    /// Decides in whose kernels `model` computes (`settings.kernels`), and whether its sessions share its weights
    /// (`settings.share_weights`). `output` is the output to read, the first if not given.
    ///
    /// The model is optimized once for all sessions where its weights are shared, or where int8 runs in this program's kernels. Where
    /// the optimized model cannot be kept, each session optimizes for itself and the log has the reason.
    ///
    /// # Errors
    /// ONNX Runtime refuses the model.
    pub fn new(
        runtime: &Runtime,
        mut model: SessionModel,
        output: Option<String>,
        settings: &RuntimeSettings,
    ) -> Result<Self, RuntimeError> {
        let int8 = match (model.int8, settings.kernels) {
            (false, _) => Int8::None,
            (true, KernelMode::Off) => Int8::OnnxRuntime,
            (true, KernelMode::Auto | KernelMode::On) => Int8Isa::detect().map_or(Int8::OnnxRuntime, Int8::Own),
        };
        let once = settings.share_weights || matches!(int8, Int8::Own(_));
        let optimize = || OptimizedModel::new(runtime, &model, int8, settings.share_weights);
        let optimized = match once.then(|| optimize().and_then(|model| model.that_loads(runtime))) {
            None => None,
            Some(Ok(optimized)) => Some(Arc::new(optimized)),
            Some(Err(reason)) => {
                plain_session(runtime, &model, &SessionOptions::default())?;
                tracing::warn!(%reason, "each session holds its own copy of the weights; int8 computes in ONNX Runtime's kernels");
                None
            }
        };
        if optimized.is_some() {
            model.onnx.clear();
        }
        Ok(Self {
            runtime: runtime.clone(),
            model,
            output,
            further: Vec::new(),
            batching: Batching::Free,
            optimized,
            plan: Plan::new(settings, Cores::detect()),
        })
    }

    /// The same, for sessions whose runs take that many images.
    #[must_use]
    pub fn with_batching(mut self, batching: Batching) -> Self {
        self.batching = batching;
        self
    }

    /// The same, for sessions that read these outputs as well.
    #[must_use]
    pub fn with_further(mut self, outputs: Vec<String>) -> Self {
        self.further = outputs;
        self
    }

    /// The same, with that plan.
    #[must_use]
    pub fn with_plan(mut self, plan: Plan) -> Self {
        self.plan = plan;
        self
    }

    /// The plan before measuring: how many sessions there will be.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether all sessions share one copy of the weights.
    pub fn shares_weights(&self) -> bool {
        self.optimized.as_ref().is_some_and(|model| model.shares())
    }

    /// What of an int8 model this program's kernels compute; `None` where ONNX Runtime computes all of it, or the model is no int8.
    pub fn int8_kernels(&self) -> Option<Int8Kernels> {
        self.optimized.as_ref()?.layers.int8_kernels()
    }

    /// Nodes of the graph that ONNX Runtime made of the model, by operator; those of other domains as `domain::operator`.
    /// `None` where each session optimizes for itself.
    pub fn operators(&self) -> Option<&BTreeMap<String, usize>> {
        Some(&self.optimized.as_ref()?.operators)
    }

    /// One more session.
    ///
    /// # Errors
    /// ONNX Runtime refuses the model, or it is no image classifier.
    pub fn session(&self, width: Width) -> Result<ModelSession, RuntimeError> {
        let options = SessionOptions {
            threads: match width {
                Width::Narrow => 1,
                Width::Wide => self.plan.cores,
            },
            output: self.output.clone(),
            further: self.further.clone(),
            ..SessionOptions::default()
        };
        let session = match &self.optimized {
            None => plain_session(&self.runtime, &self.model, &options),
            Some(optimized) => ModelSession::of(optimized.session(&self.runtime, options.threads)?, &options),
        };
        Ok(session?.with_batching(self.batching))
    }

    /// The sessions of the plan; `first` is one of the narrow ones.
    ///
    /// # Errors
    /// As [`Self::session`].
    pub fn sessions(&self, first: ModelSession) -> Result<Sessions<ModelSession>, RuntimeError> {
        let mut narrow = vec![first];
        while narrow.len() < self.plan.cores {
            narrow.push(self.session(Width::Narrow)?);
        }
        let wide = (self.plan.wide_threads > 0)
            .then(|| self.session(Width::Wide))
            .transpose()?;
        Ok(Sessions { narrow, wide })
    }
}

/// A session that optimizes the model for itself.
fn plain_session(
    runtime: &Runtime,
    model: &SessionModel,
    options: &SessionOptions,
) -> Result<ModelSession, RuntimeError> {
    let options = SessionOptions {
        layers: model.layers.clone(),
        int8_as_given: model.int8,
        ..options.clone()
    };
    ModelSession::from_memory(runtime, &model.onnx, &options)
}
