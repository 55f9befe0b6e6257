//! What an operator sees: the log ([`logging`]) the metrics ([`metrics`]) and the spans ([`spans`]).

mod logging;
pub mod metrics;
#[cfg(feature = "otlp")]
mod otlp;
mod spans;

pub use logging::{LogFormat, LogSettings, init};
pub use metrics::Metrics;
pub use spans::{RequestSpan, Spans, TraceError, TraceSettings};
