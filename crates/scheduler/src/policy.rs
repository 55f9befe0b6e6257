//! The scheduler's decisions as a pure state machine: events and a time in, decisions out. No threads, no clock, no payloads.
//!
//! **Admission** ([`BatchPolicy::admit`]). The work of a request is estimated in core time ([`cost`](super::cost)), and when it would be done
//! is predicted from the backlog before it: what the workers are at, and what the queue would let go first. It is refused when it
//! would be late, or while the queue stands ([`admission`](super::admission)).
//!
//! **Order**. [`FairQueue`] says whose turn it is: clients share the workers evenly, within a client small requests do not wait for large
//! ones, and the earliest deadline goes first.
//!
//! **Decisions**, in the order in which [`BatchPolicy::decide`] makes them for a worker that is free:
//! 1. While it is held, or while the wide session runs, nothing starts.
//! 2. An item that cannot be done by its deadline any more is dropped, and with it all of its request.
//! 3. The item whose turn it is joins the next run if it is ready. If it is raw it is prepared, while fewer items are ready than a batch
//!    holds and the oldest of these has not waited longer than `fill`, and only when the memory that it takes is left. Items that take long to
//!    prepare leave one worker to the others.
//! 4. Ready items that are all there is (nothing waits, nothing runs) run on the wide session, on all cores, if they are no more than
//!    `wide_max`.
//! 5. Otherwise they run on a narrow session, shared evenly among the free workers, at once; only `delay` may make an incomplete
//!    batch wait. A batch is no larger than its earliest deadline allows, nor, where several clients send, than what three single runs take.
//!
//! So cores are never oversubscribed (a worker does one thing, the wide session runs alone) and never idle while something can run.

mod admit;
mod choose;
mod predict;
mod requests;
mod work;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admission::Errors;
use super::batch_size::BatchSize;
use super::cost::CostModel;
use super::engine::Width;
use super::fair_queue::FairQueue;
use super::jobs::Jobs;
use super::memory::Memory;
use super::others::Others;
use super::request::ClientId;
use super::reservations::{ReservationId, Reservations};
use super::settings::RunTimes;
use super::standing_queue::StandingQueue;
use requests::{Ended, Requests, Stage};

/// An admitted item; ids grow in the order of admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(pub u64);

/// An admitted request: the number of its first item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What the policy schedules for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Workers, one a core, each with a narrow session.
    pub workers: usize,
    /// Items in one run of the wide session at most; 0 where there is none.
    pub wide_max: usize,
    /// Items in one run of a narrow session at most.
    pub batch_max: usize,
    /// Other sizes are tried up to this one, and the best is used; `None`: `batch_max` holds.
    pub batch_tried_max: Option<usize>,
    /// How long an incomplete batch may wait for more while a session is free.
    pub delay: Duration,
    /// How long ready items may wait while more of their batch are prepared.
    pub fill: Duration,
    /// Items that may wait for a session.
    pub queue_capacity: usize,
    /// How long requests without a deadline of their own may wait while the queue stands; zero: as long as they like.
    pub wait_max: Duration,
    /// How long runs take, as measured beforehand.
    pub run_times: RunTimes,
}

/// How long it must be that a request had a deadline of its own before other sizes of batches are tried.
const CALM: Duration = Duration::from_secs(10);

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

/// How long a request took and how long it was predicted to take, from its admission on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Predicted {
    /// As predicted when it was admitted.
    pub predicted: Duration,
    /// As it was.
    pub actual: Duration,
}

/// An item that has been prepared, or came so, and waits for its run.
#[derive(Debug)]
struct Ready {
    /// Items keep the order in which the queue let them go.
    turn: u64,
    item: ItemId,
    since: Instant,
}

/// The queue and what the workers do, as far as decisions need it.
#[derive(Debug)]
pub struct BatchPolicy {
    shape: Shape,
    memory: Arc<Memory>,
    costs: CostModel,
    batch_size: BatchSize,
    errors: Errors,
    standing: StandingQueue,
    reservations: Reservations,
    requests: Requests,
    queue: FairQueue,
    ready: VecDeque<Ready>,
    jobs: Jobs,
    others: Others,
    /// The client that came last, and when one came after another.
    client_last: Option<ClientId>,
    clients_mixed: Option<Instant>,
    /// When a request with a deadline of its own came last.
    deadline_last: Option<Instant>,
    turns: u64,
    held: bool,
}

impl BatchPolicy {
    /// An empty queue and idle workers.
    pub fn new(shape: Shape, memory: Arc<Memory>) -> Self {
        Self {
            memory,
            costs: CostModel::new(shape.run_times.clone(), shape.workers),
            batch_size: BatchSize::new(shape.batch_max, shape.batch_tried_max),
            errors: Errors::new(),
            standing: StandingQueue::new(shape.wait_max),
            reservations: Reservations::default(),
            requests: Requests::default(),
            queue: FairQueue::default(),
            ready: VecDeque::new(),
            jobs: Jobs::default(),
            others: Others::default(),
            client_last: None,
            clients_mixed: None,
            deadline_last: None,
            turns: 0,
            held: false,
            shape,
        }
    }

    /// Items that may wait for a session.
    pub fn queue_capacity(&self) -> usize {
        self.shape.queue_capacity
    }

    /// Items that no session has taken yet.
    pub fn waiting(&self) -> usize {
        self.queue.len() + self.ready.len() + self.jobs.preparing.len()
    }

    /// Whether some item waits for a worker.
    pub fn startable(&self) -> bool {
        let waiting = self.queue.len() > 0 || !self.ready.is_empty();
        waiting && !self.held && !self.jobs.wide()
    }

    /// What those do with which the workers are shared; to be told before each decision and each admission.
    pub(crate) fn set_others(&mut self, others: Others) {
        self.others = others;
    }

    /// Core time that a job should take which has just been decided.
    pub(crate) fn expected(&self, decision: &Decision) -> Duration {
        match decision {
            Decision::Prepare(item) => self.jobs.preparing.get(item).map(|job| job.expected),
            Decision::Run(_, items) => items.first().and_then(|first| {
                let run = self.jobs.running.get(first)?;
                let wide = run.width == Width::Wide;
                Some(run.expected * if wide { self.shape.workers as u32 } else { 1 })
            }),
            Decision::Wait(_) => None,
        }
        .unwrap_or_default()
    }

    /// Core time of everything that was admitted, and of what workers are at.
    pub(crate) fn work(&self, now: Instant) -> (Duration, Duration) {
        let in_service = self.in_service(now);
        (in_service + self.queue.work(), in_service)
    }

    /// Sessions that run: narrow, wide.
    pub fn running(&self) -> (usize, usize) {
        let wide = usize::from(self.jobs.wide());
        (self.jobs.running.len() - wide, wide)
    }

    /// How long all workers together would take for everything that was admitted.
    pub fn backlog(&self, now: Instant) -> Duration {
        (self.in_service(now) + self.queue.work()) / self.shape.workers.max(1) as u32
    }

    /// A worker has prepared an item, or found that it cannot be (`ok`). Returns whether the item has left by it.
    pub fn prepared(&mut self, item: ItemId, ok: bool, now: Instant) -> bool {
        let Some(job) = self.jobs.preparing.remove(&item) else {
            return true;
        };
        self.memory.give(job.bytes);
        let Some(entry) = self.requests.item_mut(item) else {
            return true;
        };
        let Stage::Preparing { turn } = entry.stage else {
            return true;
        };
        if ok {
            let (cost, took) = (entry.cost, now.saturating_duration_since(job.began));
            entry.stage = Stage::Ready;
            self.costs.prepared(&cost.unwrap_or_default(), took, now);
        }
        if !ok || self.requests.is_gone(item) {
            self.requests.end(item, false, Duration::ZERO, now);
            return true;
        }
        self.make_ready(turn, item, now);
        false
    }

    /// The session that ran `first` and others has come back, with outputs (`ok`) or without. Returns how well the ends of those
    /// requests were predicted whose last item ran.
    pub fn ran(&mut self, first: ItemId, ok: bool, now: Instant) -> Vec<Predicted> {
        let Some(run) = self.jobs.running.remove(&first) else {
            return Vec::new();
        };
        if ok {
            let took = now.saturating_duration_since(run.began);
            self.costs.ran(run.width, run.items.len(), took, now);
            if run.width == Width::Narrow {
                let calm = self.is_calm(now);
                let expected = |items| self.costs.run(Width::Narrow, items, now).mean;
                self.batch_size.ran(run.items.len(), took, calm, expected);
            }
        }
        let ended = run
            .items
            .iter()
            .filter_map(|item| self.requests.end(*item, ok, run.expected, now));
        let ended: Vec<Ended> = ended.collect();
        for Ended { predicted, left } in &ended {
            self.errors.push(predicted.predicted, predicted.actual, now);
            left.iter().for_each(|left| self.errors.ended(*left));
        }
        ended.into_iter().map(|ended| ended.predicted).collect()
    }

    /// Nobody waits for a request any more. Returns its items that have left by it; others leave when a worker comes back with them.
    pub fn abandon(&mut self, request: RequestId) -> Vec<ItemId> {
        let mut left = Vec::new();
        for item in self.requests.abandon(request) {
            let Some(entry) = self.requests.item_mut(item) else {
                continue;
            };
            match entry.stage {
                Stage::Queued(place) => self.queue.remove(place),
                Stage::Ready => self.ready.retain(|ready| ready.item != item),
                Stage::Preparing { .. } | Stage::Running => continue,
            }
            self.requests.remove(item);
            left.push(item);
        }
        self.note_empty();
        left
    }

    /// The numbers of a request's items, of those that have ended too; none where all have.
    pub(crate) fn items_of(&self, request: RequestId) -> impl Iterator<Item = ItemId> + use<> {
        self.requests.items_of(request)
    }

    /// From now on nothing starts (true) or work goes on (false).
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Gives a reservation up.
    pub(crate) fn release(&mut self, reservation: ReservationId) {
        self.reservations.remove(&mut self.queue, reservation);
    }

    /// Core time that is left of what has left the queue.
    fn in_service(&self, now: Instant) -> Duration {
        let to_run = (self.ready.len() + self.jobs.preparing.len()) as u32;
        self.jobs.left(self.shape.workers, now) + self.run_share(self.batch_expected(0), now).mean * to_run
    }

    /// Whether runs may take longer for a while: only requests without a deadline of their own have come lately.
    fn is_calm(&self, now: Instant) -> bool {
        self.deadline_last
            .is_none_or(|last| now.saturating_duration_since(last) > CALM)
    }

    /// Prepared items come back in any order; they keep the order in which the queue let them go.
    fn make_ready(&mut self, turn: u64, item: ItemId, now: Instant) {
        let at = self.ready.partition_point(|other| other.turn < turn);
        self.ready.insert(at, Ready { turn, item, since: now });
    }

    fn note_empty(&mut self) {
        if self.queue.len() == 0 {
            self.standing.emptied();
        }
    }
}

#[cfg(test)]
mod tests;
