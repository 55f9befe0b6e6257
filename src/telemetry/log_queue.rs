//! From the log to stderr: a bounded queue, and a thread that writes. Logging never waits for the reader of stderr; a line that does
//! not fit is dropped and counted.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::log_settings::LogFormat;

/// Bytes that may wait. As many again may be on their way to stderr.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// Bytes of one line at most; what is longer is cut.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Bytes of a longer line that are kept.
const KEPT_BYTES: usize = 4 << 10;

/// Lines that wait to be written.
#[derive(Debug)]
pub(super) struct LogQueue {
    state: Mutex<State>,
    changed: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct State {
    lines: Vec<u8>,
    /// Whether lines that were taken are not written yet.
    writing: bool,
    closed: bool,
}

impl LogQueue {
    pub(super) const fn new() -> Self {
        let state = State {
            lines: Vec::new(),
            writing: false,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Lines that did not fit.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A writer of one line.
    pub(super) fn line(&self, format: LogFormat) -> Line<'_> {
        Line { queue: self, format }
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.lines.len() + line.len() > QUEUE_BYTES_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.lines.extend_from_slice(line);
        drop(state);
        self.changed.notify_all();
    }

    /// Writes to `out` what is pushed, until the queue is closed and empty. `report` is called with the number of lines that were
    /// dropped since its last call, once lines can be written again.
    pub(super) fn write_to(&self, mut out: impl Write, report: impl Fn(u64)) {
        let mut batch = Vec::new();
        let mut reported = 0;
        while self.take(&mut batch) {
            // The queue has just been emptied: the line that reports them fits.
            let dropped = self.dropped();
            if dropped > reported {
                report(dropped - reported);
                reported = dropped;
            }
            // Where stderr is closed, no reader is left.
            let _ = out.write_all(&batch);
            batch = Vec::new();
        }
    }

    /// Waits for lines and moves them to `batch`; false where none will come.
    fn take(&self, batch: &mut Vec<u8>) -> bool {
        let mut state = self.lock();
        state.writing = false;
        self.changed.notify_all();
        let idle = |state: &mut State| state.lines.is_empty() && !state.closed;
        state = self
            .changed
            .wait_while(state, idle)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.lines, batch);
        state.writing = !batch.is_empty();
        state.writing
    }

    /// Waits until all is written, `limit` at most.
    pub(super) fn flush(&self, limit: Duration) {
        let unwritten = |state: &mut State| state.writing || !state.lines.is_empty();
        let _ = self.changed.wait_timeout_while(self.lock(), limit, unwritten);
    }

    #[cfg(test)]
    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a whole line in one call of `write`, as the subscriber makes them.
pub(super) struct Line<'a> {
    queue: &'a LogQueue,
    format: LogFormat,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(&bounded(line, self.format));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line, or of one that is too long its start, in the log's format.
fn bounded(line: &[u8], format: LogFormat) -> Cow<'_, [u8]> {
    if line.len() <= LINE_BYTES_MAX {
        return Cow::Borrowed(line);
    }
    let start = String::from_utf8_lossy(&line[..KEPT_BYTES]);
    let bytes = line.len();
    let cut = match format {
        LogFormat::Text => format!("{start} [cut: {bytes} bytes]\n"),
        LogFormat::Json => format!(
            "{}\n",
            serde_json::json!({ "level": "WARN", "message": "a line was too long", "bytes": bytes, "start": start })
        ),
    };
    Cow::Owned(cut.into_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Writes only what it is allowed to, and sends what it was given.
    struct Slow {
        allowed: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.written.send(bytes.to_vec());
            let _ = self.allowed.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_is_informed_of_them() {
        const LINE: &[u8] = &[b'x'; 1024];
        let queue = LogQueue::new();
        let (allow, allowed) = mpsc::channel();
        let (written, seen) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let out = Slow { allowed, written };
                queue.write_to(out, |lines| {
                    writeln!(queue.line(LogFormat::Text), "{lines} dropped").unwrap();
                });
            });
            queue.push(b"first\n");
            assert_eq!(seen.recv().unwrap(), b"first\n");
            for _ in 0..QUEUE_BYTES_MAX / LINE.len() + 7 {
                queue.push(LINE);
            }
            assert_eq!(queue.dropped(), 7);
            queue.flush(Duration::from_millis(1));
            allow.send(()).unwrap();
            assert_eq!(seen.recv().unwrap().len(), QUEUE_BYTES_MAX);
            allow.send(()).unwrap();
            assert_eq!(seen.recv().unwrap(), b"7 dropped\n");
            drop(allow);
            queue.flush(Duration::from_secs(60));
            assert!(queue.lock().lines.is_empty());
            queue.close();
        });
    }

    #[test]
    fn lines_are_bounded_and_json_stays_json() {
        let long = vec![b'"'; LINE_BYTES_MAX + 1];
        assert_eq!(bounded(b"short\n", LogFormat::Json), &b"short\n"[..]);
        let text = bounded(&long, LogFormat::Text);
        assert!(text.len() < KEPT_BYTES + 100 && text.ends_with(b" [cut: 16385 bytes]\n"));
        let json: serde_json::Value = serde_json::from_slice(&bounded(&long, LogFormat::Json)).unwrap();
        assert_eq!(json["bytes"], 16385);
    }
}
