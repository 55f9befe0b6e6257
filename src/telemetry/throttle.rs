//! One line in the log for many events of a kind.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts events of one kind, of which one line in a period tells.
#[derive(Debug)]
pub(crate) struct Throttle {
    period: Duration,
    untold: Mutex<Untold>,
}

#[derive(Debug)]
struct Untold {
    events: u64,
    last: Option<Instant>,
}

impl Throttle {
    pub(crate) const fn new(period: Duration) -> Self {
        let untold = Untold { events: 0, last: None };
        Self {
            period,
            untold: Mutex::new(untold),
        }
    }

    /// Counts an event; returns how many to tell of, where it is time to.
    pub(crate) fn count(&self, now: Instant) -> Option<u64> {
        let mut untold = self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        untold.events += 1;
        let due = untold
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.period);
        due.then(|| {
            untold.last = Some(now);
            std::mem::take(&mut untold.events)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        const PERIOD: Duration = Duration::from_secs(10);
        let (throttle, start) = (Throttle::new(PERIOD), Instant::now());
        let check = |at: Instant, expected: Option<u64>| assert_eq!(throttle.count(at), expected);
        check(start, Some(1));
        check(start + PERIOD / 3, None);
        check(start + PERIOD / 2, None);
        check(start + PERIOD, Some(3));
        check(start + PERIOD, None);
    }
}
