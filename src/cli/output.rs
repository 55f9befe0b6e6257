//! Writing to stdout and stderr.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use repserve_files::in_words;

/// How long the last line may wait for the reader of stderr.
const LAST_LINE: Duration = Duration::from_secs(1);

/// Writes to stdout.
///
/// # Errors
/// Where stdout cannot be written, above all where its reader has gone (see [`pipe_closed`]).
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// One line on stderr.
pub(super) fn complain(text: &str) {
    let text = in_words(text);
    let line: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let _ = writeln!(io::stderr().lock(), "repserve: {}", line.join(" "));
}

/// One line on stderr before the process ends: given up where stderr is not read.
pub(super) fn complain_at_last(text: &str) {
    let text = text.to_owned();
    let (written, done) = mpsc::channel();
    let writer = std::thread::Builder::new().spawn(move || {
        complain(&text);
        let _ = written.send(());
    });
    if writer.is_ok() {
        let _ = done.recv_timeout(LAST_LINE);
    }
}

/// A progress bar of `len` steps on stderr, hidden where that is no terminal.
pub(super) fn progress_bar(len: usize, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(len as u64).with_style(style)
}

/// Whether the error is only that the reader of stdout has seen enough.
pub(super) fn pipe_closed(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
