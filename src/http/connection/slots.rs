//! How many connections there may be, and which one is closed for the next.
//!
//! A new connection takes a free slot, or that of the connection that has been without a request for the longest. Where every
//! slot has a request, it takes one of a small reserve, which serves probes alone. Connections that only wait for their peer to
//! close hold no slot; they are bounded apart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::telemetry::{Closed, ConnectionActivity, Metrics};

/// Connections beyond the limit, for probes.
pub(super) const RESERVE: usize = 64;

/// All slots of a listener.
#[derive(Debug)]
pub(in crate::http) struct Slots {
    inner: Mutex<Inner>,
    connections_max: usize,
    live: watch::Sender<usize>,
    metrics: Arc<Metrics>,
}

/// Connections by the order in which they came to wait, the oldest first, each with the notification that closes it.
type Queue = BTreeMap<u64, Arc<Notify>>;

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    ordinary: usize,
    reserve: usize,
    waiting: Queue,
    reserve_waiting: Queue,
    lingering: Queue,
}

impl Inner {
    fn enqueue(&mut self, class: Class, close: &Arc<Notify>) -> u64 {
        let place = self.next;
        self.next += 1;
        self.queue(class).insert(place, Arc::clone(close));
        place
    }

    fn queue(&mut self, class: Class) -> &mut Queue {
        match class {
            Class::Ordinary => &mut self.waiting,
            Class::Reserve => &mut self.reserve_waiting,
            Class::Lingering => &mut self.lingering,
        }
    }

    fn close_oldest(&mut self, class: Class) -> bool {
        let oldest = self.queue(class).pop_first();
        oldest.map(|(_, close)| close.notify_one()).is_some()
    }

    /// The class of a slot for one more connection; `None` where even the reserve is busy.
    fn assign(&mut self, connections_max: usize) -> Option<Class> {
        if self.ordinary < connections_max {
            self.ordinary += 1;
        } else if !self.close_oldest(Class::Ordinary) {
            if self.reserve < RESERVE {
                self.reserve += 1;
            } else if !self.close_oldest(Class::Reserve) {
                return None;
            }
            return Some(Class::Reserve);
        }
        Some(Class::Ordinary)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Ordinary,
    Reserve,
    Lingering,
}

impl Slots {
    /// `connections_max` slots, besides the reserve.
    pub(in crate::http) fn new(connections_max: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            connections_max,
            live: watch::Sender::new(0),
            metrics,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot for a new connection; `None` where even the reserve is busy.
    pub(in crate::http) fn take(self: &Arc<Self>) -> Option<Slot> {
        let close = Arc::new(Notify::new());
        let mut inner = self.lock();
        let Some(class) = inner.assign(self.connections_max) else {
            self.metrics.connections.closed(Closed::Refused);
            return None;
        };
        let place = Some(inner.enqueue(class, &close));
        drop(inner);
        self.live.send_modify(|live| *live += 1);
        let mut slot = Slot {
            slots: Arc::clone(self),
            class,
            place,
            close,
            counted: None,
        };
        slot.count(ConnectionActivity::Idle);
        Some(slot)
    }

    /// Closes the connection that matters least, where the process has no file descriptors left.
    pub(in crate::http) fn close_one(&self) {
        let mut inner = self.lock();
        if !inner.close_oldest(Class::Lingering) && inner.close_oldest(Class::Ordinary) {
            inner.ordinary -= 1;
        }
    }

    /// How many connections there are, however they are counted.
    pub(in crate::http) fn live(&self) -> watch::Receiver<usize> {
        self.live.subscribe()
    }
}

/// One connection's slot, free again when dropped.
#[derive(Debug)]
pub(in crate::http) struct Slot {
    slots: Arc<Slots>,
    class: Class,
    /// Where it stands in its queue, while it has no request.
    place: Option<u64>,
    close: Arc<Notify>,
    counted: Option<ConnectionActivity>,
}

impl Slot {
    /// Notified when this connection must close, because another one needs its slot.
    pub(super) fn close(&self) -> Arc<Notify> {
        Arc::clone(&self.close)
    }

    /// Whether it serves probes alone.
    pub(super) fn is_reserve(&self) -> bool {
        self.class == Class::Reserve
    }

    /// A request has come: its connection keeps the slot until the response is written.
    pub(super) fn busy(&mut self) {
        if let Some(place) = self.place {
            let taken = self.slots.lock().queue(self.class).remove(&place).is_none();
            // Where the slot has been given away already, the place is kept: the connection is about to close.
            self.place = self.place.filter(|_| taken);
        }
        self.count(ConnectionActivity::Busy);
    }

    /// The response is written.
    pub(super) fn idle(&mut self) {
        if self.place.is_none() {
            self.place = Some(self.slots.lock().enqueue(self.class, &self.close));
        }
        self.count(ConnectionActivity::Idle);
    }

    /// The last response is written; the slot is free, the connection is not closed yet.
    pub(super) fn linger(&mut self) {
        if self.class == Class::Lingering {
            return;
        }
        self.free();
        let mut inner = self.slots.lock();
        if inner.lingering.len() >= self.slots.connections_max {
            inner.close_oldest(Class::Lingering);
        }
        self.class = Class::Lingering;
        self.place = Some(inner.enqueue(Class::Lingering, &self.close));
        drop(inner);
        self.count(ConnectionActivity::Lingering);
    }

    /// Gives the slot back, where it has not been given away.
    fn free(&mut self) {
        let mut inner = self.slots.lock();
        let mine = match self.place.take() {
            Some(place) => inner.queue(self.class).remove(&place).is_some(),
            None => true,
        };
        match self.class {
            Class::Ordinary if mine => inner.ordinary -= 1,
            Class::Reserve if mine => inner.reserve -= 1,
            _ => {}
        }
    }

    fn count(&mut self, state: ConnectionActivity) {
        let state = match self.class {
            Class::Reserve => ConnectionActivity::Reserve,
            _ => state,
        };
        if self.counted != Some(state) {
            self.slots.metrics.connections.moved(self.counted, Some(state));
            self.counted = Some(state);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.free();
        self.slots.metrics.connections.moved(self.counted, None);
        self.slots.live.send_modify(|live| *live -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn slots(connections_max: usize) -> Arc<Slots> {
        Slots::new(connections_max, Arc::new(Metrics::new().unwrap()))
    }

    fn asked_to_close(slot: &Slot) -> bool {
        slot.close.notified().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_without_a_request_is_closed() {
        let slots = slots(2);
        let mut first = slots.take().unwrap();
        let second = slots.take().unwrap();
        first.busy();
        first.idle();
        let third = slots.take().unwrap();
        assert!(!third.is_reserve());
        assert!(asked_to_close(&second) && !asked_to_close(&first));
        drop(second);
        let fourth = slots.take().unwrap();
        assert!(asked_to_close(&first) && !fourth.is_reserve());
        assert_eq!(slots.lock().ordinary, 2);
        drop((first, third, fourth));
        assert_eq!(slots.lock().ordinary, 0);
        assert_eq!(*slots.live().borrow(), 0);
    }

    #[test]
    fn where_all_have_requests_the_reserve_is_used_and_renewed() {
        let slots = slots(1);
        let mut busy = slots.take().unwrap();
        busy.busy();
        let mut reserve: Vec<_> = (0..RESERVE).map(|_| slots.take().unwrap()).collect();
        assert!(reserve.iter().all(Slot::is_reserve));
        let next = slots.take().unwrap();
        assert!(next.is_reserve() && asked_to_close(&reserve[0]));
        reserve[1..].iter_mut().for_each(Slot::busy);
        let last = slots.take().unwrap();
        assert!(asked_to_close(&next) && last.is_reserve());
        let mut last = last;
        last.busy();
        assert!(slots.take().is_none());
        drop((busy, reserve, next, last));
        assert_eq!(slots.lock().ordinary, 0);
        assert_eq!(slots.lock().reserve, 0);
        assert!(!slots.take().unwrap().is_reserve());
    }

    #[test]
    fn what_lingers_holds_no_slot_and_is_bounded_too() {
        let slots = slots(1);
        let linger = || {
            let mut slot = slots.take().unwrap();
            slot.busy();
            slot.linger();
            slot
        };
        let first = linger();
        assert!(!asked_to_close(&first));
        let second = linger();
        assert!(asked_to_close(&first) && !asked_to_close(&second));
        drop((first, second));
        assert_eq!(slots.lock().ordinary, 0);
        assert!(slots.lock().lingering.is_empty());
    }

    #[test]
    fn a_request_that_comes_when_the_slot_is_gone_takes_nothing_back() {
        let slots = slots(1);
        let mut first = slots.take().unwrap();
        let second = slots.take().unwrap();
        first.busy();
        first.idle();
        drop(first);
        assert_eq!(slots.lock().ordinary, 1);
        drop(second);
        assert_eq!(slots.lock().ordinary, 0);
    }
}
