//! The rate at which a body must arrive: bytes over windows of time. Pure; the times come from outside.

use std::time::{Duration, Instant};

/// What a body must keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct MinimumRate {
    /// Bytes a second; 0: any.
    pub(super) bytes_per_second: usize,
    /// How long a body may fall behind: the length of the windows over which its rate is taken.
    pub(super) window: Duration,
}

/// How one body keeps to it. Each window is judged by itself, so that a body that began fast cannot stand still after that.
#[derive(Debug)]
pub(super) struct Pace {
    rate: MinimumRate,
    until: Instant,
    bytes: u64,
}

impl Pace {
    pub(super) fn new(rate: MinimumRate, now: Instant) -> Self {
        Self {
            rate,
            until: now + rate.window,
            bytes: 0,
        }
    }

    /// When the window that runs must be judged, whatever arrives; `None` where any rate will do.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.rate.bytes_per_second > 0).then_some(self.until)
    }

    /// Counts what has arrived.
    pub(super) fn arrived(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Ends the window where it is over; returns whether enough arrived in it.
    pub(super) fn judge(&mut self, now: Instant) -> bool {
        if self.due().is_none_or(|due| now < due) {
            return true;
        }
        let wanted = self.rate.bytes_per_second as f64 * self.rate.window.as_secs_f64();
        let enough = self.bytes as f64 >= wanted;
        self.bytes = 0;
        self.until = now + self.rate.window;
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: MinimumRate = MinimumRate {
        bytes_per_second: 1000,
        window: Duration::from_secs(5),
    };

    /// Whether a body is fast enough of which so many bytes arrive in each window.
    #[track_caller]
    fn check(rate: MinimumRate, windows: &[usize], expected: &[bool]) {
        let start = Instant::now();
        let mut pace = Pace::new(rate, start);
        let judged: Vec<bool> = (1u32..)
            .zip(windows)
            .map(|(window, bytes)| {
                pace.arrived(*bytes);
                let end = start + rate.window * window;
                assert!(
                    pace.judge(end - Duration::from_millis(1)),
                    "a window is judged at its end"
                );
                pace.judge(end)
            })
            .collect();
        assert_eq!(judged, expected);
    }

    #[test]
    fn every_window_is_judged_by_itself() {
        check(RATE, &[5000, 4999], &[true, false]);
        check(RATE, &[10_000_000, 0], &[true, false]);
        check(RATE, &[0], &[false]);
    }

    #[test]
    fn without_a_rate_nothing_is_due() {
        let any = MinimumRate {
            bytes_per_second: 0,
            ..RATE
        };
        check(any, &[0, 0], &[true, true]);
        assert_eq!(Pace::new(any, Instant::now()).due(), None);
    }
}
