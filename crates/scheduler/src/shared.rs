//! What the scheduler's threads share: its [`State`] under one lock that is held for bookkeeping only, never while an item is
//! prepared or run, and whom to notify.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::engine::{Engine, Sessions};
use super::item::{End, Outcome};
use super::memory::Memory;
use super::observer::Observer;
use super::others::{Others, Published};
use super::policy::{ItemId, RequestId, Shape};
use super::pool::Pool;
use super::reply::ReplyTime;
use super::shares::MemberId;
use super::state::{Item, OutcomeOf, Phase, State};

pub(super) struct Shared<E: Engine> {
    pub(super) engine: Arc<E>,
    pub(super) observer: Arc<dyn Observer>,
    /// The workers, once it has joined them.
    pub(super) joined: OnceLock<(Arc<Pool>, MemberId)>,
    /// What there is to do, for those with which the workers are shared.
    pub(super) published: Published,
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
            joined: OnceLock::new(),
            published: Published::default(),
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
    pub(super) fn flush(&self) {
        let completed = {
            let mut state = self.lock();
            self.publish(&state, Instant::now());
            std::mem::take(&mut state.outbox)
        };
        if !completed.is_empty() {
            completed.into_iter().for_each(super::state::Completed::send);
            self.room.notify_one();
        }
    }

    /// Tells those with which the workers are shared what there is to do.
    pub(super) fn publish(&self, state: &State<E>, now: Instant) {
        let (admitted, in_service) = state.policy.work(now);
        self.published.set(admitted, in_service);
    }

    /// Tells the workers that there may be something to do. Not to be called with the lock.
    pub(super) fn notify(&self) {
        if let Some((pool, id)) = self.joined.get() {
            pool.notify(*id);
        }
    }

    /// What those do, and have to do, with which the workers are shared. Not to be called with the lock.
    pub(super) fn others(&self) -> Others {
        let joined = self.joined.get();
        joined.map_or_else(Others::default, |(pool, id)| pool.others(*id))
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
        drop(state);
        self.flush();
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
