//! Time that workers leave to threads of idle priority, which get a core only while nothing else wants it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A worker leaves one part of its time in so many.
const PART: u32 = 6;
/// Shorter pauses are put together: a thread takes tens of microseconds to stop and to go on.
const PAUSE_MIN: Duration = Duration::from_micros(500);
/// What a long job leaves at once.
const PAUSE_MAX: Duration = Duration::from_millis(5);
/// No core.
const NONE: usize = usize::MAX;

/// The core on which a thread of idle priority works, if one does.
#[derive(Debug)]
pub(super) struct Room(AtomicUsize);

impl Default for Room {
    fn default() -> Self {
        Self(AtomicUsize::new(NONE))
    }
}

impl Room {
    /// Sets the core, or that there is none.
    pub(super) fn set(&self, core: Option<usize>) {
        self.0.store(core.unwrap_or(NONE), Ordering::Relaxed);
    }

    /// Whether the calling thread runs on that core.
    pub(super) fn is_here(&self) -> bool {
        let core = self.0.load(Ordering::Relaxed);
        core != NONE && here() == Some(core)
    }
}

/// The core on which the calling thread runs.
pub(super) fn here() -> Option<usize> {
    #[cfg(target_os = "linux")]
    return Some(rustix::thread::sched_getcpu());
    #[cfg(not(target_os = "linux"))]
    None
}

/// What a worker has yet to leave.
#[derive(Debug, Default)]
pub(super) struct Owed(Duration);

impl Owed {
    /// Notes a job on the core; how long to pause now, if at all.
    pub(super) fn after(&mut self, took: Duration) -> Option<Duration> {
        self.0 = (self.0 + took / (PART - 1)).min(PAUSE_MAX);
        (self.0 >= PAUSE_MIN).then(|| std::mem::take(&mut self.0))
    }

    /// The worker has left its core.
    pub(super) fn clear(&mut self) {
        self.0 = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_part_of_the_time_is_left_in_pauses_that_are_worth_it() {
        let (mut owed, mut worked, mut left) = (Owed::default(), Duration::ZERO, Duration::ZERO);
        for _ in 0..1000 {
            worked += MS;
            if let Some(pause) = owed.after(MS) {
                assert!((PAUSE_MIN..=PAUSE_MAX).contains(&pause), "{pause:?}");
                left += pause;
            }
        }
        let part = left.as_secs_f64() / (worked + left).as_secs_f64();
        assert!((part - 1.0 / f64::from(PART)).abs() < 0.001, "{part}");
    }

    #[test]
    fn a_long_job_leaves_no_more_than_the_longest_pause() {
        let mut owed = Owed::default();
        assert_eq!(owed.after(1000 * MS), Some(PAUSE_MAX));
        assert_eq!(owed.after(MS), None);
        owed.clear();
        assert_eq!(owed.after(2 * MS), None);
    }

    #[test]
    fn there_is_room_on_one_core_and_only_while_it_is_needed() {
        let room = Room::default();
        assert!(!room.is_here());
        room.set(Some(NONE - 1));
        assert!(!room.is_here());
        room.set(None);
        assert!(!room.is_here());
    }
}
