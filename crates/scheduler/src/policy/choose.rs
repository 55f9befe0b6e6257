//! What a free worker is to do.

use std::time::{Duration, Instant};

use super::requests::Stage;
use super::{BatchPolicy, Decision, ItemId, Predicted, RequestId};
use crate::engine::Width;
use crate::fair_queue::{Lane, Place};
use crate::jobs::{Preparing, Run};

/// How often is looked whether another scheduler has given memory back: nobody notifies this one.
pub(super) const MEMORY_POLL: Duration = Duration::from_millis(10);

/// Where several clients send, a batch takes no longer than so many single runs, for so long after the last change of client.
const BATCH_RUNS: u32 = 3;
const MIXED: Duration = Duration::from_secs(10);

/// The time that is left, as a share, of what cannot be done in time.
const LATE: f64 = -1.0;

/// What the queue's head allows.
enum Head {
    /// A worker prepares this.
    Prepare(Place),
    /// Nothing now; for want of memory only, or for another reason.
    Nothing { memory: bool },
}

impl BatchPolicy {
    /// What a free worker is to do now, and which requests are dropped because they cannot be done in time any more: their items
    /// have left, or leave when a worker comes back with them.
    pub fn decide(&mut self, now: Instant) -> (Decision, Vec<(RequestId, Vec<ItemId>)>) {
        let mut dropped = Vec::new();
        if self.held || self.jobs.wide() {
            return (Decision::Wait(None), dropped);
        }
        self.drop_ready(now, &mut dropped);
        let head = self.look(now, &mut dropped);
        (self.choose(head, now), dropped)
    }

    fn choose(&mut self, head: Head, now: Instant) -> Decision {
        let memory = match head {
            Head::Prepare(place) => return self.prepare(place, now),
            Head::Nothing { memory } => memory,
        };
        let Some(oldest) = self.ready.iter().map(|ready| ready.since).min() else {
            // The end of what is prepared here is an event; the end of what another scheduler prepares is not.
            let elsewhere = memory && self.jobs.preparing.is_empty();
            return Decision::Wait(elsewhere.then_some(now + MEMORY_POLL));
        };
        let others = self.others.busy > 0 || self.others.startable;
        let alone = self.queue.len() == 0 && self.jobs.busy() == 0 && !others;
        let due = oldest + self.shape.delay;
        let allowed = self.batch_allowed(now);
        if self.ready.len() < allowed && due > now {
            return Decision::Wait(Some(due));
        }
        if alone && self.ready.len() <= self.shape.wide_max {
            return self.run(Width::Wide, self.ready.len(), now);
        }
        let share = self.ready.len().div_ceil(self.free()).min(allowed);
        self.run(Width::Narrow, self.in_time(share, now), now)
    }

    /// Moves ready items from the queue into the next runs until a raw one, or nothing, has its turn.
    fn look(&mut self, now: Instant, dropped: &mut Vec<(RequestId, Vec<ItemId>)>) -> Head {
        let mut memory = false;
        while let Some(place) = self.queue.peek(self.long_allowed()) {
            let id = place.key.item;
            if self.hopeless(id, now) {
                self.drop_request(id, now, dropped);
                continue;
            }
            let Some(item) = self.requests.item(id) else {
                self.queue.remove(place);
                continue;
            };
            let Some(cost) = item.cost else {
                if self.ready.len() >= self.batch_allowed(now) * self.free() {
                    break;
                }
                let turn = self.leave_queue(place, Stage::Ready, now);
                self.make_ready(turn, id, now);
                continue;
            };
            if !self.prepares_more(now) {
                break;
            }
            if self.memory.take(cost.bytes) {
                return Head::Prepare(place);
            }
            memory = true;
            break;
        }
        Head::Nothing { memory }
    }

    /// Whether more is prepared before what is ready runs.
    fn prepares_more(&self, now: Instant) -> bool {
        let oldest = self.ready.iter().map(|ready| ready.since).min();
        let fill = self.shape.fill.max(self.shape.delay);
        oldest.is_none_or(|since| self.ready.len() < self.batch_allowed(now) && now < since + fill)
    }

    fn prepare(&mut self, place: Place, now: Instant) -> Decision {
        let id = place.key.item;
        let turn = self.turns;
        self.leave_queue(place, Stage::Preparing { turn }, now);
        let (bytes, expected) = self.requests.item(id).map_or_else(Default::default, |item| {
            (item.cost.unwrap_or_default().bytes, item.prepare.mean)
        });
        let long = place.lane == Lane::LONG;
        self.jobs.preparing.insert(
            id,
            Preparing {
                began: now,
                expected,
                long,
                bytes,
            },
        );
        Decision::Prepare(id)
    }

    fn run(&mut self, width: Width, count: usize, now: Instant) -> Decision {
        let count = count.min(self.ready.len());
        let items: Vec<ItemId> = self.ready.drain(..count).map(|ready| ready.item).collect();
        for id in &items {
            if let Some(item) = self.requests.item_mut(*id) {
                item.stage = Stage::Running;
            }
        }
        let run = Run {
            width,
            items: items.clone(),
            began: now,
            expected: self.costs.run(width, count, now).mean,
        };
        if let Some(first) = items.first() {
            self.jobs.running.insert(*first, run);
        }
        Decision::Run(width, items)
    }

    /// Takes an item out of the queue because it starts; returns its turn.
    fn leave_queue(&mut self, place: Place, stage: Stage, now: Instant) -> u64 {
        let position = self.queue.start(place);
        let workers = self.shape.workers.max(1) as u32;
        let turn = self.turns;
        self.turns += 1;
        let id = place.key.item;
        if let Some(request) = self.requests.request_of(id)
            && !request.own_deadline
        {
            self.standing
                .taken(now.saturating_duration_since(request.admitted), now);
        }
        if let Some(item) = self.requests.item_mut(id) {
            item.stage = stage;
            let overtaken = position.saturating_sub(item.position) / workers;
            self.requests.note_overtaken(id, overtaken);
        }
        self.note_empty();
        turn
    }

    fn drop_ready(&mut self, now: Instant, dropped: &mut Vec<(RequestId, Vec<ItemId>)>) {
        while let Some(id) = self
            .ready
            .iter()
            .map(|ready| ready.item)
            .find(|id| self.hopeless(*id, now))
        {
            self.drop_request(id, now, dropped);
        }
    }

    fn drop_request(&mut self, id: ItemId, now: Instant, dropped: &mut Vec<(RequestId, Vec<ItemId>)>) {
        let Some(request) = self.requests.item(id).map(|item| item.request) else {
            return;
        };
        if let Some(admitted) = self.requests.request_of(id) {
            let least = self.least_left(id, now);
            let Predicted { predicted, actual } = admitted.predicted(least, now);
            self.errors.push(predicted, actual + least, now);
            self.errors.ended(LATE);
        }
        let left = self.abandon(request);
        dropped.push((request, left));
    }

    /// Whether an item that has not started its run cannot be done by its deadline.
    fn hopeless(&self, id: ItemId, now: Instant) -> bool {
        let deadline = self.requests.item(id).and_then(|item| item.deadline);
        deadline.is_some_and(|deadline| now >= deadline || now + self.least_left(id, now) > deadline)
    }

    fn least_left(&self, id: ItemId, now: Instant) -> Duration {
        let Some(item) = self.requests.item(id) else {
            return Duration::ZERO;
        };
        let mut run = self.costs.run(Width::Narrow, 1, now).low;
        if self.shape.wide_max > 0 && self.jobs.busy() == 0 {
            run = run.min(self.costs.run(Width::Wide, 1, now).low);
        }
        match item.stage {
            Stage::Queued(_) => item.prepare.low + run,
            _ => run,
        }
    }

    /// The largest batch up to `share` that is done before the earliest deadline in it; at least one item.
    fn in_time(&self, share: usize, now: Instant) -> usize {
        let deadline = |ready: &super::Ready| self.requests.item(ready.item)?.deadline;
        let in_time = |count: &usize| {
            let earliest = self.ready.iter().take(*count).filter_map(deadline).min();
            let end = now + self.costs.run(Width::Narrow, *count, now).safe();
            earliest.is_none_or(|earliest| end <= earliest)
        };
        let most = share.clamp(1, self.ready.len().max(1));
        (1..=most).rev().find(in_time).unwrap_or(1)
    }

    /// Items in a narrow run at most.
    fn batch_allowed(&self, now: Instant) -> usize {
        let batch_max = self.batch_size.next();
        let mixed = |at: Instant| now.saturating_duration_since(at) < MIXED;
        if batch_max == 1 || !self.clients_mixed.is_some_and(mixed) {
            return batch_max;
        }
        let time = |items| self.costs.run(Width::Narrow, items, now).mean;
        let time_max = time(1) * BATCH_RUNS;
        (1..=batch_max)
            .rev()
            .find(|items| time(*items) <= time_max)
            .unwrap_or(1)
    }

    fn long_allowed(&self) -> bool {
        self.shape.workers < 2 || self.jobs.long() + 1 < self.shape.workers
    }

    /// Free workers, the one that asks included.
    fn free(&self) -> usize {
        let busy = self.jobs.busy() + self.others.busy;
        self.shape.workers.saturating_sub(busy).max(1)
    }
}
