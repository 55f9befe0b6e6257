//! Reports what the scheduler does to the metrics.

use std::time::Duration;

use crate::telemetry::Metrics;
use crate::telemetry::Stage;
use repserve_scheduler::{End, Observer, Predicted, SessionError, Timings, Width};

/// Counts images and runs, and times the stages of every image that was classified.
#[derive(Debug)]
pub struct MetricsObserver(pub Metrics);

impl Observer for MetricsObserver {
    fn ran(&self, _width: Width, batch_size: usize, _inference: Duration) {
        self.0.batch(batch_size);
    }

    fn rebuilding(&self, width: Width, reason: &SessionError) {
        tracing::error!(?width, %reason, "a session failed and is made anew");
    }

    fn ended(&self, end: End, timings: &Timings, _in_time: Option<bool>) {
        if end != End::Completed {
            return;
        }
        self.0.images(1);
        if !timings.decode.is_zero() {
            self.0.stage(Stage::Decode, timings.decode);
            self.0.stage(Stage::Preprocess, timings.preprocess);
        }
        self.0.stage(Stage::Queue, timings.queue);
        self.0.stage(Stage::Inference, timings.inference);
    }

    fn predicted(&self, Predicted { predicted, actual }: Predicted) {
        self.0.admission.predicted(predicted, actual);
    }
}
