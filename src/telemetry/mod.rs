//! What an operator sees: the log ([`logging`]) and the metrics ([`metrics`]).

mod logging;
pub mod metrics;

pub use logging::{LogFormat, LogSettings, init};
pub use metrics::Metrics;
