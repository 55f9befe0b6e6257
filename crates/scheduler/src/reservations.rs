//! Work of which only the head has arrived. A reservation counts for a bounded time, so that slow bodies cannot hold the workers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::fair_queue::FairQueue;
use super::request::ClientId;

/// How long a reservation counts.
const HELD_MAX: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy)]
struct Reserved {
    client: ClientId,
    weight: u32,
    items: usize,
    work: Duration,
}

/// Names a reservation; grows with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReservationId(Instant, u64);

/// What is reserved; the queue counts its work.
#[derive(Debug, Default)]
pub(crate) struct Reservations {
    reserved: BTreeMap<ReservationId, Reserved>,
    items: usize,
    next: u64,
}

impl Reservations {
    /// Items of all reservations.
    pub(crate) fn items(&self) -> usize {
        self.items
    }

    /// Adds one.
    pub(crate) fn add(
        &mut self,
        queue: &mut FairQueue,
        (client, weight): (ClientId, u32),
        (items, work): (usize, Duration),
        now: Instant,
    ) -> ReservationId {
        let id = ReservationId(now, self.next);
        self.next += 1;
        self.items += items;
        queue.reserve(client, weight, work, true);
        let reserved = Reserved {
            client,
            weight,
            items,
            work,
        };
        self.reserved.insert(id, reserved);
        id
    }

    /// Gives one up; nothing where its time has passed.
    pub(crate) fn remove(&mut self, queue: &mut FairQueue, id: ReservationId) {
        if let Some(reserved) = self.reserved.remove(&id) {
            self.items -= reserved.items;
            queue.reserve(reserved.client, reserved.weight, reserved.work, false);
        }
    }

    /// Gives up those whose time has passed.
    pub(crate) fn expire(&mut self, queue: &mut FairQueue, now: Instant) {
        while let Some((id, _)) = self.reserved.first_key_value()
            && now.saturating_duration_since(id.0) > HELD_MAX
        {
            let id = *id;
            self.remove(queue, id);
        }
    }
}
