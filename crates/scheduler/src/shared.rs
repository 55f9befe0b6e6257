//! What the scheduler's threads share: its [`State`] under one lock that is held for bookkeeping only, never while an item is
//! prepared or run, and whom to notify.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::engine::{Engine, Sessions};
use super::item::{End, Outcome};
use super::memory::Memory;
use super::observer::Observer;
use super::policy::{Event, ItemId, Shape};
use super::state::{Completed, Item, OutcomeOf, Phase, Request, State};

pub(super) struct Shared<E: Engine> {
    pub(super) engine: Arc<E>,
    pub(super) observer: Arc<dyn Observer>,
    /// Notified when a worker may find something to do.
    pub(super) work: Condvar,
    /// Notified when an item has ended.
    pub(super) ended: Condvar,
    state: Mutex<State<E>>,
}

impl<E: Engine> Shared<E> {
    pub(super) fn new(
        engine: Arc<E>,
        sessions: Sessions<E::Session>,
        shape: Shape,
        capacity: usize,
        memory: Arc<Memory>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            engine,
            observer,
            work: Condvar::new(),
            ended: Condvar::new(),
            state: Mutex::new(State::new(sessions, shape, capacity, memory)),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the outcomes of completed requests, without the lock.
    pub(super) fn flush<'a>(&'a self, mut state: MutexGuard<'a, State<E>>) -> MutexGuard<'a, State<E>> {
        if state.outbox.is_empty() {
            return state;
        }
        let completed = std::mem::take(&mut state.outbox);
        drop(state);
        for Completed { reply, outcomes } in completed {
            // A client that has just gone away does not want them.
            let _ = reply.send(outcomes);
        }
        self.lock()
    }

    /// Notifies a sleeping worker that there may be something to do.
    pub(super) fn wake_one(&self, state: &State<E>) {
        if state.asleep > 0 {
            self.work.notify_one();
        }
    }

    /// Ends an item: notes it in its request; once every item of that has ended, its outcomes are ready to be sent by [`Self::flush`].
    pub(super) fn end(&self, state: &mut State<E>, item: ItemId, outcome: OutcomeOf<E>) {
        let Some(Item {
            request,
            index,
            timings,
            forgotten,
            ..
        }) = state.items.remove(&item)
        else {
            return;
        };
        if state.phase != Phase::Open {
            self.ended.notify_all();
        }
        let Some(waiting) = state.requests.get_mut(&request) else {
            self.observer.ended(forgotten, &timings);
            return;
        };
        self.observer.ended(end_of(&outcome), &timings);
        waiting.outcomes[index] = Some(outcome);
        waiting.left -= 1;
        if waiting.left == 0
            && let Some(Request { outcomes, reply, .. }) = state.requests.remove(&request)
        {
            let outcomes = outcomes.into_iter().flatten().collect();
            state.outbox.push(Completed { reply, outcomes });
        }
    }

    /// Forgets a request; its items that have not been started never are, and all count as `end`.
    pub(super) fn forget(&self, request: u64, items: Range<u64>, end: End) {
        let mut state = self.lock();
        if state.requests.remove(&request).is_none() {
            return;
        }
        let now = Instant::now();
        for item in items.map(ItemId) {
            let Some(entry) = state.items.get_mut(&item) else {
                continue;
            };
            entry.forgotten = end;
            if state.policy.on(Event::Abandoned(item), now) {
                self.end(&mut state, item, Outcome::Aborted);
            }
        }
    }

    /// Ends every item as aborted; what runs is forgotten.
    pub(super) fn abort(&self) {
        let mut state = self.lock();
        state.phase = Phase::Aborted;
        let items: Vec<ItemId> = state.items.keys().copied().collect();
        items
            .into_iter()
            .for_each(|item| self.end(&mut state, item, Outcome::Aborted));
        self.work.notify_all();
        drop(self.flush(state));
    }
}

fn end_of<O, I>(outcome: &Outcome<O, I>) -> End {
    match outcome {
        Outcome::Answered { .. } => End::Answered,
        Outcome::Invalid(_) => End::Invalid,
        Outcome::Expired => End::Expired,
        Outcome::Failed(_) => End::Failed,
        Outcome::Aborted => End::Aborted,
    }
}
