//! One line in the log for many requests that were shed: a flood of requests must not become a flood of lines. `/metrics` counts each.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines.
const PERIOD: Duration = Duration::from_secs(10);

/// Counts what no line has told yet.
#[derive(Debug, Default)]
pub(super) struct Shed(Mutex<Untold>);

#[derive(Debug, Default)]
struct Untold {
    requests: u64,
    last: Option<Instant>,
}

impl Shed {
    /// Counts a request; answers how many to tell of, where it is time to.
    pub(super) fn count(&self, now: Instant) -> Option<u64> {
        let mut untold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        untold.requests += 1;
        let due = untold
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= PERIOD);
        due.then(|| {
            untold.last = Some(now);
            std::mem::take(&mut untold.requests)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shed: &Shed, at: Instant, expected: Option<u64>) {
        assert_eq!(shed.count(at), expected);
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let (shed, start) = (Shed::default(), Instant::now());
        check(&shed, start, Some(1));
        check(&shed, start + PERIOD / 3, None);
        check(&shed, start + PERIOD / 2, None);
        check(&shed, start + PERIOD, Some(3));
        check(&shed, start + PERIOD, None);
    }
}
