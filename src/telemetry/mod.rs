//! What an operator sees: the log ([`logging`]), the metrics ([`metrics`], [`model_metrics`], [`connections`]) and the spans ([`spans`]).

mod connections;
mod labels;
mod log_queue;
mod logging;
mod maker;
mod metrics;
mod model_metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod panics;
mod spans;
mod throttle;

pub use connections::{Closed, ConnectionMetrics, ConnectionState};
pub use labels::{Reason, Stage};
pub use logging::{Log, LogError, LogFormat, LogSettings, init};
pub use metrics::Metrics;
pub use model_metrics::{ModelInfo, ModelMetrics};
pub use spans::{RequestSpan, Spans, TraceError, TraceSettings};
pub(crate) use throttle::Throttle;
