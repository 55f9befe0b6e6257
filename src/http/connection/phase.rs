//! What a connection is doing and until when it may: events with their times in, a deadline out. No clock and no socket.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::http::timeouts::Timeouts;
use crate::telemetry::Closed;

/// How long a peer may send nothing, after the write side was shut, before its connection is closed.
const LINGER_PAUSE: Duration = Duration::from_secs(2);
/// How long a peer may go on sending after the write side was shut.
const LINGER_TOTAL: Duration = Duration::from_secs(30);
/// How long a client of HTTP/2 that was told to go has for it.
const GOAWAY_TIME: Duration = Duration::from_secs(2);
/// Requests of a connection of HTTP/2 that its client may reset, beyond as many as it lets end: then it is told to go. After as many
/// again it is closed. A client that resets what it has asked for costs work and waits for nothing.
const RESETS_MAX: u32 = 256;
/// How much of what a lingering peer sends is read and discarded.
const LINGER_BYTES_MAX: u64 = 256 << 20;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// No byte of a request has come.
    Idle,
    /// A request's head (before it the TLS handshake) is arriving.
    Head,
    /// A request is with its handler, or its response is being written.
    Busy,
    /// The last response is written and the write side is shut; what still comes is read and discarded.
    Lingering,
}

/// Why the client of a connection of HTTP/2 is told to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It has had no request for too long.
    Idle,
    /// Its client resets more requests than it lets end.
    Resets,
    /// The server stops.
    Drained,
}

/// How long the peer may still hold up writing by not reading. Waiting for it uses that time up, each byte that it takes earns some.
#[derive(Debug, Clone, Copy)]
struct WriteAllowance {
    left: Duration,
    waiting_since: Option<Instant>,
}

impl WriteAllowance {
    fn new(timeouts: &Timeouts) -> Self {
        Self {
            left: timeouts.write,
            waiting_since: None,
        }
    }

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

/// A request whose response has not been written whole.
#[derive(Debug, Clone, Copy, Default)]
struct Exchange {
    /// Its client understands responses of the class 1xx.
    interim: bool,
    /// Its handler has begun to read the body.
    body_begun: bool,
    body_ended: bool,
    /// A byte of the response has been written.
    response_begun: bool,
    response_buffered: bool,
}

/// The requests of a connection of HTTP/2.
#[derive(Debug, Default)]
struct Streams {
    open: usize,
    /// Requests that ended without a whole response, less those that had one.
    resets: u32,
    /// Responses that have begun and are not with hyper whole, by number.
    responses: BTreeMap<u64, WriteAllowance>,
    next: u64,
}

/// A connection's state: its phase, and what is known of its request and its peer.
#[derive(Debug)]
pub(super) struct ConnectionState {
    phase: Phase,
    since: Instant,
    exchange: Exchange,
    /// There where it is a connection of HTTP/2; then it has no exchange.
    streams: Option<Streams>,
    allowance: WriteAllowance,
    timeouts: Timeouts,
    closing: bool,
    progress: Instant,
    discarded_bytes: u64,
}

impl ConnectionState {
    pub(super) fn new(timeouts: Timeouts, now: Instant) -> Self {
        Self {
            phase: Phase::Idle,
            since: now,
            exchange: Exchange::default(),
            streams: None,
            allowance: WriteAllowance::new(&timeouts),
            timeouts,
            closing: false,
            progress: now,
            discarded_bytes: 0,
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
        // What comes on a connection of HTTP/2 may be no request: only one that has begun counts.
        if self.phase == Phase::Idle && self.streams.is_none() {
            self.enter(Phase::Head, now);
        }
    }

    /// A request's head is complete. `interim`: its client understands responses of the class 1xx.
    pub(super) fn request_started(&mut self, interim: bool, now: Instant) {
        self.exchange = Exchange {
            interim,
            ..Exchange::default()
        };
        self.enter(Phase::Busy, now);
    }

    /// The connection turned out to be one of HTTP/2.
    pub(super) fn multiplexed(&mut self, now: Instant) {
        self.streams = Some(Streams::default());
        self.enter(Phase::Idle, now);
    }

    /// A request has begun on a connection of HTTP/2. Returns whether it is the only one.
    pub(super) fn stream_began(&mut self, now: Instant) -> bool {
        let streams = self.streams.get_or_insert_default();
        streams.open += 1;
        let only = streams.open == 1;
        if only {
            self.enter(Phase::Busy, now);
        }
        only
    }

    /// Such a request has ended, with a whole response or without. Returns whether none is left.
    pub(super) fn stream_ended(&mut self, complete: bool, now: Instant) -> bool {
        let streams = self.streams.get_or_insert_default();
        streams.resets = if complete {
            streams.resets.saturating_sub(1)
        } else {
            streams.resets.saturating_add(1)
        };
        streams.open = streams.open.saturating_sub(1);
        let last = streams.open == 0 && self.phase == Phase::Busy;
        if last {
            self.enter(Phase::Idle, now);
        }
        last
    }

    /// The response to such a request has begun. Returns its number.
    pub(super) fn response_began(&mut self, now: Instant) -> u64 {
        let mut allowance = WriteAllowance::new(&self.timeouts);
        allowance.wait(now);
        let streams = self.streams.get_or_insert_default();
        streams.next += 1;
        streams.responses.insert(streams.next, allowance);
        streams.next
    }

    fn response(&mut self, number: u64) -> Option<&mut WriteAllowance> {
        self.streams.as_mut()?.responses.get_mut(&number)
    }

    /// The client's window has room for more of that response.
    pub(super) fn response_wanted(&mut self, number: u64, now: Instant) {
        if let Some(allowance) = self.response(number) {
            allowance.end(now);
        }
    }

    /// `bytes` more of that response are with hyper; the next ones follow when the client has room for them.
    pub(super) fn response_taken(&mut self, number: u64, bytes: usize, now: Instant) {
        let timeouts = self.timeouts;
        if let Some(allowance) = self.response(number) {
            allowance.earn(bytes, &timeouts, now);
            allowance.wait(now);
        }
    }

    /// All of that response is with hyper.
    pub(super) fn response_ended(&mut self, number: u64) {
        if let Some(streams) = &mut self.streams {
            streams.responses.remove(&number);
        }
    }

    /// When the client of a connection of HTTP/2 is to be told to go, and why.
    pub(super) fn leave_deadline(&self) -> Option<(Instant, Leaving)> {
        let streams = self.streams.as_ref()?;
        if streams.resets > RESETS_MAX {
            return Some((self.since, Leaving::Resets));
        }
        (self.phase == Phase::Idle).then(|| (self.since + self.timeouts.idle, Leaving::Idle))
    }

    /// The handler reads the request's body from now on.
    pub(super) fn body_begun(&mut self) {
        self.exchange.body_begun = true;
    }

    /// The request's body is complete. What was written before that was an interim response.
    pub(super) fn body_ended(&mut self) {
        self.exchange.body_ended = true;
        self.exchange.response_begun = false;
    }

    /// The response at hand is the last one.
    pub(super) fn closing(&mut self) {
        self.closing = true;
    }

    /// The last byte of the response is with hyper.
    pub(super) fn response_buffered(&mut self) {
        self.exchange.response_buffered = true;
    }

    /// The socket took `bytes`.
    pub(super) fn wrote(&mut self, bytes: usize, now: Instant) {
        self.exchange.response_begun = true;
        self.allowance.earn(bytes, &self.timeouts, now);
    }

    /// The socket takes nothing more.
    pub(super) fn stalled(&mut self, now: Instant) {
        self.allowance.wait(now);
    }

    /// The socket took everything that there was. Returns whether a response ended with it.
    pub(super) fn flushed(&mut self, now: Instant) -> bool {
        self.allowance.end(now);
        let ended = self.phase == Phase::Busy && self.exchange.response_buffered;
        if ended {
            self.enter(Phase::Idle, now);
        }
        ended
    }

    /// The write side has been shut. Returns whether to read on until the peer closes: it may not have read the response yet, and
    /// what it sends to a closed socket causes a reset, which discards that response.
    pub(super) fn write_shut(&mut self, now: Instant) -> bool {
        let lingers = self.phase != Phase::Lingering && (self.closing || self.phase == Phase::Head);
        if lingers {
            self.enter(Phase::Lingering, now);
        }
        lingers
    }

    /// Bytes came after the end. Returns whether to read on.
    pub(super) fn discarded(&mut self, bytes: usize, now: Instant) -> bool {
        self.progress = now;
        self.discarded_bytes = self.discarded_bytes.saturating_add(bytes as u64);
        self.discarded_bytes <= LINGER_BYTES_MAX
    }

    /// Whether a client that goes away now has lost interest in a response of which it has seen nothing.
    pub(super) fn awaits_response(&self) -> bool {
        self.phase == Phase::Busy
            && self.exchange.body_ended
            && !self.exchange.response_begun
            && self.allowance.waiting_since.is_none()
    }

    /// Whether a request waits before its body is read, and a client that goes away now has seen nothing of a response.
    pub(super) fn holds_body(&self) -> bool {
        self.phase == Phase::Busy
            && !self.exchange.body_begun
            && !self.exchange.body_ended
            && !self.exchange.response_begun
            && self.allowance.waiting_since.is_none()
    }

    /// Whether an interim response may be sent to a client that [awaits a response](Self::awaits_response).
    pub(super) fn accepts_interim(&self) -> bool {
        self.exchange.interim
    }

    /// Until when the connection may go on like this, and what it is closed for then.
    pub(super) fn deadline(&self) -> Option<(Instant, Closed)> {
        if self
            .streams
            .as_ref()
            .is_some_and(|streams| streams.resets > 2 * RESETS_MAX)
        {
            return Some((self.since, Closed::Resets));
        }
        let streams = self.streams.iter().flat_map(|streams| streams.responses.values());
        let writes = std::iter::once(&self.allowance).chain(streams);
        if let Some(end) = writes.filter_map(WriteAllowance::deadline).min() {
            return Some((end, Closed::WriteTimeout));
        }
        match self.phase {
            Phase::Idle if self.streams.is_some() => {
                Some((self.since + self.timeouts.idle + GOAWAY_TIME, Closed::Idle))
            }
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
    fn check(state: &ConnectionState, expected: Option<(Instant, Closed)>) {
        assert_eq!(state.deadline(), expected, "{state:?}");
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn idle_time_and_a_head_have_each_their_own() {
        let start = Instant::now();
        let mut state = ConnectionState::new(TIMEOUTS, start);
        check(&state, Some((start + seconds(15), Closed::Idle)));
        state.read(start + seconds(14));
        state.read(start + seconds(20));
        check(&state, Some((start + seconds(44), Closed::HeadTimeout)));
        state.request_started(true, start + seconds(21));
        check(&state, None);
        state.response_buffered();
        assert!(state.flushed(start + seconds(60)));
        check(&state, Some((start + seconds(75), Closed::Idle)));
    }

    #[test]
    fn writing_ends_without_progress_and_below_the_rate() {
        let start = Instant::now();
        let mut state = ConnectionState::new(TIMEOUTS, start);
        state.request_started(true, start);
        state.stalled(start);
        state.stalled(start + seconds(4));
        check(&state, Some((start + seconds(10), Closed::WriteTimeout)));
        state.wrote(1_000_000, start + seconds(5));
        check(&state, Some((start + seconds(15), Closed::WriteTimeout)));
        assert!(!state.flushed(start + seconds(5)), "its response has not ended");
        check(&state, None);
    }

    #[test]
    fn a_connection_of_http_2_is_idle_when_its_last_request_has_ended() {
        let start = Instant::now();
        let mut state = ConnectionState::new(TIMEOUTS, start);
        state.read(start);
        state.multiplexed(start + seconds(1));
        state.read(start + seconds(9));
        let idle = |at| Some((start + seconds(at), Leaving::Idle));
        assert_eq!(state.leave_deadline(), idle(16), "a ping is no request");
        check(&state, Some((start + seconds(16) + GOAWAY_TIME, Closed::Idle)));
        assert!(state.stream_began(start + seconds(10)));
        assert!(!state.stream_began(start + seconds(11)));
        assert!(!state.stream_ended(true, start + seconds(12)));
        assert_eq!((state.leave_deadline(), state.deadline()), (None, None));
        assert!(state.stream_ended(true, start + seconds(20)));
        assert_eq!(state.leave_deadline(), idle(35));
    }

    #[test]
    fn who_resets_more_requests_than_end_is_told_to_go_and_then_closed() {
        let start = Instant::now();
        let mut state = ConnectionState::new(TIMEOUTS, start);
        state.multiplexed(start);
        state.stream_began(start);
        let mut end = |complete| {
            state.stream_began(start);
            state.stream_ended(complete, start);
            (
                state.leave_deadline().map(|(_, why)| why),
                state.deadline().map(|(_, why)| why),
            )
        };
        for complete in [false, true].repeat(10_000) {
            assert_eq!(end(complete), (None, None), "as many end as are reset");
        }
        for _ in 0..RESETS_MAX {
            assert_eq!(end(false), (None, None));
        }
        for _ in 0..RESETS_MAX {
            assert_eq!(end(false), (Some(Leaving::Resets), None));
        }
        assert_eq!(end(false), (Some(Leaving::Resets), Some(Closed::Resets)));
    }

    #[test]
    fn each_response_of_http_2_must_be_taken() {
        let start = Instant::now();
        let mut state = ConnectionState::new(TIMEOUTS, start);
        state.multiplexed(start);
        state.stream_began(start);
        state.stream_began(start);
        let (taken, left) = (state.response_began(start), state.response_began(start + seconds(2)));
        state.response_wanted(taken, start + seconds(1));
        state.response_wanted(left, start + seconds(3));
        check(&state, None);
        state.response_taken(taken, 1_000_000, start + seconds(4));
        state.response_taken(left, 1, start + seconds(4));
        check(
            &state,
            Some((start + seconds(13) + Duration::from_millis(1), Closed::WriteTimeout)),
        );
        state.response_ended(left);
        check(&state, Some((start + seconds(14), Closed::WriteTimeout)));
        state.response_ended(taken);
        check(&state, None);
    }

    #[test]
    fn a_trickle_does_not_hold_a_connection_not_even_over_many_responses() {
        let start = Instant::now();
        let mut slow = ConnectionState::new(TIMEOUTS, start);
        for second in 0..9 {
            let now = start + seconds(second);
            slow.request_started(true, now);
            slow.stalled(now);
            check(
                &slow,
                Some((
                    start + seconds(10) + Duration::from_millis(10 * second),
                    Closed::WriteTimeout,
                )),
            );
            slow.wrote(10, now + seconds(1));
            slow.response_buffered();
            assert!(slow.flushed(now + seconds(1)));
        }
    }

    #[test]
    fn a_client_that_keeps_the_rate_is_waited_for() {
        let start = Instant::now();
        let mut state = ConnectionState::new(TIMEOUTS, start);
        state.request_started(true, start);
        for second in (0..1000).step_by(8) {
            state.stalled(start + seconds(second));
            let (end, _) = state.deadline().unwrap();
            assert!(end > start + seconds(second + 8), "{second}");
            state.wrote(8000, start + seconds(second + 8));
        }
    }

    #[test]
    fn what_has_its_response_or_could_not_be_read_lingers_and_what_is_idle_does_not() {
        let start = Instant::now();
        let mut idle = ConnectionState::new(TIMEOUTS, start);
        assert!(!idle.write_shut(start));
        let mut unreadable = ConnectionState::new(TIMEOUTS, start);
        unreadable.read(start);
        assert!(unreadable.write_shut(start));
        let mut last = ConnectionState::new(TIMEOUTS, start);
        last.request_started(true, start);
        last.closing();
        last.response_buffered();
        last.flushed(start);
        assert!(last.write_shut(start));
        check(&last, Some((start + seconds(2), Closed::LingerTimeout)));
        for second in 1..=29 {
            assert!(last.discarded(1000, start + seconds(second)));
        }
        check(&last, Some((start + seconds(30), Closed::LingerTimeout)));
        assert!(!last.discarded(LINGER_BYTES_MAX as usize, start + seconds(29)));
    }

    #[test]
    fn a_client_awaits_its_response_until_the_first_byte() {
        let start = Instant::now();
        let mut state = ConnectionState::new(TIMEOUTS, start);
        state.request_started(true, start);
        assert!(!state.awaits_response(), "its body is not complete");
        assert!(state.holds_body());
        state.body_begun();
        assert!(!state.holds_body());
        state.body_ended();
        assert!(!state.holds_body());
        assert!(state.awaits_response() && state.accepts_interim());
        state.wrote(1, start);
        assert!(!state.awaits_response());
        state.request_started(false, start);
        state.body_ended();
        assert!(state.awaits_response() && !state.accepts_interim());
    }
}
