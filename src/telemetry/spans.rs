//! Spans for an OpenTelemetry collector: one a request, one below it for each stage. Exported by the feature `otlp`.

use std::time::{Duration, SystemTime};

use repserve_settings::settings;

use super::labels::Stage;

settings! {
    /// Export of spans.
    pub struct TraceSettings {
        /// Base URL of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://collector:4318`; empty: no export.
        /// Needs a binary with the feature `otlp`, as the image's is. `traceparent` is read and returned either way.
        otlp_endpoint: String = String::new(),
        /// Share of the requests that are exported where `traceparent` does not decide it.
        #[allowed(0.0..=1.0)]
        sample_ratio: f64 = 1.0,
        /// `service.name` of what is exported.
        service_name: String = "repserve".to_owned(),
    }
}

/// A request that has ended.
#[derive(Debug, Clone)]
pub struct RequestSpan {
    /// Of the whole trace.
    pub trace_id: u128,
    /// Of this request.
    pub span_id: u64,
    /// Of the caller's span.
    pub parent_id: Option<u64>,
    /// The route's template.
    pub route: String,
    /// The method.
    pub method: String,
    /// The status.
    pub code: u16,
    /// The request's id in the log.
    pub request_id: String,
    /// When its head had arrived.
    pub began: SystemTime,
    /// Until its response.
    pub took: Duration,
    /// What its slowest image spent in each stage, in order. Only their durations are known: they are
    /// placed in the request one after the other.
    pub stages: Vec<(Stage, Duration)>,
    /// Images that shared the session's run.
    pub batch_size: usize,
}

/// Traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The binary was built without it.
    #[error("trace.otlp_endpoint is set, and this binary was built without the feature `otlp`")]
    NotBuilt,
    /// The endpoint cannot be used.
    #[error("trace.otlp_endpoint = {endpoint:?}: {reason}")]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
}
