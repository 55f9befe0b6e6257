//! Spans for an OpenTelemetry collector: one a request, one below it for each stage. Exported by the feature `otlp`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use repserve_settings::{rule, settings};

use super::labels::Stage;

settings! {
    /// Export of spans.
    pub struct TraceSettings {
        /// Base URL of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://collector:4318` or an https:// one; empty: no
        /// export. `traceparent` is read and returned either way. Headers that the collector wants, such as a key, are read from the variable
        /// OTEL_EXPORTER_OTLP_HEADERS (`name=value,...`). Needs the feature `otlp`, which is built in by default.
        #[allowed(rule("an http:// or https:// URL, or empty", TraceSettings::has_url))]
        otlp_endpoint: String = String::new(),
        /// PEM certificates of the authorities that an https:// collector is verified against; empty: the system's.
        otlp_certificate_file: PathBuf = PathBuf::new(),
        /// Share of the requests that are exported where `traceparent` does not decide it.
        #[allowed(0.0..=1.0)]
        sample_ratio: f64 = 1.0,
        /// `service.name` of what is exported.
        service_name: String = "repserve".to_owned(),
        /// Keys of W3C baggage (the header `baggage`) that the span of a request has as attributes, such as ["tenant"]; ["*"]: all; []: none.
        baggage_keys: Vec<String> = vec!["*".to_owned()],
    }
}

impl TraceSettings {
    /// Whether spans go to a collector over TLS.
    pub fn is_encrypted(&self) -> bool {
        self.otlp_endpoint.starts_with("https://")
    }

    fn has_url(&self) -> bool {
        let url = ["http://", "https://"]
            .iter()
            .find_map(|scheme| self.otlp_endpoint.strip_prefix(scheme));
        self.otlp_endpoint.is_empty() || url.is_some_and(|rest| !rest.is_empty())
    }

    /// Whether spans have this key of the baggage.
    #[cfg(feature = "otlp")]
    pub(super) fn keeps(&self, key: &str) -> bool {
        self.baggage_keys.iter().any(|kept| kept == "*" || kept == key)
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
    /// What the tracing systems before this one noted (`tracestate`).
    pub trace_state: String,
    /// Keys and values of the caller's baggage.
    pub baggage: Vec<(String, String)>,
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
    #[error(
        "trace.otlp_endpoint is set, and this binary was built without the feature `otlp`; build it with (cargo build, without --no-default-features)"
    )]
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
