//! The lanes of one client: by the size of requests, with equal shares, each in the order of deadlines.

use std::time::{Duration, Instant};

use super::load::Load;
use crate::policy::ItemId;
use crate::request::Priority;
use crate::sum_tree::SumTree;

/// Lanes of a client: four by the size of a request, and one for items that take long to prepare.
const LANES: usize = 5;

/// Nothing that waits is due later than this after another.
const FAR: Duration = Duration::from_secs(1 << 30);

/// Where an item stands among those of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Lane(usize);

impl Lane {
    /// Items that take long to prepare.
    pub(crate) const LONG: Self = Self(LANES - 1);

    /// The lane for requests of `work`, where a service of one item takes `service`: up to 3, 12, 48 of them, or more.
    pub(crate) fn of(work: Duration, service: Duration) -> Self {
        let small = |lane: &usize| work <= service * 3 * 4_u32.pow(*lane as u32);
        let last = LANES - 2;
        Self((0..last).find(small).unwrap_or(last))
    }
}

/// The order within a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) priority: Priority,
    pub(crate) due: Instant,
    pub(crate) item: ItemId,
}

impl Key {
    /// After all of the same priority.
    pub(super) fn last(self) -> Self {
        Self {
            due: self.due + FAR,
            item: ItemId(u64::MAX),
            ..self
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// The virtual time at which its next item starts.
    start: Duration,
    items: SumTree<Key, Load>,
    /// The work of all that has started.
    started: Duration,
}

/// What a client has waiting.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    queues: [Queue; LANES],
    /// The virtual time of the lanes: the start of what started last.
    now: Duration,
}

impl Lanes {
    /// Adds an item before which so much work may come later (`room`), beyond what is reserved. Returns the lane's work before it, from the
    /// lane's beginning, what is reserved included.
    pub(super) fn push(
        &mut self,
        Lane(lane): Lane,
        key: Key,
        (work, room): (Duration, Option<Duration>),
        reserved: Duration,
    ) -> Duration {
        let before = self.before(Lane(lane), key);
        let queue = &mut self.queues[lane];
        if queue.items.len() == 0 {
            queue.start = queue.start.max(self.now);
        }
        let position = queue.started + before + reserved;
        let room = room.map(|room| position.saturating_add(room));
        queue.items.insert(key, Load::new(work, room));
        position
    }

    pub(super) fn remove(&mut self, Lane(lane): Lane, key: Key) -> Duration {
        self.queues[lane].items.remove(&key).unwrap_or_default().work
    }

    /// As [`Self::remove`], and the lane is charged. Returns the item's work, and the lane's work that started before it.
    pub(super) fn start(&mut self, lane: Lane, key: Key) -> (Duration, Duration) {
        let work = self.remove(lane, key);
        let queue = &mut self.queues[lane.0];
        self.now = self.now.max(queue.start);
        queue.start += work;
        let before = queue.started;
        queue.started += work;
        (work, before)
    }

    /// How much work may come at `key`, beyond what is reserved, without making one late that waits behind it with the same priority.
    pub(super) fn room_behind(&self, Lane(lane): Lane, key: Key, reserved: Duration) -> Option<Duration> {
        let queue = &self.queues[lane];
        let behind = queue.items.sum_between(&key, &key.last());
        behind.room_at(queue.started + self.before(Lane(lane), key) + reserved)
    }

    /// Whose turn it is: the most urgent, of these the lane that has had the least.
    pub(super) fn first(&self, long: bool) -> Option<(Lane, Key)> {
        let lanes = self.queues.iter().enumerate();
        let heads = lanes.filter_map(|(lane, queue)| Some((queue.start, Lane(lane), queue.items.first()?)));
        heads
            .filter(|(_, lane, _)| long || *lane != Lane::LONG)
            .min_by_key(|(start, _, key)| (key.priority, *start))
            .map(|(_, lane, key)| (lane, key))
    }

    /// Work in a lane that goes before `key`.
    pub(super) fn before(&self, Lane(lane): Lane, key: Key) -> Duration {
        self.queues[lane].items.sum_before(&key).work
    }

    /// Work that is done before `own` work at `key` ends.
    pub(super) fn ahead(&self, lane: Lane, key: Key, own: Duration) -> Duration {
        let before = self.before(lane, key);
        let end = self.queues[lane.0].start.max(self.now) + before + own;
        let others = self.queues.iter().enumerate().filter(|(other, _)| *other != lane.0);
        let share = |(_, queue): (usize, &Queue)| queue.items.total().work.min(end.saturating_sub(queue.start));
        before + others.map(share).sum::<Duration>()
    }

    pub(super) fn total(&self, Lane(lane): Lane) -> Duration {
        self.queues[lane].items.total().work
    }

    /// All work that waits.
    pub(super) fn work(&self) -> Duration {
        self.queues.iter().map(|queue| queue.items.total().work).sum()
    }

    /// Items that wait.
    pub(super) fn len(&self) -> usize {
        self.queues.iter().map(|queue| queue.items.len()).sum()
    }

    /// Whether something waits in the long lane, and in the others.
    pub(super) fn waiting(&self) -> [bool; 2] {
        let long = self.queues[Lane::LONG.0].items.len();
        [self.len() > long, long > 0]
    }
}
