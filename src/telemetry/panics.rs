//! Panics go to the log. The default hook writes to stderr, and waits for its reader.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::time::{Duration, Instant};

use super::throttle::Throttle;

/// One line a second: what makes one thread panic may do so with every request.
static PANICS: Throttle = Throttle::new(Duration::from_secs(1));

/// Sends the messages of panics to the log, and waits for `flush`: a panic may be the last thing that the process does.
pub(super) fn log_panics(flush: fn()) {
    std::panic::set_hook(Box::new(move |panic| {
        if let Some(panics) = PANICS.count(Instant::now()) {
            report(panic, panics);
            flush();
        }
    }));
}

fn report(panic: &PanicHookInfo<'_>, panics: u64) {
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(
        panics,
        thread = thread.name(),
        place = panic.location().map(tracing::field::display),
        panic = panic.payload_as_str().unwrap_or("no message"),
        backtrace,
        "a thread panicked"
    );
}
