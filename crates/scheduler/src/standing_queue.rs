//! Whether the queue stands: those who ask for no deadline wait too long, and have for a while.
//!
//! As CoDel sees it (RFC 8289): what counts is the time that items spent waiting, not how many there are, and a burst that drains within
//! an interval is let through, up to twice the wait that is allowed. Unlike there nothing that was admitted is dropped; new requests are refused.

use std::time::{Duration, Instant};

/// A burst may wait so many times the time that is allowed.
const BURST: u32 = 2;

/// Follows how long items waited.
#[derive(Debug)]
pub(crate) struct StandingQueue {
    wait_max: Duration,
    /// Since when every item has waited longer than `wait_max`.
    above_since: Option<Instant>,
    standing: bool,
}

impl StandingQueue {
    /// Items should wait `wait_max` at most, and may wait longer for so long; zero: as long as they like.
    pub(crate) fn new(wait_max: Duration) -> Self {
        Self {
            wait_max,
            above_since: None,
            standing: false,
        }
    }

    /// An item was taken to be started after it had waited so long.
    pub(crate) fn taken(&mut self, waited: Duration, now: Instant) {
        if waited < self.wait_max {
            self.above_since = None;
        } else {
            let since = *self.above_since.get_or_insert(now);
            self.standing |= now.saturating_duration_since(since) >= self.wait_max;
        }
        if waited < self.wait_max / 2 {
            self.standing = false;
        }
    }

    /// The queue is empty.
    pub(crate) fn emptied(&mut self) {
        self.above_since = None;
        self.standing = false;
    }

    /// By how much a wait is too long now, if it is.
    pub(crate) fn excess(&self, wait: Duration) -> Option<Duration> {
        if self.wait_max.is_zero() {
            return None;
        }
        let allowed = if self.standing { 1 } else { BURST };
        let excess = wait.saturating_sub(self.wait_max * allowed);
        Some(excess).filter(|excess| !excess.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Items taken at (time, after waiting so long), in milliseconds; whether a wait of 150 is too long then, with 100 allowed.
    #[track_caller]
    fn check(taken: &[(u32, u32)], expected: bool) {
        let (mut queue, start) = (StandingQueue::new(100 * MS), Instant::now());
        for (at, waited) in taken {
            queue.taken(*waited * MS, start + *at * MS);
        }
        assert_eq!(queue.excess(150 * MS), expected.then_some(50 * MS));
        assert_eq!(queue.excess(100 * MS), None);
        queue.emptied();
        assert_eq!((queue.excess(200 * MS), queue.excess(230 * MS)), (None, Some(30 * MS)));
    }

    #[test]
    fn a_burst_that_drains_is_let_through() {
        check(&[], false);
        check(&[(0, 200), (50, 150), (90, 110), (99, 99)], false);
    }

    #[test]
    fn a_queue_that_stays_is_not() {
        check(&[(0, 200), (50, 150), (100, 150)], true);
        check(&[(0, 200), (100, 150), (101, 90)], true);
        check(&[(0, 200), (100, 150), (101, 90), (102, 40)], false);
    }

    #[test]
    fn without_a_bound_nothing_is_too_long() {
        let (mut queue, now) = (StandingQueue::new(Duration::ZERO), Instant::now());
        queue.taken(1000 * MS, now);
        assert_eq!(queue.excess(1000 * MS), None);
    }
}
