//! The state that the parts of one connection share: its stream, its requests, its responses, the task that drives it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use super::phase::{ConnectionState, Leaving, Phase};
use super::slots::Slot;
use crate::http::response_budget::ResponseCharge;
use crate::http::timeouts::Timeouts;
use crate::telemetry::Closed;

/// A connection's state. All of its parts run in one task: the lock is never waited for.
#[derive(Debug)]
pub(super) struct ConnectionHandle(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    state: ConnectionState,
    /// Gone when the connection has ended.
    slot: Option<Slot>,
    /// What responses were charged that hyper has, and the socket has not.
    unwritten: Vec<Arc<ResponseCharge>>,
}

impl ConnectionHandle {
    pub(super) fn new(slot: Slot, timeouts: Timeouts) -> Self {
        Self(Mutex::new(Inner {
            state: ConnectionState::new(timeouts, Instant::now()),
            slot: Some(slot),
            unwritten: Vec::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self) {
        self.lock().state.read(Instant::now());
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.lock().state.wrote(bytes, Instant::now());
    }

    pub(super) fn stalled(&self) {
        self.lock().state.stalled(Instant::now());
    }

    pub(super) fn flushed(&self) {
        let mut inner = self.lock();
        inner.unwritten.clear();
        if inner.state.flushed(Instant::now()) {
            inner.slot.iter_mut().for_each(Slot::idle);
        }
    }

    pub(super) fn request_started(&self, interim: bool) {
        let mut inner = self.lock();
        inner.state.request_started(interim, Instant::now());
        inner.slot.iter_mut().for_each(Slot::busy);
    }

    pub(super) fn body_begun(&self) {
        self.lock().state.body_begun();
    }

    pub(super) fn body_ended(&self) {
        self.lock().state.body_ended();
    }

    pub(super) fn closing(&self) {
        self.lock().state.closing();
    }

    /// A response's last byte is with hyper; what it was charged is held until the socket has it.
    pub(super) fn response_buffered(&self, charge: Option<Arc<ResponseCharge>>) {
        let mut inner = self.lock();
        inner.state.response_buffered();
        inner.unwritten.extend(charge);
    }

    /// As [`ConnectionState::multiplexed`].
    pub(super) fn multiplexed(&self) {
        self.lock().state.multiplexed(Instant::now());
    }

    /// As [`ConnectionState::stream_began`].
    pub(super) fn stream_began(&self) {
        let mut inner = self.lock();
        if inner.state.stream_began(Instant::now()) {
            inner.slot.iter_mut().for_each(Slot::busy);
        }
    }

    /// As [`ConnectionState::stream_ended`].
    pub(super) fn stream_ended(&self, complete: bool) {
        let mut inner = self.lock();
        if inner.state.stream_ended(complete, Instant::now()) {
            inner.slot.iter_mut().for_each(Slot::idle);
        }
    }

    /// As [`ConnectionState::response_began`].
    pub(super) fn response_began(&self) -> u64 {
        self.lock().state.response_began(Instant::now())
    }

    pub(super) fn response_wanted(&self, number: u64) {
        self.lock().state.response_wanted(number, Instant::now());
    }

    pub(super) fn response_taken(&self, number: u64, bytes: usize) {
        self.lock().state.response_taken(number, bytes, Instant::now());
    }

    /// As [`ConnectionHandle::response_buffered`], for a response of HTTP/2.
    pub(super) fn stream_response_ended(&self, number: u64, charge: Option<Arc<ResponseCharge>>) {
        let mut inner = self.lock();
        inner.state.response_ended(number);
        inner.unwritten.extend(charge);
    }

    /// As [`ConnectionState::write_shut`].
    pub(super) fn write_shut(&self) {
        let mut inner = self.lock();
        if inner.state.write_shut(Instant::now()) {
            inner.slot.iter_mut().for_each(Slot::linger);
        }
    }

    pub(super) fn lingers(&self) -> bool {
        self.lock().state.phase() == Phase::Lingering
    }

    /// As [`ConnectionState::discarded`].
    pub(super) fn discarded(&self, bytes: usize) -> bool {
        self.lock().state.discarded(bytes, Instant::now())
    }

    pub(super) fn is_busy(&self) -> bool {
        self.lock().state.phase() == Phase::Busy
    }

    pub(super) fn awaits_response(&self) -> bool {
        self.lock().state.awaits_response()
    }

    pub(super) fn holds_body(&self) -> bool {
        self.lock().state.holds_body()
    }

    pub(super) fn accepts_interim(&self) -> bool {
        self.lock().state.accepts_interim()
    }

    /// Gives the slot back.
    pub(super) fn ended(&self) {
        let slot = self.lock().slot.take();
        drop(slot);
    }

    /// Waits until a timeout has passed, and returns which. It must be polled after whatever changes the state.
    pub(super) async fn expired(&self) -> Closed {
        self.past(ConnectionState::deadline).await
    }

    /// Waits until the client of a connection of HTTP/2 is to be told to go. It must be polled after whatever changes the state.
    pub(super) async fn leaving(&self) -> Leaving {
        self.past(ConnectionState::leave_deadline).await
    }

    /// Waits until the deadline has passed that the state has, as it changes.
    async fn past<T>(&self, due: impl Fn(&ConnectionState) -> Option<(Instant, T)>) -> T {
        let mut timer = pin!(tokio::time::sleep_until(Instant::now().into()));
        poll_fn(|context| {
            loop {
                let Some((deadline, outcome)) = due(&self.lock().state) else {
                    return Poll::Pending;
                };
                if deadline <= Instant::now() {
                    return Poll::Ready(outcome);
                }
                // A timer that is due too early is set anew when it fires: most deadlines only move away.
                if timer.is_elapsed() || timer.deadline() > deadline.into() {
                    timer.as_mut().reset(deadline.into());
                }
                if timer.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}
