//! The log: events on stderr, readable or a JSON object a line.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Section `[log]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// A level or a list of `module=level`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors: a JSON object a line.
    Json,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl LogSettings {
    /// The filter that `level` describes.
    pub(crate) fn filter(&self) -> Result<EnvFilter, ParseError> {
        EnvFilter::builder().parse(&self.level)
    }
}

/// Sends the process's events to stderr. Once a process; the library's users may bring a subscriber of their own.
///
/// # Errors
/// Where a subscriber is set already.
pub fn init(settings: &LogSettings) -> Result<(), TryInitError> {
    let filter = settings.filter().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Where stderr has been closed, a report of the failed write would go there too, and panic: with it the task that hears signals.
        .log_internal_errors(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match settings.format {
        LogFormat::Text => builder.with_target(false).finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
}
