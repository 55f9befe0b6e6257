//! What the parts of one connection (its stream, its requests, its answers, the task that drives it) tell each other.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use super::phase::{Course, Phase, Timeouts};
use super::slots::Slot;
use crate::http::answers::Charge;
use crate::telemetry::Closed;

/// A connection's state. All of its parts run in one task: the lock is never waited for.
#[derive(Debug)]
pub(super) struct Link(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    course: Course,
    /// Gone when the connection has ended.
    slot: Option<Slot>,
    /// What answers hold that hyper has, and the socket has not.
    unwritten: Vec<Arc<Charge>>,
}

impl Link {
    pub(super) fn new(slot: Slot, timeouts: Timeouts) -> Self {
        Self(Mutex::new(Inner {
            course: Course::new(timeouts, Instant::now()),
            slot: Some(slot),
            unwritten: Vec::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self) {
        self.lock().course.read(Instant::now());
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.lock().course.wrote(bytes, Instant::now());
    }

    pub(super) fn stalled(&self) {
        self.lock().course.stalled(Instant::now());
    }

    pub(super) fn flushed(&self) {
        let mut inner = self.lock();
        inner.unwritten.clear();
        if inner.course.flushed(Instant::now()) {
            inner.slot.iter_mut().for_each(Slot::idle);
        }
    }

    pub(super) fn called(&self, interim: bool) {
        let mut inner = self.lock();
        inner.course.called(interim, Instant::now());
        inner.slot.iter_mut().for_each(Slot::busy);
    }

    pub(super) fn body_ended(&self) {
        self.lock().course.body_ended();
    }

    pub(super) fn closing(&self) {
        self.lock().course.closing();
    }

    /// An answer's last byte is with hyper; what it was charged is held until the socket has it.
    pub(super) fn answered(&self, charge: Option<Arc<Charge>>) {
        let mut inner = self.lock();
        inner.course.answered();
        inner.unwritten.extend(charge);
    }

    /// As [`Course::shut`].
    pub(super) fn shut(&self) {
        let mut inner = self.lock();
        if inner.course.shut(Instant::now()) {
            inner.slot.iter_mut().for_each(Slot::linger);
        }
    }

    pub(super) fn lingers(&self) -> bool {
        self.lock().course.phase() == Phase::Lingering
    }

    /// As [`Course::dropped`].
    pub(super) fn dropped(&self, bytes: usize) -> bool {
        self.lock().course.dropped(bytes, Instant::now())
    }

    pub(super) fn is_busy(&self) -> bool {
        self.lock().course.phase() == Phase::Busy
    }

    pub(super) fn awaits_answer(&self) -> bool {
        self.lock().course.awaits_answer()
    }

    pub(super) fn takes_interim(&self) -> bool {
        self.lock().course.takes_interim()
    }

    /// Gives the slot back.
    pub(super) fn ended(&self) {
        let slot = self.lock().slot.take();
        drop(slot);
    }

    /// Waits until a timeout has passed, and returns which. It must be polled after whatever changes the state.
    pub(super) async fn expired(&self) -> Closed {
        let mut timer = pin!(tokio::time::sleep_until(Instant::now().into()));
        poll_fn(|context| {
            loop {
                let Some((deadline, reason)) = self.lock().course.deadline() else {
                    return Poll::Pending;
                };
                if deadline <= Instant::now() {
                    return Poll::Ready(reason);
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
