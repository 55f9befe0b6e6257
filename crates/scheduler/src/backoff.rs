//! How long to wait before a session that could not be made is tried again: making one costs much, and what hinders it seldom goes
//! away at once.

use std::time::{Duration, Instant};

use super::engine::Width;

const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_secs(10);

/// Doubling delays, for each width on its own.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    narrow: Option<Delay>,
    wide: Option<Delay>,
}

#[derive(Debug, Clone, Copy)]
struct Delay {
    until: Instant,
    length: Duration,
}

impl Backoff {
    /// How long nobody should try; zero when somebody may.
    pub(super) fn left(&self, width: Width, now: Instant) -> Duration {
        let delay = match width {
            Width::Narrow => self.narrow,
            Width::Wide => self.wide,
        };
        delay.map_or(Duration::ZERO, |delay| delay.until.saturating_duration_since(now))
    }

    /// Notes how an attempt went.
    pub(super) fn tried(&mut self, width: Width, ok: bool, now: Instant) {
        let delay = match width {
            Width::Narrow => &mut self.narrow,
            Width::Wide => &mut self.wide,
        };
        let length = delay.map_or(DELAY_MIN, |delay| (2 * delay.length).min(DELAY_MAX));
        *delay = (!ok).then(|| Delay {
            until: now + length,
            length,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left to wait, in milliseconds, after so many failures in a row.
    #[track_caller]
    fn check(failures: usize, expected_ms: u64) {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..failures {
            backoff.tried(Width::Narrow, false, now);
        }
        assert_eq!(backoff.left(Width::Narrow, now), Duration::from_millis(expected_ms));
        assert_eq!(backoff.left(Width::Wide, now), Duration::ZERO);
        let later = now + Duration::from_millis(expected_ms);
        assert_eq!(backoff.left(Width::Narrow, later), Duration::ZERO);
        backoff.tried(Width::Narrow, true, later);
        assert_eq!(backoff.left(Width::Narrow, now), Duration::ZERO);
    }

    #[test]
    fn the_delay_doubles_up_to_ten_seconds_and_success_ends_it() {
        check(0, 0);
        check(1, 100);
        check(2, 200);
        check(5, 1600);
        check(20, 10_000);
    }
}
