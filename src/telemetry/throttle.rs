//! One line in the log for many events of a kind.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts events of one kind, which one line in each period reports.
#[derive(Debug)]
pub(crate) struct Throttle {
    period: Duration,
    unreported: Mutex<Unreported>,
}

#[derive(Debug)]
struct Unreported {
    events: u64,
    last: Option<Instant>,
}

impl Throttle {
    pub(crate) const fn new(period: Duration) -> Self {
        let unreported = Unreported { events: 0, last: None };
        Self {
            period,
            unreported: Mutex::new(unreported),
        }
    }

    /// Counts an event; returns how many to report, where it is time to.
    pub(crate) fn count(&self, now: Instant) -> Option<u64> {
        let mut unreported = self.unreported.lock().unwrap_or_else(PoisonError::into_inner);
        unreported.events += 1;
        let due = unreported
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.period);
        due.then(|| {
            unreported.last = Some(now);
            std::mem::take(&mut unreported.events)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_reported_at_once_and_the_others_together() {
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
