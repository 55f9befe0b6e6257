//! Makes the sessions of one model, over one copy of its weights where that is possible.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::shared::{Int8, SharedModel};
use super::{
    Cores, Int8Kernels, Layers, ModelSession, Plan, Runtime, RuntimeError, RuntimeSettings, SessionOptions,
    WinogradMode, int8,
};
use repserve_graph::onnx::{self, ExternalData};
use repserve_kernels::CodeIsa;
use repserve_scheduler::{Sessions, Width};

/// Makes sessions of one deploy graph, at the start and again after one has failed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pool {
    runtime: Runtime,
    source: Source,
    layers: Layers,
    output: Option<String>,
    int8: bool,
    plan: Plan,
}

#[derive(Debug, Clone)]
enum Source {
    Shared(Arc<SharedModel>),
    Plain(Bytes),
}

impl Pool {
    /// Optimizes `onnx`, a whole model with its weights inside; `layers` are what its operators run, none for a model that is not
    /// lowered. `output` is the output to read, the first if not given. Where its weights cannot be shared, sessions are made
    /// plainly and the log says why.
    ///
    /// # Errors
    /// ONNX Runtime refuses the model.
    pub fn new(
        runtime: &Runtime,
        onnx: Bytes,
        layers: Layers,
        output: Option<String>,
        settings: &RuntimeSettings,
    ) -> Result<Self, RuntimeError> {
        let read = onnx::read(onnx.clone(), &ExternalData::None);
        let int8 = match read.is_ok_and(|model| int8::computes_in_int8(&model)) {
            false => Int8::None,
            true if settings.winograd == WinogradMode::Off => Int8::OnnxRuntime,
            true => CodeIsa::detect().map_or(Int8::OnnxRuntime, Int8::Own),
        };
        let shared = || SharedModel::optimize(runtime, &onnx, layers.clone(), int8);
        let source = match settings.share_weights.then(shared) {
            None => Source::Plain(onnx),
            Some(Ok(shared)) => Source::Shared(Arc::new(shared)),
            Some(Err(RuntimeError::Model(reason))) => return Err(RuntimeError::Model(reason)),
            Some(Err(reason)) => {
                tracing::warn!(%reason, "each session holds its own copy of the weights");
                Source::Plain(onnx)
            }
        };
        Ok(Self {
            runtime: runtime.clone(),
            source,
            layers,
            output,
            int8: int8 != Int8::None,
            plan: Plan::new(settings, Cores::detect()),
        })
    }

    /// The plan before measuring: how many sessions there will be.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether all sessions share one copy of the weights.
    pub fn shares_weights(&self) -> bool {
        matches!(&self.source, Source::Shared(shared) if shared.shares())
    }

    /// What of an int8 model the server's own kernels compute; `None` where ONNX Runtime computes all of it, or the model is no int8.
    pub fn int8_kernels(&self) -> Option<Int8Kernels> {
        match &self.source {
            Source::Shared(shared) => shared.layers.int8_kernels(),
            Source::Plain(_) => None,
        }
    }

    /// Nodes of the graph that ONNX Runtime made of the model, by operator; those of other domains as `domain::operator`.
    /// `None` where each session optimizes for itself.
    pub fn operators(&self) -> Option<&BTreeMap<String, usize>> {
        match &self.source {
            Source::Shared(shared) => Some(&shared.operators),
            Source::Plain(_) => None,
        }
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
            layers: self.layers.clone(),
            int8_as_given: self.int8,
        };
        match &self.source {
            Source::Plain(onnx) => ModelSession::from_memory(&self.runtime, onnx, &options),
            Source::Shared(shared) => ModelSession::of(shared.session(&self.runtime, options.threads)?, &options),
        }
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
