//! How long sending a response takes once its last item has ended: time that no item's deadline may use up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Taken for granted before anything was measured.
const UNSEEN: Duration = Duration::from_micros(500);
const MAX: Duration = Duration::from_millis(100);

/// An allowance that rises at once and sinks by a part in so many with each shorter time.
const SINK: u64 = 64;

/// What sending a response takes, without a lock.
#[derive(Debug)]
pub(super) struct ReplyTime(AtomicU64);

impl ReplyTime {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(nanos(UNSEEN)))
    }

    /// A response was ready so long after its last item had ended.
    pub(super) fn push(&self, took: Duration) {
        let took = nanos(took.min(MAX));
        let next = |now: u64| {
            Some(if took >= now {
                took
            } else {
                now - (now - took).div_ceil(SINK)
            })
        };
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// What to allow for: what was measured, until the response is taken up, and as much again to write it.
    pub(super) fn allowance(&self) -> Duration {
        2 * Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_rises_at_once_and_sinks_slowly() {
        let reply = ReplyTime::new();
        reply.push(9 * MS);
        assert_eq!(reply.allowance(), 18 * MS);
        reply.push(MS);
        assert_eq!(reply.allowance(), 18 * MS - MS / 4);
        (0..1000).for_each(|_| reply.push(MS));
        assert!(reply.allowance() < 3 * MS);
        reply.push(Duration::from_secs(9));
        assert_eq!(reply.allowance(), 2 * MAX);
    }
}
