//! Reports what the scheduler does to the metrics and to the model's statistics.

use std::sync::Arc;
use std::time::Duration;

use super::statistics::Statistics;
use crate::telemetry::{Metrics, ModelCounts, Stage};
use repserve_scheduler::{End, Observer, Predicted, SessionError, Timings, Width};

/// Counts images and runs, and times the stages of every image that was classified.
#[derive(Debug)]
pub struct MetricsObserver {
    /// Of all models together.
    pub metrics: Metrics,
    /// Those of the model among them.
    pub model: ModelCounts,
    /// Of the model.
    pub statistics: Arc<Statistics>,
}

impl Observer for MetricsObserver {
    fn ran(&self, _width: Width, batch_size: usize, inference: Duration) {
        self.metrics.batch(batch_size);
        self.statistics.ran(batch_size, inference);
    }

    fn rebuilding(&self, width: Width, reason: &SessionError) {
        tracing::error!(?width, %reason, "a session failed and is made anew");
    }

    fn ended(&self, end: End, timings: &Timings, _in_time: Option<bool>) {
        if end != End::Completed {
            return;
        }
        let prepare = timings.decode + timings.preprocess;
        self.statistics.image(prepare, timings.queue, timings.inference);
        self.metrics.images(1);
        self.model.images(1);
        if !timings.decode.is_zero() {
            self.metrics.stage(Stage::Decode, timings.decode);
            self.metrics.stage(Stage::Preprocess, timings.preprocess);
        }
        self.metrics.stage(Stage::Queue, timings.queue);
        self.metrics.stage(Stage::Inference, timings.inference);
    }

    fn predicted(&self, Predicted { predicted, actual }: Predicted) {
        self.metrics.admission.predicted(predicted, actual);
    }
}
