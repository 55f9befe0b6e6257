//! The scheduler's decisions as a pure state machine: events and a time in, decisions out. No threads, no clock, no items.
//!
//! Rules, in the order in which [`BatchPolicy::decide`] applies them for a worker that is free:
//! 1. While it is held, or while the wide session runs, nothing starts.
//! 2. An item whose deadline has passed is expired, never started.
//! 3. The first raw item is prepared if it came before one that came ready, or while fewer items are ready than a batch holds
//!    and the oldest of these has not waited longer than `fill`; but only when the memory that it takes is left.
//! 4. Ready items that are all there is (no raw item, nothing running) run on the wide session, on all cores, if they are
//!    no more than `wide_max`.
//! 5. Otherwise they run on a narrow session, oldest first, shared evenly among the free workers, at once; only
//!    `delay` may make an incomplete batch wait.
//!
//! Which raw item is the first: each has a time by which it would be done if requests shared the workers evenly, in units of work
//! (start-time fair queueing: the time at which its request came, and all work of the request up to and with the item). The earliest
//! goes first, so a small request does not wait for all of a large one that came before, and a large one waits for no more than as
//! much work as it brings. Where memory is short the first one waits for it and no other overtakes, so none waits for ever.
//!
//! So cores are never oversubscribed (a worker does one thing, the wide session runs alone) and never idle while something can run.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::{Cost, Width};
use super::item::Deadline;
use super::memory::Memory;

/// How often is looked whether another scheduler has given memory back: nobody notifies this one.
const MEMORY_POLL: Duration = Duration::from_millis(10);

/// An admitted item; ids grow in the order of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(pub u64);

/// What the policy schedules for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Workers, one a core, each with a narrow session.
    pub workers: usize,
    /// Items in one run of the wide session at most; 0 where there is none.
    pub wide_max: usize,
    /// Items in one run of a narrow session at most.
    pub batch_max: usize,
    /// How long an incomplete batch may wait for more while a session is free.
    pub delay: Duration,
    /// How long ready items may wait while more of their batch are prepared.
    pub fill: Duration,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An item was admitted that a session can take as it is.
    Ready {
        /// The item; greater than every one before.
        item: ItemId,
        /// When it must have been started.
        deadline: Deadline,
    },
    /// An item was admitted that needs preparing.
    Raw {
        /// The item; greater than every one before.
        item: ItemId,
        /// When it must have been started.
        deadline: Deadline,
        /// What preparing it takes.
        cost: Cost,
        /// Work of the items before it in the same request, in the unit of [`Cost::work`].
        work_before: u64,
    },
    /// A worker has prepared an item, or found that it cannot be.
    Prepared {
        /// The item.
        item: ItemId,
        /// Whether a session can take it.
        ok: bool,
    },
    /// A session's run has ended.
    Ran(Width),
    /// Nobody waits for the item any more.
    Abandoned(ItemId),
    /// From now on nothing starts (true) or work goes on (false).
    Held(bool),
}

/// What a free worker is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Prepare this item.
    Prepare(ItemId),
    /// Run these items, in order, on a session of this width.
    Run(Width, Vec<ItemId>),
    /// Nothing to do before the next event, or before this time.
    Wait(Option<Instant>),
}

#[derive(Debug)]
struct Preparing {
    deadline: Deadline,
    bytes: u64,
    abandoned: bool,
}

#[derive(Debug)]
struct Waiting {
    deadline: Deadline,
    bytes: u64,
}

#[derive(Debug)]
struct Ready {
    item: ItemId,
    deadline: Deadline,
    since: Instant,
    /// Whether it came so. What was prepared here has had its turn among the raw ones.
    came_ready: bool,
}

/// When a raw item would be done in a fair share, in units of work; equal ones go in the order of admission.
type Turn = (u64, ItemId);

/// The queue and what the workers do, as far as decisions need it.
#[derive(Debug)]
pub struct BatchPolicy {
    shape: Shape,
    memory: Arc<Memory>,
    raw: BTreeMap<Turn, Waiting>,
    turns: HashMap<ItemId, Turn>,
    /// The latest turn that has come.
    work_now: u64,
    ready: VecDeque<Ready>,
    preparing: BTreeMap<ItemId, Preparing>,
    narrow_running: usize,
    wide_running: bool,
    held: bool,
}

impl BatchPolicy {
    /// An empty queue and idle workers.
    pub fn new(shape: Shape, memory: Arc<Memory>) -> Self {
        Self {
            shape,
            memory,
            raw: BTreeMap::new(),
            turns: HashMap::new(),
            work_now: 0,
            ready: VecDeque::new(),
            preparing: BTreeMap::new(),
            narrow_running: 0,
            wide_running: false,
            held: false,
        }
    }

    /// Items that no session has taken yet.
    pub fn waiting(&self) -> usize {
        self.raw.len() + self.ready.len() + self.preparing.len()
    }

    /// Whether some item waits for a worker.
    pub fn startable(&self) -> bool {
        let waiting = !self.raw.is_empty() || !self.ready.is_empty();
        waiting && !self.held && !self.wide_running
    }

    /// Sessions that run: narrow, wide.
    pub fn running(&self) -> (usize, usize) {
        (self.narrow_running, usize::from(self.wide_running))
    }

    /// Takes note of an event. Returns whether the item it names has left the queue by it.
    pub fn on(&mut self, event: Event, now: Instant) -> bool {
        match event {
            Event::Raw {
                item,
                deadline,
                cost: Cost { bytes, work },
                work_before,
            } => {
                let turn = self.work_now.saturating_add(work_before).saturating_add(work.max(1));
                self.turns.insert(item, (turn, item));
                self.raw.insert((turn, item), Waiting { deadline, bytes });
            }
            Event::Ready { item, deadline } => self.make_ready(Ready {
                item,
                deadline,
                since: now,
                came_ready: true,
            }),
            Event::Prepared { item, ok } => {
                let Some(Preparing {
                    deadline,
                    bytes,
                    abandoned,
                }) = self.preparing.remove(&item)
                else {
                    return true;
                };
                self.memory.give(bytes);
                if !ok || abandoned {
                    return true;
                }
                self.make_ready(Ready {
                    item,
                    deadline,
                    since: now,
                    came_ready: false,
                });
            }
            Event::Ran(Width::Narrow) => self.narrow_running -= 1,
            Event::Ran(Width::Wide) => self.wide_running = false,
            Event::Abandoned(item) => return self.abandon(item),
            Event::Held(held) => self.held = held,
        }
        false
    }

    /// What a free worker is to do now, and which items have expired.
    pub fn decide(&mut self, now: Instant) -> (Decision, Vec<ItemId>) {
        let mut expired = Vec::new();
        if self.held || self.wide_running {
            return (Decision::Wait(None), expired);
        }
        let mut passed = |item: ItemId, deadline: Deadline| {
            let passed = deadline.is_some_and(|d| d <= now);
            if passed {
                expired.push(item);
            }
            passed
        };
        self.ready.retain(|ready| !passed(ready.item, ready.deadline));
        while let Some(first) = self.raw.first_entry()
            && passed(first.key().1, first.get().deadline)
        {
            self.turns.remove(&first.key().1);
            first.remove();
        }
        (self.choose(now), expired)
    }

    fn choose(&mut self, now: Instant) -> Decision {
        if self.prepares_first(now)
            && let Some(item) = self.take_raw()
        {
            return Decision::Prepare(item);
        }
        // The end of what is prepared here is an event; the end of what another scheduler prepares is not.
        let elsewhere = !self.raw.is_empty() && self.preparing.is_empty();
        let Some(Ready { since: oldest, .. }) = self.ready.front() else {
            return Decision::Wait(elsewhere.then_some(now + MEMORY_POLL));
        };
        let alone = self.raw.is_empty() && self.preparing.is_empty() && self.narrow_running == 0;
        let due = *oldest + self.shape.delay;
        if self.ready.len() < self.shape.batch_max && due > now {
            return Decision::Wait(Some(due));
        }
        if alone && self.ready.len() <= self.shape.wide_max {
            self.wide_running = true;
            return Decision::Run(Width::Wide, self.take(self.shape.wide_max));
        }
        let busy = self.preparing.len() + self.narrow_running;
        let free = self.shape.workers.saturating_sub(busy).max(1);
        let share = self.ready.len().div_ceil(free).min(self.shape.batch_max);
        self.narrow_running += 1;
        Decision::Run(Width::Narrow, self.take(share))
    }

    /// The first raw item, with the memory that it takes, if so much is left.
    fn take_raw(&mut self) -> Option<ItemId> {
        let first = self.raw.first_entry()?;
        if !self.memory.take(first.get().bytes) {
            return None;
        }
        let ((turn, item), Waiting { deadline, bytes }) = first.remove_entry();
        self.turns.remove(&item);
        self.work_now = self.work_now.max(turn);
        self.preparing.insert(
            item,
            Preparing {
                deadline,
                bytes,
                abandoned: false,
            },
        );
        Some(item)
    }

    fn prepares_first(&self, now: Instant) -> bool {
        let (Some(((_, raw), _)), Some(ready)) = (self.raw.first_key_value(), self.ready.front()) else {
            return true;
        };
        let has_room = self.ready.len() < self.shape.batch_max;
        (ready.came_ready && *raw < ready.item)
            || (has_room && now < ready.since + self.shape.fill.max(self.shape.delay))
    }

    fn take(&mut self, count: usize) -> Vec<ItemId> {
        let count = count.min(self.ready.len());
        self.ready.drain(..count).map(|ready| ready.item).collect()
    }

    /// Prepared items come back in any order; the queue keeps the order of admission.
    fn make_ready(&mut self, ready: Ready) {
        let at = self.ready.partition_point(|other| other.item < ready.item);
        self.ready.insert(at, ready);
    }

    fn abandon(&mut self, item: ItemId) -> bool {
        if let Some(turn) = self.turns.remove(&item) {
            return self.raw.remove(&turn).is_some();
        }
        if let Ok(at) = self.ready.binary_search_by_key(&item, |ready| ready.item) {
            return self.ready.remove(at).is_some();
        }
        // The worker that is at it still takes a core; the item leaves when it comes back.
        if let Some(preparing) = self.preparing.get_mut(&item) {
            preparing.abandoned = true;
        }
        false
    }
}

#[cfg(test)]
mod tests;
