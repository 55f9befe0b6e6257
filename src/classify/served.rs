//! One model as it is served.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::oneshot;

use super::ImageEngine;
use super::back_pressure::BackPressure;
use super::shadow::Shadow;
use super::statistics::Statistics;
use crate::telemetry::{ModelInfo, ModelMetrics};
use repserve_compile::{Description, Facts, Scores, Signature};
use repserve_scheduler::{Batcher, Scheduler, Snapshot, WorkerPool, Workers};

/// One model as it is served: what is known of it, and the scheduler that runs it. Dropped, it ends what it has.
pub struct Served {
    description: Description,
    facts: Facts,
    batcher: Batcher<ImageEngine>,
    back_pressure: Arc<BackPressure>,
    workers: Mutex<Option<Workers<ImageEngine>>>,
    statistics: Arc<Statistics>,
    dropped: Mutex<Option<oneshot::Sender<Leftover>>>,
    shadow: ArcSwapOption<Shadow>,
}

/// What is left of a model when nobody uses it any more: its sessions. Ending them takes a while, which is for a thread that serves nobody.
#[derive(Debug)]
pub struct Leftover {
    workers: Option<Workers<ImageEngine>>,
}

impl Leftover {
    /// Ends the sessions. Blocks until no worker is at one.
    pub fn end(self) {
        if let Some(workers) = self.workers {
            workers.end();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let workers = self.workers.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let dropped = self.dropped.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(dropped) = dropped {
            // Where nobody waits for it, it ends here.
            let _ = dropped.send(Leftover { workers });
        }
    }
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served")
            .field("name", &self.name())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl Served {
    /// Serves it with the workers that models share, or with workers of its own.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn start(
        description: Description,
        facts: Facts,
        (batcher, scheduler): (Batcher<ImageEngine>, Scheduler<ImageEngine>),
        statistics: Arc<Statistics>,
        pool: Option<&WorkerPool>,
        weight: u32,
    ) -> io::Result<Self> {
        let workers = match pool {
            Some(pool) => scheduler.join(pool, weight),
            None => scheduler.spawn()?,
        };
        let workers = Mutex::new(Some(workers));
        Ok(Self {
            description,
            facts,
            back_pressure: Arc::new(BackPressure::new(batcher.clone())),
            batcher,
            workers,
            statistics,
            dropped: Mutex::default(),
            shadow: ArcSwapOption::empty(),
        })
    }

    /// Completes, with what is left to be ended, when the last request has ended and nobody else uses the model.
    pub fn when_dropped(&self) -> oneshot::Receiver<Leftover> {
        let (sender, receiver) = oneshot::channel();
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// From now on another version computes some of the requests as well; `None`: none does.
    pub fn share_requests(&self, shadow: Option<Arc<Shadow>>) {
        self.shadow.store(shadow);
    }

    /// The version that computes some of the requests as well.
    pub(super) fn shadow(&self) -> Option<Arc<Shadow>> {
        self.shadow.load_full()
    }

    /// Images that may wait for it.
    pub fn queue_capacity(&self) -> usize {
        self.batcher.queue_capacity()
    }

    /// What the metrics say of it.
    pub fn info(&self) -> ModelInfo {
        ModelInfo {
            model: self.name().to_owned(),
            version: self.version().to_owned(),
            precision: self.facts.precision.label().to_owned(),
            source_sha256: self.facts.source.sha256.clone(),
            deploy_sha256: self.facts.deploy.sha256.clone(),
        }
    }

    /// Sets the metrics of how it was loaded and how exact it is.
    pub fn publish(&self, metrics: &ModelMetrics) {
        let (facts, labels) = (&self.facts, [self.name(), self.version()]);
        for (phase, took) in &facts.load_seconds.0 {
            metrics.phase(labels, phase.label(), *took);
        }
        metrics.reparam(labels, facts.blocks_fused, facts.equivalence.relative_error);
        let kernels = facts.kernels.as_ref();
        metrics.winograd(
            labels,
            kernels.map_or(0, |kernels| kernels.lowered),
            kernels.and_then(|kernels| kernels.relative_error).unwrap_or(0.0),
        );
        if let Some(int8) = &facts.int8 {
            let found = int8.agreement;
            metrics.int8(labels, found.top1_agreement, found.kl_divergence);
        }
    }

    /// The name by which it is found.
    pub fn name(&self) -> &str {
        &self.description.manifest.name
    }

    /// Which version of it this is.
    pub fn version(&self) -> &str {
        &self.description.manifest.version
    }

    /// What was fused, how exact it is, and how it runs.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The label of a class.
    pub fn label(&self, index: usize) -> &str {
        self.description.labels.get(index).map_or("", String::as_str)
    }

    /// How its output becomes probabilities.
    pub fn scores(&self) -> Scores {
        self.description.scores
    }

    /// The least probability of a class that a prediction names.
    pub fn threshold(&self) -> f32 {
        self.description.manifest.output.threshold.unwrap_or(0.0)
    }

    /// What goes in and what comes out.
    pub fn signature(&self) -> &Signature {
        &self.description.signature
    }

    /// Where work is submitted.
    pub fn batcher(&self) -> &Batcher<ImageEngine> {
        &self.batcher
    }

    /// Where requests get a place before their bodies are read, or wait for one.
    pub fn back_pressure(&self) -> &Arc<BackPressure> {
        &self.back_pressure
    }

    /// What it has done so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Queue and sessions at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.batcher.snapshot()
    }

    /// Ends what waits and what would come, as aborted.
    pub fn abort(&self) {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(workers);
    }
}
