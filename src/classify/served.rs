//! One model as it is served.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::ImageEngine;
use super::back_pressure::BackPressure;
use super::statistics::Statistics;
use repserve_compile::{Description, Facts, Scores, Signature};
use repserve_scheduler::{Batcher, Scheduler, Snapshot, Workers};

/// One model as it is served: what is known of it, and the scheduler that runs it. Dropped, it ends what it has.
pub struct Served {
    description: Description,
    facts: Facts,
    batcher: Batcher<ImageEngine>,
    back_pressure: Arc<BackPressure>,
    workers: Mutex<Option<Workers<ImageEngine>>>,
    statistics: Arc<Statistics>,
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
    /// Starts the scheduler's workers. `statistics` are those that its observer keeps.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn start(
        description: Description,
        facts: Facts,
        (batcher, scheduler): (Batcher<ImageEngine>, Scheduler<ImageEngine>),
        statistics: Arc<Statistics>,
    ) -> io::Result<Self> {
        let workers = Mutex::new(Some(scheduler.spawn()?));
        Ok(Self {
            description,
            facts,
            back_pressure: Arc::new(BackPressure::new(batcher.clone())),
            batcher,
            workers,
            statistics,
        })
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
