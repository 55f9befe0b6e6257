//! What the scheduler knows: the policy, the items, who waits for them, the sessions. No locks and no threads here.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::backoff::Backoff;
use super::engine::{Cost, Engine, Sessions, Width};
use super::item::{End, Outcome, Payload, Rejected, Timings};
use super::memory::Memory;
use super::policy::{BatchPolicy, ItemId, RequestId, Shape};
use super::request::{Deadline, Request};

pub(super) type OutcomeOf<E> = Outcome<<E as Engine>::Output, <E as Engine>::Invalid>;
pub(super) type PayloadOf<E> = Payload<<E as Engine>::Raw, <E as Engine>::Input>;

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
    sessions: usize,
    pub(super) items: HashMap<ItemId, Item<E>>,
    pub(super) requests: HashMap<RequestId, Waiting<E>>,
    narrow: Vec<Option<E::Session>>,
    wide: Option<E::Session>,
    pub(super) rebuilding: usize,
    pub(super) backoff: Backoff,
    /// Requests all of whose items have ended, to be sent once the lock is free: waking a client takes longer than all bookkeeping.
    pub(super) outbox: Vec<Completed<E>>,
}

/// When the last item ended, and what became of all.
pub(super) type Ended<E> = (Instant, Vec<OutcomeOf<E>>);
type Reply<E> = oneshot::Sender<Ended<E>>;

/// A request whose items have all ended.
pub(super) struct Completed<E: Engine> {
    reply: Reply<E>,
    ended: Instant,
    outcomes: Vec<OutcomeOf<E>>,
}

pub(super) struct Item<E: Engine> {
    pub(super) request: RequestId,
    pub(super) index: usize,
    pub(super) deadline: Deadline,
    payload: Option<PayloadOf<E>>,
    admitted: Instant,
    pub(super) timings: Timings,
    /// How it counts once its request is forgotten.
    pub(super) forgotten: End,
}

/// Who waits for a request.
pub(super) struct Waiting<E: Engine> {
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
    /// How long all workers together would take for everything that was admitted.
    pub backlog: Duration,
}

impl<E: Engine> Completed<E> {
    /// Sends the outcomes; a client that has just gone away does not want them.
    pub(super) fn send(self) {
        let _ = self.reply.send((self.ended, self.outcomes));
    }
}

impl<E: Engine> Waiting<E> {
    /// What is to be sent; items that have not ended get what `missing` says.
    pub(super) fn completed(self, ended: Instant, missing: impl Fn() -> OutcomeOf<E>) -> Completed<E> {
        let outcomes = self
            .outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(&missing));
        Completed {
            reply: self.reply,
            ended,
            outcomes: outcomes.collect(),
        }
    }
}

impl<E: Engine> State<E> {
    pub(super) fn new(sessions: Sessions<E::Session>, shape: Shape, memory: Arc<Memory>) -> Self {
        Self {
            sessions: shape.workers + usize::from(shape.wide_max > 0),
            policy: BatchPolicy::new(shape, memory),
            phase: Phase::Open,
            items: HashMap::new(),
            requests: HashMap::new(),
            narrow: sessions.narrow.into_iter().map(Some).collect(),
            wide: sessions.wide,
            rebuilding: 0,
            backoff: Backoff::default(),
            outbox: Vec::new(),
        }
    }

    /// Admits all items, each with what preparing it takes (`None` where it is ready), or nothing. `reply_time` is the time that sending a
    /// response takes. Returns the items' numbers and the receiver of their outcomes.
    #[allow(clippy::type_complexity, reason = "the reply is what it is")]
    pub(super) fn admit(
        &mut self,
        payloads: Vec<PayloadOf<E>>,
        costs: &[Option<Cost>],
        request: &Request,
        reply_time: Duration,
        now: Instant,
    ) -> Result<(Range<u64>, oneshot::Receiver<Ended<E>>), Rejected> {
        self.open()?;
        let items = self.policy.admit(costs, request, reply_time, now)?;
        let (reply, receiver) = oneshot::channel();
        let count = payloads.len();
        if count > 0 {
            let waiting = Waiting {
                outcomes: (0..count).map(|_| None).collect(),
                left: count,
                reply,
            };
            self.requests.insert(RequestId(items.start), waiting);
        }
        for (index, payload) in payloads.into_iter().enumerate() {
            let item = Item {
                request: RequestId(items.start),
                index,
                deadline: request.deadline,
                payload: Some(payload),
                admitted: now,
                timings: Timings::default(),
                forgotten: End::Abandoned,
            };
            self.items.insert(ItemId(items.start + index as u64), item);
        }
        Ok((items, receiver))
    }

    /// # Errors
    /// Where nothing is admitted any more.
    pub(super) fn open(&self) -> Result<(), Rejected> {
        if self.phase == Phase::Open {
            Ok(())
        } else {
            Err(Rejected::Draining)
        }
    }

    pub(super) fn take_payload(&mut self, item: ItemId) -> Option<PayloadOf<E>> {
        self.items.get_mut(&item)?.payload.take()
    }

    pub(super) fn put_prepared(&mut self, item: ItemId, input: E::Input, decode: Duration, preprocess: Duration) {
        if let Some(entry) = self.items.get_mut(&item) {
            entry.payload = Some(Payload::Ready(input));
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

    /// Gives the sessions up.
    pub(super) fn take_sessions(&mut self) -> (Vec<Option<E::Session>>, Option<E::Session>) {
        (std::mem::take(&mut self.narrow), self.wide.take())
    }

    pub(super) fn in_flight(&self) -> usize {
        self.items.len()
    }

    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        let (narrow, wide) = self.policy.running();
        let busy = (narrow + wide).saturating_sub(self.rebuilding);
        Snapshot {
            queue_depth: self.policy.waiting(),
            in_flight: self.in_flight(),
            sessions_idle: self.sessions.saturating_sub(busy + self.rebuilding),
            sessions_busy: busy,
            sessions_rebuilding: self.rebuilding,
            backlog: self.policy.backlog(now),
        }
    }
}
