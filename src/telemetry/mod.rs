//! What an operator sees: the log ([`log`]), the metrics ([`metrics`], [`admission`], [`model_metrics`], [`connections`]) and the spans of requests ([`spans`], [`tracer`]).

mod admission;
#[cfg(feature = "otlp")]
mod collector;
mod connections;
mod labels;
mod log;
mod log_queue;
mod log_settings;
mod maker;
mod metrics;
mod model_metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod panics;
mod spans;
mod throttle;
mod tracer;

pub use admission::AdmissionMetrics;
pub use connections::{Closed, ConnectionActivity, ConnectionMetrics};
pub use labels::{Reason, Stage};
pub use log::{Log, LogError, init};
pub use log_settings::{LogFormat, LogSettings};
pub use metrics::Metrics;
pub use model_metrics::{ModelCounts, ModelInfo, ModelMetrics, Swap};
pub use spans::{RequestSpan, TraceError, TraceSettings};
pub(crate) use throttle::Throttle;
pub use tracer::Tracer;
