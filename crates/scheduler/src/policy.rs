//! The scheduler's decisions as a pure state machine: events and a time in, decisions out. No threads, no clock, no items.
//!
//! Rules, in the order in which [`BatchPolicy::decide`] applies them for a worker that is free:
//! 1. While it is held, or while the wide session runs, nothing starts.
//! 2. An item whose deadline has passed is expired, never started.
//! 3. The oldest raw item is prepared if it came before every ready one, or while fewer items are ready than a batch holds
//!    and the oldest of these has not waited longer than `fill`.
//! 4. Ready items that are all there is (no raw item, nothing running) run on the wide session, on all cores, if they are
//!    no more than `wide_max`.
//! 5. Otherwise they run on a narrow session, oldest first, shared evenly among the free workers, at once; only
//!    `delay` may make an incomplete batch wait.
//!
//! So cores are never oversubscribed (a worker does one thing, the wide session runs alone) and never idle while something can run.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::{Deadline, Width};

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
    /// An item was admitted.
    Arrived {
        /// The item; greater than every one before.
        item: ItemId,
        /// Whether it needs no preparing.
        ready: bool,
        /// When it must have been started.
        deadline: Deadline,
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
    abandoned: bool,
}

/// The queue and what the workers do, as far as decisions need it.
#[derive(Debug)]
pub struct BatchPolicy {
    shape: Shape,
    raw: VecDeque<(ItemId, Deadline)>,
    ready: VecDeque<(ItemId, Deadline, Instant)>,
    preparing: BTreeMap<ItemId, Preparing>,
    narrow_running: usize,
    wide_running: bool,
    held: bool,
}

impl BatchPolicy {
    /// An empty queue and idle workers.
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            raw: VecDeque::new(),
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

    /// Takes note of an event. Answers whether the item it names has left the queue by it.
    pub fn on(&mut self, event: Event, now: Instant) -> bool {
        match event {
            Event::Arrived {
                item,
                ready: false,
                deadline,
            } => self.raw.push_back((item, deadline)),
            Event::Arrived {
                item,
                ready: true,
                deadline,
            } => self.make_ready(item, deadline, now),
            Event::Prepared { item, ok } => match self.preparing.remove(&item) {
                Some(Preparing {
                    deadline,
                    abandoned: false,
                }) if ok => self.make_ready(item, deadline, now),
                _ => return true,
            },
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
        self.ready.retain(|(item, deadline, _)| !passed(*item, *deadline));
        while let Some((item, deadline)) = self.raw.front().copied()
            && passed(item, deadline)
        {
            self.raw.pop_front();
        }
        (self.choose(now), expired)
    }

    fn choose(&mut self, now: Instant) -> Decision {
        if self.prepares_first(now)
            && let Some((item, deadline)) = self.raw.pop_front()
        {
            self.preparing.insert(
                item,
                Preparing {
                    deadline,
                    abandoned: false,
                },
            );
            return Decision::Prepare(item);
        }
        let Some((_, _, oldest)) = self.ready.front() else {
            return Decision::Wait(None);
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

    fn prepares_first(&self, now: Instant) -> bool {
        let (Some((raw, _)), Some((ready, _, since))) = (self.raw.front(), self.ready.front()) else {
            return true;
        };
        let has_room = self.ready.len() < self.shape.batch_max;
        raw < ready || (has_room && now < *since + self.shape.fill.max(self.shape.delay))
    }

    fn take(&mut self, count: usize) -> Vec<ItemId> {
        let count = count.min(self.ready.len());
        self.ready.drain(..count).map(|(item, ..)| item).collect()
    }

    /// Prepared items come back in any order; the queue keeps the order of admission.
    fn make_ready(&mut self, item: ItemId, deadline: Deadline, now: Instant) {
        let at = self.ready.partition_point(|(other, ..)| *other < item);
        self.ready.insert(at, (item, deadline, now));
    }

    fn abandon(&mut self, item: ItemId) -> bool {
        if let Ok(at) = self.raw.binary_search_by_key(&item, |(i, _)| *i) {
            return self.raw.remove(at).is_some();
        }
        if let Ok(at) = self.ready.binary_search_by_key(&item, |(i, ..)| *i) {
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
#[path = "policy_tests.rs"]
mod tests;
