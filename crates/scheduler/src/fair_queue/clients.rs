//! The clients with something to do, in the order of their virtual times, and what they will have been given at one.

use std::collections::{BTreeSet, HashMap};
use std::ops::Add;
use std::time::Duration;

use super::lanes::Lanes;
use crate::request::ClientId;
use crate::sum_tree::SumTree;

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) weight: u32,
    /// The virtual time at which its next item starts.
    pub(super) start: Duration,
    pub(super) lanes: Lanes,
    /// Work that is going to come.
    pub(super) reserved: Duration,
    /// Of clients with the same virtual time the one that came first goes first.
    came: u64,
    listed: Option<Listed>,
}

/// Where a client is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    start: Duration,
    end: Duration,
    came: u64,
    weight: u32,
    /// Whether something waits that is not long, or is.
    waiting: [bool; 2],
}

/// Sums for Σ weight · (t − key) over the clients whose key is before t.
#[derive(Debug, Clone, Copy, Default)]
struct Weighted {
    weight: u128,
    weight_ns: u128,
}

impl Add for Weighted {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            weight: self.weight + other.weight,
            weight_ns: self.weight_ns + other.weight_ns,
        }
    }
}

type Times = SumTree<(Duration, ClientId), Weighted>;

/// The clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    clients: HashMap<ClientId, Client>,
    /// The start of what started last.
    now: Duration,
    came: u64,
    /// Those with items that are not long, and those with long ones.
    turns: [BTreeSet<(Duration, u64, ClientId)>; 2],
    /// Those without work whose virtual time has not come yet.
    idle: BTreeSet<(Duration, ClientId)>,
    starts: Times,
    ends: Times,
}

impl Clients {
    pub(super) fn get(&self, client: ClientId) -> Option<&Client> {
        self.clients.get(&client)
    }

    /// The queue's virtual time.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Clients with work.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whose turn it is, of those with long items only where `long`.
    pub(super) fn first(&self, long: bool) -> Option<ClientId> {
        let [short, of_long] = &self.turns;
        let first = short.first().into_iter().chain(of_long.first().filter(|_| long)).min();
        first.map(|(_, _, client)| *client)
    }

    /// Notes that a client's item starts; returns the queue's virtual time, which is its start.
    pub(super) fn started(&mut self, client: ClientId) -> Duration {
        if let Some(client) = self.clients.get(&client) {
            self.now = self.now.max(client.start);
        }
        while let Some((start, client)) = self.idle.first().copied()
            && start <= self.now
        {
            self.idle.pop_first();
            self.clients.remove(&client);
        }
        self.now
    }

    /// Changes a client and lists it anew.
    pub(super) fn update(&mut self, id: ClientId, weight: Option<u32>, change: impl FnOnce(&mut Client)) {
        let client = self.clients.entry(id).or_insert_with(|| Client {
            weight: 1,
            start: self.now,
            lanes: Lanes::default(),
            reserved: Duration::ZERO,
            came: 0,
            listed: None,
        });
        if let Some(weight) = weight {
            client.weight = weight.max(1);
        }
        if client.listed.is_none() {
            self.idle.remove(&(client.start, id));
            client.start = client.start.max(self.now);
            self.came += 1;
            client.came = self.came;
        }
        change(client);
        let work = client.lanes.work() + client.reserved;
        let listed = Listed {
            start: client.start,
            end: client.start + work / client.weight,
            came: client.came,
            weight: client.weight,
            waiting: client.lanes.waiting(),
        };
        // What the next item starts at stays in force while nothing waits, or a client would be ahead by pausing.
        let has_work = !work.is_zero() || client.lanes.len() > 0;
        let (before, after) = (client.listed, has_work.then_some(listed));
        client.listed = after;
        if after.is_none() {
            self.idle.insert((client.start, id));
        }
        if before != after {
            before.into_iter().for_each(|before| self.unlist(id, &before));
            after.into_iter().for_each(|after| self.list(id, &after));
        }
        if self.starts.len() == 0 {
            // Nobody waits: all begin anew.
            self.clients.clear();
            self.idle.clear();
        }
    }

    /// Work of the clients but one that is done before a virtual time: Σ weight · (min(t, end) − start) over those that have started.
    pub(super) fn served_before(&self, time: Duration, without: Option<ClientId>) -> Duration {
        let since = |times: &Times| {
            let before = times.sum_before(&(time, ClientId(0)));
            before.weight * time.as_nanos() - before.weight_ns
        };
        let one = without
            .and_then(|id| self.clients.get(&id)?.listed)
            .map_or(0, |listed| {
                let served = time.min(listed.end).saturating_sub(listed.start);
                u128::from(listed.weight) * served.as_nanos()
            });
        let served = since(&self.starts)
            .saturating_sub(since(&self.ends))
            .saturating_sub(one);
        Duration::from_nanos(u64::try_from(served).unwrap_or(u64::MAX))
    }

    fn list(&mut self, id: ClientId, listed: &Listed) {
        for (turns, waiting) in self.turns.iter_mut().zip(listed.waiting) {
            if waiting {
                turns.insert((listed.start, listed.came, id));
            }
        }
        let weighted = |time: Duration| Weighted {
            weight: listed.weight.into(),
            weight_ns: u128::from(listed.weight) * time.as_nanos(),
        };
        self.starts.insert((listed.start, id), weighted(listed.start));
        self.ends.insert((listed.end, id), weighted(listed.end));
    }

    fn unlist(&mut self, id: ClientId, listed: &Listed) {
        for turns in &mut self.turns {
            turns.remove(&(listed.start, listed.came, id));
        }
        self.starts.remove(&(listed.start, id));
        self.ends.remove(&(listed.end, id));
    }
}
