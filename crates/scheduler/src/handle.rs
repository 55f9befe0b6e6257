//! The two ends of a scheduler: [`Batcher`], which many hold and submit to, and [`Scheduler`], which becomes the [`Workers`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::engine::{Cost, Engine, Sessions};
use super::item::{End, Outcome, Payload, Rejected};
use super::memory::Memory;
use super::observer::Observer;
use super::policy::{RequestId, Shape};
use super::pool::{Member, WorkerPool};
use super::request::Request;
use super::reservations::ReservationId;
use super::settings::Tuning;
use super::shared::Shared;
use super::state::{Ended, OutcomeOf, PayloadOf, Phase, Snapshot};

/// Submits work. Cheap to clone.
pub struct Batcher<E: Engine>(Arc<Shared<E>>);

/// A scheduler that has not been started.
pub struct Scheduler<E: Engine> {
    shared: Arc<Shared<E>>,
    workers: usize,
}

/// What workers work for. Dropped, what there is to do is aborted.
pub struct Workers<E: Engine> {
    shared: Arc<Shared<E>>,
    /// Workers that work for nobody else.
    own: Option<WorkerPool>,
}

impl<E: Engine> std::fmt::Debug for Workers<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("own", &self.own).finish()
    }
}

/// The outcomes of one request, in the order of its items. Dropped before it is done, it abandons the request.
pub struct Pending<E: Engine> {
    shared: Arc<Shared<E>>,
    request: RequestId,
    items: usize,
    outcomes: oneshot::Receiver<Ended<E>>,
    done: bool,
}

/// A place in the backlog for a request of which only the head has arrived. It counts until it is handed to [`Batcher::submit`], dropped, or
/// a quarter of a second old: a body that takes longer finds what there is.
pub struct Reservation<E: Engine> {
    shared: Arc<Shared<E>>,
    id: ReservationId,
}

/// Makes a scheduler and its handle; nothing is spawned. There is a worker for each narrow session. Items are prepared within
/// `memory`, which several schedulers may share.
pub fn pair<E: Engine>(
    engine: Arc<E>,
    sessions: Sessions<E::Session>,
    tuning: impl Into<Tuning>,
    memory: Arc<Memory>,
    observer: Arc<dyn Observer>,
) -> (Batcher<E>, Scheduler<E>) {
    let workers = sessions.narrow.len();
    let tuning = tuning.into();
    let shape = Shape {
        workers,
        wide_max: if sessions.wide.is_some() {
            tuning.wide_max.max(1)
        } else {
            0
        },
        batch_max: tuning.batch_max.max(1),
        batch_tried_max: tuning.batch_tried_max,
        delay: tuning.delay,
        fill: tuning.fill,
        queue_capacity: tuning.queue_capacity,
        wait_max: tuning.wait_max,
        run_times: tuning.run_times,
    };
    let shared = Arc::new(Shared::new(engine, sessions, shape, memory, observer));
    (Batcher(shared.clone()), Scheduler { shared, workers })
}

impl<E: Engine> Batcher<E> {
    /// Admits all items of a request or none. The reservation, if there is one, is used up.
    ///
    /// # Errors
    /// Where the queue, the deadline or draining forbid it.
    pub fn submit(
        &self,
        payloads: Vec<PayloadOf<E>>,
        request: &Request,
        reservation: Option<Reservation<E>>,
    ) -> Result<Pending<E>, Rejected> {
        let cost = |payload: &PayloadOf<E>| match payload {
            Payload::Raw(raw) => Some(self.0.engine.cost(raw)),
            Payload::Ready(_) => None,
        };
        let costs: Vec<Option<Cost>> = payloads.iter().map(cost).collect();
        let count = payloads.len();
        drop(reservation);
        let (others, now) = (self.0.others(), Instant::now());
        let reply_time = self.0.reply_time.allowance(now);
        let mut state = self.0.lock();
        state.policy.set_others(others);
        let admitted = state.admit(payloads, &costs, request, reply_time, now);
        self.0.publish(&state, now);
        drop(state);
        self.0.notify();
        let (items, outcomes) = admitted.inspect_err(|rejected| self.0.observer.rejected(rejected))?;
        Ok(Pending {
            shared: self.0.clone(),
            request: RequestId(items.start),
            items: count,
            outcomes,
            done: count == 0,
        })
    }

    /// What prepares its items.
    pub fn engine(&self) -> &E {
        &self.0.engine
    }

    /// Keeps a place for a request of `items` items, of so many encoded bytes together, of which only the head has arrived; to refuse a
    /// request before its body is read.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn reserve(&self, items: usize, encoded_bytes: u64, request: &Request) -> Result<Reservation<E>, Rejected> {
        let reply_time = self.0.reply_time.allowance(Instant::now());
        let others = self.0.others();
        let mut state = self.0.lock();
        state.policy.set_others(others);
        let id = state.open().and_then(|()| {
            state
                .policy
                .reserve((items, encoded_bytes), request, reply_time, Instant::now())
        });
        drop(state);
        let id = id.inspect_err(|rejected| self.0.observer.rejected(rejected))?;
        let shared = self.0.clone();
        Ok(Reservation { shared, id })
    }

    /// Whether [`Self::reserve`] would succeed now. Keeps nothing and is not observed.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn check(&self, items: usize, encoded_bytes: u64, request: &Request) -> Result<(), Rejected> {
        let reply_time = self.0.reply_time.allowance(Instant::now());
        let others = self.0.others();
        let mut state = self.0.lock();
        state.policy.set_others(others);
        state.open()?;
        let checked = state
            .policy
            .check((items, encoded_bytes), request, reply_time, Instant::now());
        checked.map(|_| ())
    }

    /// Completes when the backlog has become less since the last call completed. For one who waits: of several, one is notified each time.
    pub async fn room(&self) {
        self.0.room.notified().await;
    }

    /// How long all workers together would take for everything that was admitted.
    pub fn backlog(&self) -> Duration {
        self.0.lock().policy.backlog(Instant::now())
    }

    /// Items that may wait for a session.
    pub fn queue_capacity(&self) -> usize {
        self.0.lock().policy.queue_capacity()
    }

    /// Queue, items and sessions at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().snapshot(Instant::now())
    }

    /// Turns new requests away from now on; what was admitted finishes.
    pub fn close(&self) {
        let mut state = self.0.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Draining;
        }
    }

    /// Holds the scheduler: items are admitted and nothing is started until [`Self::release`]. Lets tests fill the queue
    /// without racing the workers.
    pub fn hold(&self) {
        self.0.lock().policy.hold(true);
    }

    /// Lets a held scheduler go on.
    pub fn release(&self) {
        self.0.lock().policy.hold(false);
        self.0.notify();
    }
}

impl<E: Engine> Clone for Batcher<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Engine> Scheduler<E> {
    /// Starts workers that work for this scheduler alone, one for each narrow session.
    ///
    /// # Errors
    /// Where the system does not start them.
    pub fn spawn(self) -> std::io::Result<Workers<E>> {
        let pool = WorkerPool::start(self.workers)?;
        let mut workers = self.join(&pool, 1);
        workers.own = Some(pool);
        Ok(workers)
    }

    /// Lets the workers of `pool` work for this scheduler too, with a share of their time of `weight` relative to the others'. There should be as
    /// many as it has narrow sessions.
    pub fn join(self, pool: &WorkerPool, weight: u32) -> Workers<E> {
        let shared = self.shared;
        let member: Arc<dyn Member> = shared.clone();
        shared
            .joined
            .get_or_init(|| (pool.pool().clone(), pool.pool().join(member, weight)));
        shared.notify();
        Workers { shared, own: None }
    }
}

impl<E: Engine> Workers<E> {
    /// Turns new requests away and waits until everything admitted has ended; after `limit` the rest is aborted. Returns whether
    /// everything ended by itself. Blocks.
    pub fn drain(mut self, limit: Duration) -> bool {
        Batcher(self.shared.clone()).close();
        let end = Instant::now() + limit;
        let mut state = self.shared.lock();
        while state.in_flight() > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .shared
                .ended
                .wait_timeout(state, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
        drop(state);
        let own = self.own.take();
        self.end();
        if let Some(own) = own {
            own.stop();
        }
        true
    }

    /// Aborts what there is to do, and waits until no worker is at it. The sessions end here. Blocks.
    pub fn end(self) {
        self.leave();
        if let Some((pool, id)) = self.shared.joined.get() {
            pool.wait_left(*id);
        }
        let sessions = self.shared.lock().take_sessions();
        drop(sessions);
    }

    fn leave(&self) {
        self.shared.abort();
        if let Some((pool, id)) = self.shared.joined.get() {
            pool.leave(*id);
        }
    }
}

impl<E: Engine> Drop for Workers<E> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<E: Engine> Pending<E> {
    /// Gives the request up because its deadline has passed: its items count as expired, not as abandoned.
    pub fn expire(mut self) {
        if !self.done {
            self.done = true;
            self.shared.forget(self.request, End::Expired);
        }
    }
}

impl<E: Engine> Future for Pending<E> {
    type Output = Vec<OutcomeOf<E>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.items == 0 {
            return Poll::Ready(Vec::new());
        }
        let ended = ready!(Pin::new(&mut self.outcomes).poll(context));
        self.done = true;
        Poll::Ready(match ended {
            Ok((ended, outcomes)) => {
                let now = Instant::now();
                self.shared.reply_time.push(now.saturating_duration_since(ended), now);
                outcomes
            }
            Err(_) => (0..self.items).map(|_| Outcome::Aborted).collect(),
        })
    }
}

impl<E: Engine> Drop for Reservation<E> {
    fn drop(&mut self) {
        self.shared.lock().policy.release(self.id);
        self.shared.room.notify_one();
    }
}

impl<E: Engine> Drop for Pending<E> {
    fn drop(&mut self) {
        if !self.done {
            self.shared.forget(self.request, End::Abandoned);
        }
    }
}

#[cfg(test)]
mod tests;
