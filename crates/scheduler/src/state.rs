//! What the scheduler knows: the policy, the items, who waits for them, the sessions. No locks and no threads here.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::backoff::Backoff;
use super::engine::{Cost, Engine, Sessions, Width};
use super::item::{Deadline, End, Outcome, Rejected, Timings, Work};
use super::memory::Memory;
use super::pace::Pace;
use super::policy::{BatchPolicy, Event, ItemId, Shape};

pub(super) type OutcomeOf<E> = Outcome<<E as Engine>::Output, <E as Engine>::Invalid>;
pub(super) type WorkOf<E> = Work<<E as Engine>::Raw, <E as Engine>::Input>;

/// Whether work is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Nothing new; what was admitted finishes.
    Draining,
    /// Nothing at all.
    Aborted,
}

pub(super) struct State<E: Engine> {
    pub(super) policy: BatchPolicy,
    pub(super) phase: Phase,
    pub(super) pace: Pace,
    shape: Shape,
    capacity: usize,
    pub(super) items: HashMap<ItemId, Item<E>>,
    pub(super) requests: HashMap<u64, Request<E>>,
    next_item: u64,
    narrow: Vec<Option<E::Session>>,
    wide: Option<E::Session>,
    pub(super) rebuilding: usize,
    pub(super) backoff: Backoff,
    /// Workers that sleep until they are notified of work.
    pub(super) asleep: usize,
    /// Requests all of whose items have ended, to be sent once the lock is free: waking a client takes longer than all bookkeeping.
    pub(super) outbox: Vec<Completed<E>>,
}

type Reply<E> = oneshot::Sender<Vec<OutcomeOf<E>>>;

/// A request whose items have all ended.
pub(super) struct Completed<E: Engine> {
    pub(super) reply: Reply<E>,
    pub(super) outcomes: Vec<OutcomeOf<E>>,
}

pub(super) struct Item<E: Engine> {
    pub(super) request: u64,
    pub(super) index: usize,
    work: Option<WorkOf<E>>,
    admitted: Instant,
    pub(super) timings: Timings,
    /// How it counts once its request is forgotten.
    pub(super) forgotten: End,
}

pub(super) struct Request<E: Engine> {
    pub(super) outcomes: Vec<Option<OutcomeOf<E>>>,
    pub(super) left: usize,
    pub(super) reply: Reply<E>,
}

/// The scheduler at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Items that no session has taken yet.
    pub queue_depth: usize,
    /// Items admitted and not ended.
    pub in_flight: usize,
    /// Sessions that wait.
    pub sessions_idle: usize,
    /// Sessions that run.
    pub sessions_busy: usize,
    /// Sessions that are made anew.
    pub sessions_rebuilding: usize,
}

impl<E: Engine> State<E> {
    pub(super) fn new(sessions: Sessions<E::Session>, shape: Shape, capacity: usize, memory: Arc<Memory>) -> Self {
        Self {
            policy: BatchPolicy::new(shape, memory),
            phase: Phase::Open,
            pace: Pace::default(),
            shape,
            capacity,
            items: HashMap::new(),
            requests: HashMap::new(),
            next_item: 0,
            narrow: sessions.narrow.into_iter().map(Some).collect(),
            wide: sessions.wide,
            rebuilding: 0,
            backoff: Backoff::default(),
            asleep: 0,
            outbox: Vec::new(),
        }
    }

    /// Admits all of `work`, each item with what preparing it takes, or nothing. Returns the request's number, its
    /// items, and the receiver of their outcomes.
    #[allow(clippy::type_complexity, reason = "the reply is what it is")]
    pub(super) fn admit(
        &mut self,
        work: Vec<(WorkOf<E>, Cost)>,
        deadline: Deadline,
        now: Instant,
    ) -> Result<(u64, Range<u64>, oneshot::Receiver<Vec<OutcomeOf<E>>>), Rejected> {
        self.would_admit(work.len(), deadline, now)?;
        let (reply, receiver) = oneshot::channel();
        let (request, count) = (self.next_item, work.len());
        let outcomes = (0..count).map(|_| None).collect();
        if count > 0 {
            self.requests.insert(
                request,
                Request {
                    outcomes,
                    left: count,
                    reply,
                },
            );
        }
        let mut work_before = 0_u64;
        for (index, (work, cost)) in work.into_iter().enumerate() {
            let item = ItemId(request + index as u64);
            let ready = matches!(work, Work::Ready(_));
            let (timings, forgotten) = (Timings::default(), End::Abandoned);
            let entry = Item {
                request,
                index,
                work: Some(work),
                admitted: now,
                timings,
                forgotten,
            };
            self.items.insert(item, entry);
            let arrived = if ready {
                Event::Ready { item, deadline }
            } else {
                Event::Raw {
                    item,
                    deadline,
                    cost,
                    work_before,
                }
            };
            work_before = work_before.saturating_add(cost.work.max(1));
            self.policy.on(arrived, now);
        }
        self.next_item += count as u64;
        Ok((request, request..self.next_item, receiver))
    }

    pub(super) fn would_admit(&self, count: usize, deadline: Deadline, now: Instant) -> Result<(), Rejected> {
        if self.phase != Phase::Open {
            return Err(Rejected::Draining);
        }
        if deadline.is_some_and(|d| d <= now) {
            return Err(Rejected::Expired);
        }
        if count > self.capacity {
            return Err(Rejected::TooMany {
                capacity: self.capacity,
            });
        }
        let waiting = self.policy.waiting();
        if waiting + count > self.capacity {
            let over = waiting + count - self.capacity;
            return Err(Rejected::Overloaded {
                retry_after: self.pace.wait(over.max(waiting / 2), self.shape.workers),
            });
        }
        Ok(())
    }

    pub(super) fn take_work(&mut self, item: ItemId) -> Option<WorkOf<E>> {
        self.items.get_mut(&item)?.work.take()
    }

    pub(super) fn put_prepared(&mut self, item: ItemId, input: E::Input, decode: Duration, preprocess: Duration) {
        if let Some(entry) = self.items.get_mut(&item) {
            entry.work = Some(Work::Ready(input));
            (entry.timings.decode, entry.timings.preprocess) = (decode, preprocess);
        }
    }

    /// Notes that the item's run starts at `now` in a batch of `batch_size`.
    pub(super) fn start(&mut self, item: ItemId, batch_size: usize, now: Instant) {
        if let Some(Item { admitted, timings, .. }) = self.items.get_mut(&item) {
            let spent = timings.decode + timings.preprocess;
            timings.queue = now.saturating_duration_since(*admitted).saturating_sub(spent);
            timings.batch_size = batch_size;
        }
    }

    /// Notes how long the item's run took and returns all of its timings.
    pub(super) fn finish(&mut self, item: ItemId, inference: Duration) -> Timings {
        self.items.get_mut(&item).map_or_else(Timings::default, |entry| {
            entry.timings.inference = inference;
            entry.timings
        })
    }

    /// A session to run on; `None` where the last one of its place could not be made anew.
    pub(super) fn take_session(&mut self, width: Width) -> Option<E::Session> {
        match width {
            Width::Narrow => self.narrow.pop().flatten(),
            Width::Wide => self.wide.take(),
        }
    }

    pub(super) fn put_session(&mut self, width: Width, session: Option<E::Session>) {
        match width {
            Width::Narrow => self.narrow.push(session),
            Width::Wide => self.wide = session,
        }
    }

    pub(super) fn cores(&self, width: Width) -> usize {
        if width == Width::Wide { self.shape.workers } else { 1 }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.items.len()
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let (narrow, wide) = self.policy.running();
        let sessions = self.shape.workers + usize::from(self.shape.wide_max > 0);
        let busy = (narrow + wide).saturating_sub(self.rebuilding);
        Snapshot {
            queue_depth: self.policy.waiting(),
            in_flight: self.in_flight(),
            sessions_idle: sessions - busy - self.rebuilding,
            sessions_busy: busy,
            sessions_rebuilding: self.rebuilding,
        }
    }
}
