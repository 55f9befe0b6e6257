//! What a connection is doing and until when it may: events with their times in, a deadline out. No clock and no socket.

use std::time::{Duration, Instant};

use crate::telemetry::Closed;

/// How long a peer that was told of the end may send nothing before its connection is closed.
const LINGER_PAUSE: Duration = Duration::from_secs(2);
/// How long a peer that was told of the end may go on sending.
const LINGER_TOTAL: Duration = Duration::from_secs(30);
/// How much of what such a peer sends is read and dropped.
const LINGER_BYTES_MAX: u64 = 256 << 20;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No byte of a request has come.
    Idle,
    /// A request's head (before it the TLS handshake) is arriving.
    Head,
    /// A request is with its handler, or its answer is being written.
    Busy,
    /// The last answer is written and the write side is shut; what still comes is read and dropped.
    Lingering,
}

/// How long each may take.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Timeouts {
    pub(in crate::http) idle: Duration,
    pub(in crate::http) head: Duration,
    pub(in crate::http) write: Duration,
    pub(in crate::http) write_bytes_per_second_min: u64,
}

impl Timeouts {
    /// When writing ends that has been held up since `stalled.since`.
    fn write_deadline(&self, stalled: &Stalled) -> Instant {
        let rate = self.write_bytes_per_second_min.max(1);
        let earned = Duration::from_millis(stalled.bytes.saturating_mul(1000) / rate);
        let silent = stalled.progress + self.write;
        let slow = (stalled.since + self.write).checked_add(earned);
        slow.map_or(silent, |slow| slow.min(silent))
    }
}

/// Writing that the peer holds up by not reading.
#[derive(Debug, Clone, Copy)]
struct Stalled {
    since: Instant,
    progress: Instant,
    bytes: u64,
}

/// A request that has no answer yet.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    interim: bool,
    body_ended: bool,
    begun: bool,
    answered: bool,
}

/// A connection's way through its phases.
#[derive(Debug)]
pub(super) struct Course {
    phase: Phase,
    since: Instant,
    open: Open,
    stalled: Option<Stalled>,
    closing: bool,
    progress: Instant,
    dropped_bytes: u64,
}

impl Course {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Idle,
            since: now,
            open: Open::default(),
            stalled: None,
            closing: false,
            progress: now,
            dropped_bytes: 0,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        (self.phase, self.since, self.progress) = (phase, now, now);
    }

    /// Bytes came.
    pub(super) fn read(&mut self, now: Instant) {
        if self.phase == Phase::Idle {
            self.enter(Phase::Head, now);
        }
    }

    /// A request's head is complete. `interim`: its client understands responses of the class 1xx.
    pub(super) fn called(&mut self, interim: bool, now: Instant) {
        self.open = Open {
            interim,
            ..Open::default()
        };
        self.enter(Phase::Busy, now);
    }

    /// The request's body is complete. What was written before that was an interim response.
    pub(super) fn body_ended(&mut self) {
        self.open.body_ended = true;
        self.open.begun = false;
    }

    /// Nothing comes after the answer at hand.
    pub(super) fn closing(&mut self) {
        self.closing = true;
    }

    /// The last byte of the answer is with hyper.
    pub(super) fn answered(&mut self) {
        self.open.answered = true;
    }

    /// The socket took `bytes`.
    pub(super) fn wrote(&mut self, bytes: usize, now: Instant) {
        self.open.begun = true;
        if let Some(stalled) = &mut self.stalled {
            stalled.progress = now;
            stalled.bytes = stalled.bytes.saturating_add(bytes as u64);
        }
    }

    /// The socket takes nothing more.
    pub(super) fn stalled(&mut self, now: Instant) {
        self.stalled.get_or_insert(Stalled {
            since: now,
            progress: now,
            bytes: 0,
        });
    }

    /// The socket took everything that there was. Whether an answer ended with it.
    pub(super) fn flushed(&mut self, now: Instant) -> bool {
        self.stalled = None;
        let ended = self.phase == Phase::Busy && self.open.answered;
        if ended {
            self.enter(Phase::Idle, now);
        }
        ended
    }

    /// The write side has been shut. Whether to read on until the peer closes: it may not have read the answer yet, and what it
    /// sends to a closed socket is answered by a reset, which discards that answer.
    pub(super) fn shut(&mut self, now: Instant) -> bool {
        let lingers = self.closing || self.phase == Phase::Head;
        if lingers {
            self.enter(Phase::Lingering, now);
        }
        lingers
    }

    /// Bytes came after the end. Whether to read on.
    pub(super) fn dropped(&mut self, bytes: usize, now: Instant) -> bool {
        self.progress = now;
        self.dropped_bytes = self.dropped_bytes.saturating_add(bytes as u64);
        self.dropped_bytes <= LINGER_BYTES_MAX
    }

    /// Whether a client that goes away now has lost interest in an answer of which it has seen nothing.
    pub(super) fn awaits_answer(&self) -> bool {
        self.phase == Phase::Busy && self.open.body_ended && !self.open.begun && self.stalled.is_none()
    }

    /// Whether an interim response may be sent to a client that [awaits an answer](Self::awaits_answer).
    pub(super) fn takes_interim(&self) -> bool {
        self.open.interim
    }

    /// Until when the connection may go on like this, and what it is closed for then.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<(Instant, Closed)> {
        if let Some(stalled) = &self.stalled {
            return Some((timeouts.write_deadline(stalled), Closed::WriteTimeout));
        }
        match self.phase {
            Phase::Idle => Some((self.since + timeouts.idle, Closed::Idle)),
            Phase::Head => Some((self.since + timeouts.head, Closed::HeadTimeout)),
            Phase::Busy => None,
            Phase::Lingering => {
                let end = (self.progress + LINGER_PAUSE).min(self.since + LINGER_TOTAL);
                Some((end, Closed::LingerTimeout))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        idle: Duration::from_secs(15),
        head: Duration::from_secs(30),
        write: Duration::from_secs(10),
        write_bytes_per_second_min: 1000,
    };

    #[track_caller]
    fn check(course: &Course, expected: Option<(Instant, Closed)>) {
        assert_eq!(course.deadline(&TIMEOUTS), expected, "{course:?}");
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn idle_time_and_a_head_have_each_their_own() {
        let start = Instant::now();
        let mut course = Course::new(start);
        check(&course, Some((start + seconds(15), Closed::Idle)));
        course.read(start + seconds(14));
        course.read(start + seconds(20));
        check(&course, Some((start + seconds(44), Closed::HeadTimeout)));
        course.called(true, start + seconds(21));
        check(&course, None);
        course.answered();
        assert!(course.flushed(start + seconds(60)));
        check(&course, Some((start + seconds(75), Closed::Idle)));
    }

    #[test]
    fn writing_ends_without_progress_and_below_the_rate() {
        let start = Instant::now();
        let mut course = Course::new(start);
        course.called(true, start);
        course.answered();
        course.stalled(start);
        check(&course, Some((start + seconds(10), Closed::WriteTimeout)));
        course.wrote(100_000, start + seconds(1));
        course.stalled(start + seconds(1));
        check(&course, Some((start + seconds(11), Closed::WriteTimeout)));
        let mut slow = Course::new(start);
        slow.called(true, start);
        slow.stalled(start);
        for second in 1..=9 {
            slow.wrote(10, start + seconds(second));
        }
        let end = start + seconds(10) + Duration::from_millis(90);
        check(&slow, Some((end, Closed::WriteTimeout)));
        assert!(!slow.flushed(start + seconds(10)), "its answer has not ended");
        check(&slow, None);
    }

    #[test]
    fn what_has_been_answered_or_could_not_be_read_lingers_and_what_is_idle_does_not() {
        let start = Instant::now();
        let mut idle = Course::new(start);
        assert!(!idle.shut(start));
        let mut unreadable = Course::new(start);
        unreadable.read(start);
        assert!(unreadable.shut(start));
        let mut last = Course::new(start);
        last.called(true, start);
        last.closing();
        last.answered();
        last.flushed(start);
        assert!(last.shut(start));
        check(&last, Some((start + seconds(2), Closed::LingerTimeout)));
        for second in 1..=29 {
            assert!(last.dropped(1000, start + seconds(second)));
        }
        check(&last, Some((start + seconds(30), Closed::LingerTimeout)));
        assert!(!last.dropped(LINGER_BYTES_MAX as usize, start + seconds(29)));
    }

    #[test]
    fn a_client_awaits_its_answer_until_the_first_byte() {
        let start = Instant::now();
        let mut course = Course::new(start);
        course.called(true, start);
        assert!(!course.awaits_answer(), "its body is not complete");
        course.body_ended();
        assert!(course.awaits_answer() && course.takes_interim());
        course.wrote(1, start);
        assert!(!course.awaits_answer());
        course.called(false, start);
        course.body_ended();
        assert!(course.awaits_answer() && !course.takes_interim());
    }
}
