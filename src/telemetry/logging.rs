//! The log: events on stderr, readable or a JSON object a line. Logging never waits ([`super::log_queue`]).

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::time::Duration;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::log_queue::LogQueue;
use super::panics::log_panics;

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

/// What a level may be.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Not a filter of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{directive:?} is not one of {}, alone or as module=level", LEVELS.join(", "))]
pub(crate) struct LevelError {
    directive: String,
}

impl LogSettings {
    /// The filter that `level` describes. A bare word must be a level: [`EnvFilter`] alone takes `infoo` for a module.
    pub(crate) fn filter(&self) -> Result<EnvFilter, LevelError> {
        let refused = |directive: &str| LevelError {
            directive: directive.to_owned(),
        };
        if self.level.trim().is_empty() {
            return Err(refused(&self.level));
        }
        let directives: Vec<&str> = self.level.split(',').map(str::trim).collect();
        // Filters by span, such as `[span{field=value}]=debug`, are the parser's to judge.
        let by_span = |directive: &&str| directive.contains(['[', ']', '{', '}', '"']);
        for directive in directives.iter().copied().filter(|d| !by_span(d)) {
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
            if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                return Err(refused(directive));
            }
        }
        EnvFilter::builder()
            .parse(directives.join(","))
            .map_err(|_| refused(&self.level))
    }
}

/// The log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error("log.level: {0}")]
    Level(String),
    /// There is a subscriber already.
    #[error(transparent)]
    Subscriber(#[from] TryInitError),
    /// stderr, or a thread to write there, cannot be had.
    #[error(transparent)]
    Io(#[from] io::Error),
}

static QUEUE: LogQueue = LogQueue::new();

/// How long the last lines may take when the process ends.
const FLUSH_AT_END: Duration = Duration::from_secs(1);
/// How long a thread that panics waits for its line to be written.
const FLUSH_AT_PANIC: Duration = Duration::from_millis(100);

/// Lines that were not written because whoever reads the log was too slow.
pub(super) fn lines_dropped() -> u64 {
    QUEUE.dropped()
}

/// The log while it runs. Dropped, it waits for the last lines, a second at most.
#[derive(Debug)]
#[must_use = "the last lines are lost without it"]
pub struct Log(());

impl Drop for Log {
    fn drop(&mut self) {
        QUEUE.flush(FLUSH_AT_END);
    }
}

/// Sends the process's events, and the messages of panics, to stderr. Once a process; the library's users may bring a subscriber of
/// their own.
///
/// # Errors
/// Where a subscriber is set already, or no thread can be made that writes.
pub fn init(settings: &LogSettings) -> Result<Log, LogError> {
    let filter = settings.filter().map_err(|error| LogError::Level(error.to_string()))?;
    let format = settings.format;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || QUEUE.line(format))
        // A report of an event that cannot be formatted would go to stderr directly, and wait there.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    // A descriptor of its own: who holds the lock of `io::stderr` may wait.
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    match format {
        LogFormat::Text => builder.with_target(false).finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        QUEUE.write_to(stderr, |lines| {
            tracing::warn!(lines, "lines of this log were dropped: it was not read fast enough");
        });
    })?;
    log_panics(|| QUEUE.flush(FLUSH_AT_PANIC));
    Ok(Log(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_do_not_exist_are_refused() {
        let check = |level: &str, good: bool| {
            let settings = LogSettings {
                level: level.to_owned(),
                ..LogSettings::default()
            };
            assert_eq!(settings.filter().is_ok(), good, "{level:?}");
        };
        for good in [
            "info",
            "OFF",
            "warn, hyper=debug",
            "info,repserve::http=trace",
            "[request{id=7}]=debug",
        ] {
            check(good, true);
        }
        for bad in [
            "infoo",
            "",
            " ",
            "info,",
            "repserve=debg",
            "info,repserve",
            "3",
            "info,repserve=",
            "info;debug",
        ] {
            check(bad, false);
        }
    }

    #[test]
    fn what_is_refused_is_named_with_what_is_possible() {
        let settings = LogSettings {
            level: "info,repserve=debg".to_owned(),
            ..LogSettings::default()
        };
        assert_eq!(
            settings.filter().unwrap_err().to_string(),
            "\"repserve=debg\" is not one of error, warn, info, debug, trace, off, alone or as module=level"
        );
    }
}
