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

/// How long the peer may still hold up writing by not reading. Waiting for it uses that time up, each byte that it takes earns some.
#[derive(Debug, Clone, Copy)]
struct Patience {
    left: Duration,
    waiting_since: Option<Instant>,
}

impl Patience {
    fn wait(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    /// Uses up what has been waited so far.
    fn settle(&mut self, now: Instant) {
        if let Some(since) = &mut self.waiting_since {
            self.left = self.left.saturating_sub(now.saturating_duration_since(*since));
            *since = now;
        }
    }

    fn earn(&mut self, bytes: usize, timeouts: &Timeouts, now: Instant) {
        self.settle(now);
        let micros = (bytes as u64).saturating_mul(1_000_000) / timeouts.write_bytes_per_second_min.max(1);
        self.left = self
            .left
            .saturating_add(Duration::from_micros(micros))
            .min(timeouts.write);
    }

    fn end(&mut self, now: Instant) {
        self.settle(now);
        self.waiting_since = None;
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.waiting_since? + self.left)
    }
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
    patience: Patience,
    timeouts: Timeouts,
    closing: bool,
    progress: Instant,
    dropped_bytes: u64,
}

impl Course {
    pub(super) fn new(timeouts: Timeouts, now: Instant) -> Self {
        Self {
            phase: Phase::Idle,
            since: now,
            open: Open::default(),
            patience: Patience {
                left: timeouts.write,
                waiting_since: None,
            },
            timeouts,
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
        self.patience.earn(bytes, &self.timeouts, now);
    }

    /// The socket takes nothing more.
    pub(super) fn stalled(&mut self, now: Instant) {
        self.patience.wait(now);
    }

    /// The socket took everything that there was. Whether an answer ended with it.
    pub(super) fn flushed(&mut self, now: Instant) -> bool {
        self.patience.end(now);
        let ended = self.phase == Phase::Busy && self.open.answered;
        if ended {
            self.enter(Phase::Idle, now);
        }
        ended
    }

    /// The write side has been shut. Whether to read on until the peer closes: it may not have read the answer yet, and what it
    /// sends to a closed socket is answered by a reset, which discards that answer.
    pub(super) fn shut(&mut self, now: Instant) -> bool {
        let lingers = self.phase != Phase::Lingering && (self.closing || self.phase == Phase::Head);
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
        self.phase == Phase::Busy && self.open.body_ended && !self.open.begun && self.patience.waiting_since.is_none()
    }

    /// Whether an interim response may be sent to a client that [awaits an answer](Self::awaits_answer).
    pub(super) fn takes_interim(&self) -> bool {
        self.open.interim
    }

    /// Until when the connection may go on like this, and what it is closed for then.
    pub(super) fn deadline(&self) -> Option<(Instant, Closed)> {
        if let Some(end) = self.patience.deadline() {
            return Some((end, Closed::WriteTimeout));
        }
        match self.phase {
            Phase::Idle => Some((self.since + self.timeouts.idle, Closed::Idle)),
            Phase::Head => Some((self.since + self.timeouts.head, Closed::HeadTimeout)),
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
        assert_eq!(course.deadline(), expected, "{course:?}");
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn idle_time_and_a_head_have_each_their_own() {
        let start = Instant::now();
        let mut course = Course::new(TIMEOUTS, start);
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
        let mut course = Course::new(TIMEOUTS, start);
        course.called(true, start);
        course.stalled(start);
        course.stalled(start + seconds(4));
        check(&course, Some((start + seconds(10), Closed::WriteTimeout)));
        course.wrote(1_000_000, start + seconds(5));
        check(&course, Some((start + seconds(15), Closed::WriteTimeout)));
        assert!(!course.flushed(start + seconds(5)), "its answer has not ended");
        check(&course, None);
    }

    #[test]
    fn a_trickle_does_not_hold_a_connection_not_even_over_many_answers() {
        let start = Instant::now();
        let mut slow = Course::new(TIMEOUTS, start);
        for second in 0..9 {
            let now = start + seconds(second);
            slow.called(true, now);
            slow.stalled(now);
            check(
                &slow,
                Some((
                    start + seconds(10) + Duration::from_millis(10 * second),
                    Closed::WriteTimeout,
                )),
            );
            slow.wrote(10, now + seconds(1));
            slow.answered();
            assert!(slow.flushed(now + seconds(1)));
        }
    }

    #[test]
    fn a_client_that_keeps_the_rate_is_waited_for() {
        let start = Instant::now();
        let mut course = Course::new(TIMEOUTS, start);
        course.called(true, start);
        for second in (0..1000).step_by(8) {
            course.stalled(start + seconds(second));
            let (end, _) = course.deadline().unwrap();
            assert!(end > start + seconds(second + 8), "{second}");
            course.wrote(8000, start + seconds(second + 8));
        }
    }

    #[test]
    fn what_has_been_answered_or_could_not_be_read_lingers_and_what_is_idle_does_not() {
        let start = Instant::now();
        let mut idle = Course::new(TIMEOUTS, start);
        assert!(!idle.shut(start));
        let mut unreadable = Course::new(TIMEOUTS, start);
        unreadable.read(start);
        assert!(unreadable.shut(start));
        let mut last = Course::new(TIMEOUTS, start);
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
        let mut course = Course::new(TIMEOUTS, start);
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
