//! Whose turn it is: weighted start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996) between clients, the same between the
//! lanes of a client, and within a lane the earliest deadline first.
//!
//! Work is core time. A client has a virtual time, at which its next item starts: it grows by the work of what was taken, divided by the
//! client's weight, and a client that comes back starts at the queue's virtual time, no earlier. The client with the least goes first. A
//! client's requests are parted into [`Lane`]s by their size, so that a small one waits for no more than a share of a large one.

mod clients;
mod lanes;
mod load;

pub(crate) use lanes::{Key, Lane};

use std::time::Duration;

use super::request::ClientId;
use clients::Clients;

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) client: ClientId,
    pub(crate) lane: Lane,
    pub(crate) key: Key,
}

impl Place {
    /// Behind all that has the same priority, in the same lane.
    pub(crate) fn behind_all(self) -> Self {
        let key = self.key.last();
        Self { key, ..self }
    }
}

/// All that waits to be started.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    clients: Clients,
    items: usize,
    work: Duration,
    work_long: Duration,
}

impl FairQueue {
    /// Adds an item of so much work, before which so much of its lane may come later (`room`), beyond what is reserved for its client. Returns
    /// its position: the lane's work before it, from the lane's beginning, what is reserved included.
    pub(crate) fn push(&mut self, place: Place, weight: u32, work: Duration, room: Option<Duration>) -> Duration {
        self.items += 1;
        self.work += work;
        if place.lane == Lane::LONG {
            self.work_long += work;
        }
        let mut position = Duration::ZERO;
        self.clients.update(place.client, Some(weight), |client| {
            let reserved = client.reserved;
            position = client.lanes.push(place.lane, place.key, (work, room), reserved);
        });
        position
    }

    /// The item whose turn it is, of those in long lanes only where `long` are wanted.
    pub(crate) fn peek(&self, long: bool) -> Option<Place> {
        let client = self.clients.first(long)?;
        let (lane, key) = self.clients.get(client)?.lanes.first(long)?;
        Some(Place { client, lane, key })
    }

    /// Takes an item because it starts: its client is charged for it. Returns its position now: more than [`Self::push`] said by what was put
    /// before it since.
    pub(crate) fn start(&mut self, place: Place) -> Duration {
        let now = self.clients.started(place.client);
        let (mut taken, mut position) = (Duration::ZERO, Duration::ZERO);
        self.clients.update(place.client, None, |client| {
            (taken, position) = client.lanes.start(place.lane, place.key);
            client.start = client.start.max(now) + taken / client.weight;
        });
        self.left(place, taken);
        position
    }

    /// Takes an item that does not start.
    pub(crate) fn remove(&mut self, place: Place) {
        let mut taken = Duration::ZERO;
        self.clients.update(place.client, None, |client| {
            taken = client.lanes.remove(place.lane, place.key);
        });
        self.left(place, taken);
    }

    /// Work that is going to come for a client, before (true) or after it has come or been given up.
    pub(crate) fn reserve(&mut self, client: ClientId, weight: u32, work: Duration, reserved: bool) {
        self.clients.update(client, Some(weight), |client| {
            client.reserved = if reserved {
                client.reserved + work
            } else {
                client.reserved.saturating_sub(work)
            };
        });
        self.work = if reserved {
            self.work + work
        } else {
            self.work.saturating_sub(work)
        };
    }

    /// Work that would be done before an item at `place` ends, if `own` is the work of its request: what goes before it in its own lane,
    /// and what the other lanes and clients get by then, each no more than it has.
    pub(crate) fn ahead(&self, place: Place, weight: u32, own: Duration) -> Duration {
        let Some(client) = self.clients.get(place.client) else {
            return self
                .clients
                .served_before(self.clients.now() + own / weight.max(1), None);
        };
        let of_client = client.lanes.ahead(place.lane, place.key, own) + client.reserved;
        let start = client.start.max(self.clients.now());
        let end = start + (of_client + own) / client.weight;
        of_client + self.clients.served_before(end, Some(place.client))
    }

    /// How much work may come at `place`, beyond what is reserved for its client, without making one late that waits behind it; `None`: any.
    pub(crate) fn room_behind(&self, place: Place) -> Option<Duration> {
        let client = self.clients.get(place.client)?;
        client.lanes.room_behind(place.lane, place.key, client.reserved)
    }

    /// Long work that would be done before an item in the long lane ends.
    pub(crate) fn long_ahead(&self, place: Place, own: Duration) -> Duration {
        let (before, total) = self.clients.get(place.client).map_or_else(Default::default, |client| {
            (
                client.lanes.before(Lane::LONG, place.key),
                client.lanes.total(Lane::LONG),
            )
        });
        let others = self.work_long.saturating_sub(total);
        let share = (before + own) * self.clients.len().saturating_sub(1).max(1) as u32;
        before + others.min(share)
    }

    /// Items that wait.
    pub(crate) fn len(&self) -> usize {
        self.items
    }

    /// Items of a client that wait.
    pub(crate) fn len_of(&self, client: ClientId) -> usize {
        self.clients.get(client).map_or(0, |client| client.lanes.len())
    }

    /// Clients with work that waits or is going to come.
    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// All work that waits or is going to come.
    pub(crate) fn work(&self) -> Duration {
        self.work
    }

    fn left(&mut self, place: Place, work: Duration) {
        self.items -= 1;
        self.work = self.work.saturating_sub(work);
        if place.lane == Lane::LONG {
            self.work_long = self.work_long.saturating_sub(work);
        }
    }
}

#[cfg(test)]
mod tests;
