//! How long sending a response takes once its last item has ended: time that no item's deadline may use up.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::recent::{Recent, Window};

/// Nearly all responses of the last second: one that was held up long must not refuse everything for long.
const WINDOW: Window = Window {
    age_max: Duration::from_secs(1),
    samples_max: 128,
    low: 0.5,
    high: 0.95,
};

/// Taken for granted before anything was measured.
const UNSEEN: Duration = Duration::from_millis(1);
const MAX: Duration = Duration::from_millis(100);

/// What sending a response takes.
#[derive(Debug)]
pub(super) struct ReplyTime(Mutex<Recent>);

impl ReplyTime {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Recent::new(WINDOW)))
    }

    /// A response was ready so long after its last item had ended.
    pub(super) fn push(&self, took: Duration, now: Instant) {
        self.lock().push(took.min(MAX).as_secs_f64(), now);
    }

    /// What to allow for: what was measured, until the response is taken up; it is written at once then.
    pub(super) fn allowance(&self, now: Instant) -> Duration {
        let seen = self.lock().spread(0.0, now);
        seen.map_or(UNSEEN, |seen| Duration::from_secs_f64(seen.high))
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn it_is_what_nearly_all_took() {
        let (reply, now) = (ReplyTime::new(), Instant::now());
        assert_eq!(reply.allowance(now), UNSEEN);
        (0..100).for_each(|_| reply.push(2 * MS, now));
        reply.push(90 * MS, now);
        assert!(reply.allowance(now) < 3 * MS, "{:?}", reply.allowance(now));
        (0..20).for_each(|_| reply.push(9 * MS, now));
        assert_eq!(reply.allowance(now), 9 * MS);
        (0..200).for_each(|_| reply.push(Duration::from_secs(9), now));
        assert_eq!(reply.allowance(now), MAX);
        assert!(reply.allowance(now + Duration::from_secs(20)) < MS);
    }
}
