//! The log: events on stderr, readable or a JSON object a line. Logging never waits ([`super::log_queue`]).

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::time::Duration;

use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use super::log_queue::LogQueue;
use super::log_settings::{LogFormat, LogSettings};
use super::panics::log_panics;

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

/// Lines that were not written because the log was not read fast enough.
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
    // A descriptor of its own: a thread that holds the lock of `io::stderr` may wait.
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
