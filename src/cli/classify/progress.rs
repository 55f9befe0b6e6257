//! How far a run over many images has come: a bar on a terminal, else a line on stderr from time to time.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::cli::output;

/// Between two lines where stderr is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The images that are done, of those that there are.
pub(super) struct Progress {
    bar: ProgressBar,
    total: usize,
    done: usize,
    began: Instant,
    /// When the last line was written; `None` where none are to be.
    line: Option<Instant>,
}

impl Progress {
    /// Nothing is done yet. `quiet`: neither bar nor lines.
    pub(super) fn new(total: usize, quiet: bool) -> Self {
        let bar = if quiet {
            ProgressBar::hidden()
        } else {
            output::progress_bar(total, "{bar:40} {pos}/{len} images, {per_sec}, {eta} left")
        };
        let now = Instant::now();
        Self {
            line: (bar.is_hidden() && !quiet).then_some(now),
            bar,
            total,
            done: 0,
            began: now,
        }
    }

    /// Runs `print` while the bar is out of the way.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// One image more is done.
    pub(super) fn step(&mut self) {
        self.done += 1;
        self.bar.inc(1);
        let due = self.line.is_some_and(|last| last.elapsed() >= LINE_EVERY);
        if due && self.done < self.total {
            self.line = Some(Instant::now());
            output::complain(&line(self.done, self.total, self.began.elapsed()));
        }
    }

    /// All are done.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// What is done, and how long the rest takes at the same rate.
fn line(done: usize, total: usize, took: Duration) -> String {
    let left = took.mul_f64((total - done) as f64 / done as f64);
    format!("{done} of {total} images, about {} s left", left.as_secs().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_an_image() {
        let check = |done, total, took, expected: &str| {
            assert_eq!(line(done, total, Duration::from_secs(took)), expected);
        };
        check(100, 400, 10, "100 of 400 images, about 30 s left");
        check(399, 400, 10, "399 of 400 images, about 1 s left");
    }
}
