//! The two ends of a scheduler: [`Batcher`], which many hold and submit to, and [`Scheduler`], which becomes the [`Workers`].

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::engine::{Cost, Engine, Sessions};
use super::item::{Deadline, End, Outcome, Rejected, Work};
use super::memory::Memory;
use super::observer::Observer;
use super::policy::{Event, Shape};
use super::settings::Tuning;
use super::shared::Shared;
use super::state::{OutcomeOf, Phase, Snapshot, WorkOf};
use super::worker;

/// Submits work. Cheap to clone.
pub struct Batcher<E: Engine>(Arc<Shared<E>>);

/// A scheduler that has not been started.
pub struct Scheduler<E: Engine> {
    shared: Arc<Shared<E>>,
    workers: usize,
}

/// The running worker threads. Dropped, they are aborted.
pub struct Workers<E: Engine> {
    shared: Arc<Shared<E>>,
    threads: Vec<JoinHandle<()>>,
}

/// The outcomes of one request, in the order of its items. Dropped before it is done, it abandons the request.
pub struct Pending<E: Engine> {
    shared: Arc<Shared<E>>,
    request: u64,
    items: Range<u64>,
    outcomes: oneshot::Receiver<Vec<OutcomeOf<E>>>,
    done: bool,
}

/// Added to the worker threads' niceness, so that accepting, rejecting and probing go on while every core computes.
const NICENESS: i32 = 5;

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
        delay: tuning.delay,
        fill: tuning.fill,
    };
    let capacity = tuning.queue_capacity;
    let shared = Arc::new(Shared::new(engine, sessions, shape, capacity, memory, observer));
    (Batcher(shared.clone()), Scheduler { shared, workers })
}

impl<E: Engine> Batcher<E> {
    /// Admits all items of a request or none.
    ///
    /// # Errors
    /// Where the queue, the deadline or draining forbid it.
    pub fn submit(&self, work: Vec<WorkOf<E>>, deadline: Deadline) -> Result<Pending<E>, Rejected> {
        let count = work.len();
        let cost = |work: WorkOf<E>| {
            let cost = match &work {
                Work::Raw(raw) => self.0.engine.cost(raw),
                Work::Ready(_) => Cost::default(),
            };
            (work, cost)
        };
        let work = work.into_iter().map(cost).collect();
        let mut state = self.0.lock();
        let (request, items, outcomes) = state.admit(work, deadline, Instant::now())?;
        self.0.wake_one(&state);
        drop(state);
        Ok(Pending {
            shared: self.0.clone(),
            request,
            items,
            outcomes,
            done: count == 0,
        })
    }

    /// What prepares its items.
    pub fn engine(&self) -> &E {
        &self.0.engine
    }

    /// Whether a request of `count` items would be admitted now; to turn a client away before its body is read.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn would_admit(&self, count: usize, deadline: Deadline) -> Result<(), Rejected> {
        self.0.lock().would_admit(count, deadline, Instant::now())
    }

    /// Queue, items and sessions at this moment.
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().snapshot()
    }

    /// Turns new requests away from now on; what was admitted finishes.
    pub fn close(&self) {
        let mut state = self.0.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Draining;
        }
        self.0.work.notify_all();
    }

    /// Holds the scheduler: items are admitted and nothing is started until [`Self::release`]. Lets tests fill the queue
    /// without racing the workers.
    pub fn hold(&self) {
        self.0.lock().policy.on(Event::Held(true), Instant::now());
    }

    /// Lets a held scheduler go on.
    pub fn release(&self) {
        self.0.lock().policy.on(Event::Held(false), Instant::now());
        self.0.work.notify_all();
    }
}

impl<E: Engine> Clone for Batcher<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Engine> Scheduler<E> {
    /// Starts the worker threads.
    ///
    /// # Errors
    /// Where the system starts none.
    pub fn spawn(self) -> std::io::Result<Workers<E>> {
        let mut workers = Workers {
            shared: self.shared,
            threads: Vec::new(),
        };
        for index in 0..self.workers {
            let shared = workers.shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    // Where the system does not allow it, the threads compete as equals.
                    let _ = rustix::process::nice(NICENESS);
                    worker::work(&shared);
                })?;
            workers.threads.push(thread);
        }
        Ok(workers)
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
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A worker catches what its jobs panic with; one that died all the same has nothing left to do.
            let _ = thread.join();
        }
        true
    }
}

impl<E: Engine> Drop for Workers<E> {
    fn drop(&mut self) {
        self.shared.abort();
    }
}

impl<E: Engine> Pending<E> {
    /// Gives the request up because its deadline has passed: its items count as expired, not as abandoned.
    pub fn expire(mut self) {
        if !self.done {
            self.done = true;
            self.shared.forget(self.request, self.items.clone(), End::Expired);
        }
    }
}

impl<E: Engine> Future for Pending<E> {
    type Output = Vec<OutcomeOf<E>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.items.is_empty() {
            return Poll::Ready(Vec::new());
        }
        Pin::new(&mut self.outcomes).poll(context).map(|outcomes| {
            self.done = true;
            outcomes.unwrap_or_else(|_| self.items.clone().map(|_| Outcome::Aborted).collect())
        })
    }
}

impl<E: Engine> Drop for Pending<E> {
    fn drop(&mut self) {
        if !self.done {
            self.shared.forget(self.request, self.items.clone(), End::Abandoned);
        }
    }
}

#[cfg(test)]
mod tests;
