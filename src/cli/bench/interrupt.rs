//! SIGTERM and SIGINT while it measures: nothing is left behind.

use std::io;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ExitCode;

/// Ends the process at SIGTERM and SIGINT, and removes `scratch` before. The server that is measured ends with the process.
///
/// # Errors
/// Where signals cannot be heard, or no thread can be started for that.
pub(super) fn end_at_signals(scratch: PathBuf) -> io::Result<()> {
    // Of its own: the thread that measures also computes, for as long as a scenario takes.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt) = {
        let _within = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let wait = async move {
        tokio::select! {
            _ = terminate.recv() => libc::SIGTERM,
            _ = interrupt.recv() => libc::SIGINT,
        }
    };
    let end = move || {
        let number = runtime.block_on(wait);
        // What cannot be removed is in the system's folder for such files.
        let _ = std::fs::remove_dir_all(scratch);
        ExitCode::of_signal(number as u8).exit()
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(end)
        .map(|_| ())
}
