//! What the scheduler's threads share: its [`State`] under one lock that is held for bookkeeping only, never while an item is
//! prepared or run, and whom to notify.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::engine::{Engine, Sessions};
use super::item::{End, Outcome};
use super::memory::Memory;
use super::observer::Observer;
use super::policy::{ItemId, RequestId, Shape};
use super::reply::ReplyTime;
use super::state::{Item, OutcomeOf, Phase, State};

pub(super) struct Shared<E: Engine> {
    pub(super) engine: Arc<E>,
    pub(super) observer: Arc<dyn Observer>,
    /// Notified when a worker may find something to do.
    pub(super) work: Condvar,
    /// Notified when an item has ended.
    pub(super) ended: Condvar,
    /// Notified when the backlog has become less.
    pub(super) room: Notify,
    pub(super) reply_time: ReplyTime,
    state: Mutex<State<E>>,
}

impl<E: Engine> Shared<E> {
    pub(super) fn new(
        engine: Arc<E>,
        sessions: Sessions<E::Session>,
        shape: Shape,
        memory: Arc<Memory>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            engine,
            observer,
            work: Condvar::new(),
            ended: Condvar::new(),
            room: Notify::new(),
            reply_time: ReplyTime::new(),
            state: Mutex::new(State::new(sessions, shape, memory)),
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
        completed.into_iter().for_each(super::state::Completed::send);
        self.room.notify_one();
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
            deadline,
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
        let now = Instant::now();
        let Some(waiting) = state.requests.get_mut(&request) else {
            let late = forgotten == End::Expired;
            self.observer.ended(forgotten, &timings, late.then_some(false));
            return;
        };
        let end = end_of(&outcome);
        let in_time = |deadline| end == End::Completed && now <= deadline;
        self.observer.ended(end, &timings, deadline.map(in_time));
        waiting.outcomes[index] = Some(outcome);
        waiting.left -= 1;
        if waiting.left == 0
            && let Some(waiting) = state.requests.remove(&request)
        {
            state.outbox.push(waiting.completed(now, || Outcome::Aborted));
        }
    }

    /// Forgets a request; its items that have not been started never are, and all count as `end`.
    pub(super) fn forget(&self, request: RequestId, end: End) {
        let mut state = self.lock();
        if state.requests.remove(&request).is_none() {
            return;
        }
        let left = state.policy.abandon(request);
        self.forget_items(&mut state, request, left, end);
        drop(state);
        self.room.notify_one();
    }

    /// Ends a request that cannot be done in time any more; the policy has dropped it, and `left` are the items that are out of its hands.
    pub(super) fn expire(&self, state: &mut State<E>, request: RequestId, left: Vec<ItemId>) {
        if let Some(waiting) = state.requests.remove(&request) {
            state
                .outbox
                .push(waiting.completed(Instant::now(), || Outcome::Expired));
        }
        self.forget_items(state, request, left, End::Expired);
    }

    /// Ends the items that have left; those that workers are at end, as `end`, when they come back.
    fn forget_items(&self, state: &mut State<E>, request: RequestId, left: Vec<ItemId>, end: End) {
        for item in state.policy.items_of(request).chain(left.iter().copied()) {
            if let Some(entry) = state.items.get_mut(&item) {
                entry.forgotten = end;
            }
        }
        for item in left {
            self.end(state, item, Outcome::Aborted);
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
        Outcome::Completed { .. } => End::Completed,
        Outcome::Invalid(_) => End::Invalid,
        Outcome::Expired => End::Expired,
        Outcome::Failed(_) => End::Failed,
        Outcome::Aborted => End::Aborted,
    }
}
