//! Where a request's time went: in the response's headers, and for its spans.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use crate::telemetry::Stage;
use repserve_scheduler::Timings;

/// Where a request's time went; travels with the response to where its spans are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct StageTimes {
    /// The longest that any image spent in each stage.
    pub(super) timings: Timings,
    /// Probabilities and best classes.
    pub(super) postprocess: Duration,
}

impl StageTimes {
    /// Puts the times into a response: as headers, and for its spans.
    pub(super) fn attach(self, response: &mut Response) {
        let mut time = |name, duration: Duration| {
            let name = HeaderName::from_static(name);
            response.headers_mut().insert(name, milliseconds(duration));
        };
        time("x-decode-time", self.timings.decode + self.timings.preprocess);
        time("x-queue-time", self.timings.queue);
        time("x-inference-time", self.timings.inference);
        response.extensions_mut().insert(self);
    }

    /// Each stage with its duration, in a request's order.
    pub(super) fn stages(&self) -> Vec<(Stage, Duration)> {
        let spent = |stage| match stage {
            Stage::Decode => self.timings.decode,
            Stage::Preprocess => self.timings.preprocess,
            Stage::Queue => self.timings.queue,
            Stage::Inference => self.timings.inference,
            Stage::Postprocess => self.postprocess,
        };
        Stage::ALL.map(|stage| (stage, spent(stage))).to_vec()
    }
}

/// A duration as the timing headers give it: milliseconds with three decimals.
pub(super) fn milliseconds(duration: Duration) -> HeaderValue {
    let text = format!("{:.3}", duration.as_secs_f64() * 1e3);
    of_one_response(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0")))
}

/// The value of a header that no other response has.
pub(super) fn of_one_response(mut value: HeaderValue) -> HeaderValue {
    // HTTP/2 does not keep such a value in its table of headers: it would push out those that come again, and be compared with every later
    // value of the same header.
    value.set_sensitive(true);
    value
}
