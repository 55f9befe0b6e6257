//! Who is refused at once, who is held, and who of them gets room: no clock, no I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::allowance::Allowance;
use super::marks::Marks;
use repserve_scheduler::ClientId;

/// How long a request is held, about: from three quarters to five quarters of it, so that those that came together do not leave together.
const HOLD: Duration = Duration::from_millis(1400);

/// Who is refused after it was held in vain is told to come back after this time at least: there are many that wait.
pub(super) const RETRY_AFTER_VAIN_HOLD: Duration = Duration::from_secs(2);

/// How long it counts that a sender was told to come back later, at least and at most.
const TOLD_MIN: Duration = Duration::from_secs(1);
const TOLD_MAX: Duration = Duration::from_secs(10);

/// Refusals a second, at once, of those who were told to come back later: requests of an open loop come over connections that were
/// refused before, and many clients stand behind one address. They cost a twentieth of a core.
const AT_ONCE_PER_SECOND: u32 = 500;

/// Where as many are held, clients do come back at once: for some time no connection that was told is refused at once. The time is longer
/// than any is held, for those that began to be held together end together.
const STORM_HELD_MIN: usize = 32;
const STORM: Duration = Duration::from_secs(3);

/// Refusals a second of requests that are held and cannot be done by their own deadline any more. The others are held on.
const LAPSED_PER_SECOND: u32 = 100;

/// A held request gives up so long before its deadline: a sixteenth of what it has, at least a few milliseconds.
const GIVE_UP_SHARE: u32 = 16;
const GIVE_UP_MIN: Duration = Duration::from_millis(5);

/// Held requests that are offered room in vain each time, in all and of a client.
const VAIN_MAX: usize = 4;
const VAIN_OF_CLIENT_MAX: usize = 2;

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sender {
    /// Whose it is.
    pub client: ClientId,
    /// The connection, by a number that no other has.
    pub connection: u64,
}

/// Names a request that is held; grows with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct HeldId(u64);

#[derive(Debug)]
struct Held<T> {
    client: ClientId,
    payload: T,
    /// When its own deadline cannot be met any more.
    gives_up: Instant,
}

/// The requests that are held, and who was told to come back later. `T` is what is needed to give one of them room.
#[derive(Debug)]
pub(super) struct State<T> {
    connections: Marks<Sender>,
    clients: Marks<ClientId>,
    at_once: Allowance,
    storm_until: Option<Instant>,
    lapsed: Allowance,
    held: HashMap<HeldId, Held<T>>,
    /// Those of them that can still be done by their deadlines.
    candidates: BTreeMap<ClientId, BTreeSet<HeldId>>,
    /// The same, by when they give up.
    giving_up: BTreeSet<(Instant, HeldId)>,
    /// Those of them that cannot, and are held on.
    late: BTreeSet<HeldId>,
    /// The client that was offered room last.
    turn: Option<ClientId>,
    next: u64,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            connections: Marks::default(),
            clients: Marks::default(),
            at_once: Allowance::new(AT_ONCE_PER_SECOND),
            storm_until: None,
            lapsed: Allowance::new(LAPSED_PER_SECOND),
            held: HashMap::new(),
            candidates: BTreeMap::new(),
            giving_up: BTreeSet::new(),
            late: BTreeSet::new(),
            turn: None,
            next: 0,
        }
    }
}

impl<T> State<T> {
    /// Whether a request for which there is no room is held. Not the first of its client; nor others, as long as those are not too many.
    pub(super) fn holds(&mut self, sender: Sender, now: Instant) -> bool {
        let connection_told = self.was_told(sender, now);
        if !connection_told && self.clients.until(&sender.client, now).is_none() {
            return false;
        }
        let storm = self.storm_until.is_some_and(|until| now < until);
        (connection_told && storm) || !self.at_once.take(now)
    }

    /// Whether a sender was told to come back later than now.
    pub(super) fn was_told(&self, sender: Sender, now: Instant) -> bool {
        self.connections.until(&sender, now).is_some()
    }

    /// A sender was told to come back after `retry_after`.
    pub(super) fn told(&mut self, sender: Sender, retry_after: Duration, now: Instant) {
        let until = now + retry_after.clamp(TOLD_MIN, TOLD_MAX);
        self.connections.set(sender, until, now);
        self.clients.set(sender.client, until, now);
    }

    /// Holds a request. Returns its name, and when it is to be refused if there was no room: when its sender may come back, or about
    /// [`HOLD`] later.
    pub(super) fn hold(
        &mut self,
        sender: Sender,
        deadline: Option<Instant>,
        payload: T,
        now: Instant,
    ) -> (HeldId, Instant) {
        let id = HeldId(self.next);
        self.next += 1;
        let left = deadline.map_or(2 * HOLD, |deadline| deadline.saturating_duration_since(now));
        let gives_up = now + left.saturating_sub(GIVE_UP_MIN.max(left / GIVE_UP_SHARE));
        let held = Held {
            client: sender.client,
            payload,
            gives_up,
        };
        self.held.insert(id, held);
        if self.held.len() >= STORM_HELD_MIN {
            self.storm(now + STORM);
        }
        self.candidates.entry(sender.client).or_default().insert(id);
        self.giving_up.insert((gives_up, id));
        let connection = self.connections.until(&sender, now);
        let told = connection.max(self.clients.until(&sender.client, now));
        let until = now + spread(id.0);
        (id, told.map_or(now, |told| told.min(until)))
    }

    /// Until then, connections that were told to come back later are not refused at once.
    pub(super) fn storm(&mut self, until: Instant) {
        self.storm_until = self.storm_until.max(Some(until));
    }

    /// Those that cannot meet their own deadlines any more get no room; as many of them as is worth the work are forgotten.
    pub(super) fn lapse(&mut self, now: Instant) {
        while let Some((gives_up, id)) = self.giving_up.first().copied()
            && gives_up <= now
        {
            self.no_candidate(id);
            if self.lapsed.take(now) {
                self.held.remove(&id);
            } else {
                self.late.insert(id);
            }
        }
    }

    /// Forgets a held request, if it still is.
    pub(super) fn leave(&mut self, id: HeldId) {
        self.no_candidate(id);
        self.late.remove(&id);
        self.held.remove(&id);
    }

    /// Lets up to `count` of those go that cannot be done in time any more, where nobody else is held: there is nothing to do, and their
    /// senders may come back with what can be done. The longest held go first.
    pub(super) fn let_go(&mut self, count: usize) {
        if self.candidates.is_empty() {
            let oldest: Vec<HeldId> = self.late.iter().copied().take(count).collect();
            oldest.into_iter().for_each(|id| self.leave(id));
        }
    }

    /// Offers room to held requests, clients in turn, the newest of each first: the oldest has the least chance to be done in time. Those for
    /// which `offer` returns true leave. Ends when it has returned false for as many as are worth the work.
    pub(super) fn offer(&mut self, now: Instant, mut offer: impl FnMut(&mut T) -> bool) {
        let (mut vain, mut clients_vain) = (0, 0);
        while vain < VAIN_MAX
            && clients_vain < self.candidates.len()
            && let Some(client) = self.next_client()
        {
            self.turn = Some(client);
            let newest = self.candidates.get(&client).into_iter().flatten().rev();
            let newest: Vec<HeldId> = newest.copied().take(VAIN_OF_CLIENT_MAX).collect();
            let taken = newest.into_iter().find(|id| {
                let held = self.held.get_mut(id).filter(|held| now < held.gives_up);
                let taken = held.is_some_and(|held| offer(&mut held.payload));
                vain += usize::from(!taken);
                taken
            });
            match taken {
                Some(id) => {
                    self.leave(id);
                    clients_vain = 0;
                }
                None => clients_vain += 1,
            }
        }
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    fn no_candidate(&mut self, id: HeldId) {
        let Some(held) = self.held.get(&id) else {
            return;
        };
        self.giving_up.remove(&(held.gives_up, id));
        if let Some(ids) = self.candidates.get_mut(&held.client) {
            ids.remove(&id);
            if ids.is_empty() {
                self.candidates.remove(&held.client);
            }
        }
    }

    fn next_client(&self) -> Option<ClientId> {
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let mut later = self.candidates.range((after, Bound::Unbounded));
        let next = later.next().or_else(|| self.candidates.first_key_value());
        next.map(|(client, _)| *client)
    }
}

/// How long the request of this number is held at most: evenly spread, by the fractional parts of multiples of the golden ratio.
fn spread(number: u64) -> Duration {
    let part = (number as f64 * 0.618_033_988_749_894_9).fract();
    HOLD.mul_f64(0.75 + part / 2.0)
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
