//! Worker threads, one a core, that several schedulers share: any of them works for any.
//!
//! A worker asks, in the order of their turns ([`Shares`]), who has something to start, and does it. The pool's lock is held while it asks,
//! and never taken by who holds a scheduler's: the order is pool, then scheduler.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::engine::Width;
use super::others::{Others, Published};
use super::policy::Decision;
use super::shares::{MemberId, Shares};

use room::{Owed, Room, here};

mod room;

/// Added to the worker threads' niceness, so that accepting, rejecting and probing go on while every core computes.
const NICENESS: i32 = 5;

/// What one of the schedulers has for a worker.
#[derive(Debug)]
pub(super) enum Chosen {
    /// A job.
    Job(Job),
    /// Outcomes to be sent, which needs no worker for long.
    Send,
    /// Nothing before the next event, or before this time.
    Nothing(Option<Instant>),
}

/// Something for a worker to do.
#[derive(Debug)]
pub(super) struct Job {
    /// What it is; not [`Decision::Wait`].
    pub(super) decision: Decision,
    /// Core time that it should take.
    pub(super) expected: Duration,
    /// Whether there is something more to start.
    pub(super) more: bool,
}

/// A scheduler, as the pool sees it.
pub(super) trait Member: Send + Sync {
    /// What a worker is to do for it, while others do what they do.
    fn choose(&self, others: Others, now: Instant) -> Chosen;
    /// Does a job.
    fn execute(&self, decision: Decision);
    /// Sends the outcomes of completed requests.
    fn send(&self);
    /// What it has to do, for the others.
    fn published(&self) -> &Published;
}

/// Worker threads that several schedulers share. Cheap to clone; the threads end when the last clone is dropped.
#[derive(Clone)]
pub struct WorkerPool(Arc<Owner>);

struct Owner {
    pool: Arc<Pool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

pub(super) struct Pool {
    workers: usize,
    state: Mutex<State>,
    /// Notified when a worker may find something to do.
    work: Condvar,
    /// Notified when a job of one that leaves has ended.
    left: Condvar,
    room: Room,
}

#[derive(Default)]
struct State {
    members: BTreeMap<MemberId, Joined>,
    shares: Shares,
    /// Workers that are at a job.
    busy: usize,
    /// Whether the wide session of some member runs.
    wide: bool,
    asleep: usize,
    stopped: bool,
    /// Jobs of those that have left.
    leaving: BTreeMap<MemberId, usize>,
}

#[derive(Clone)]
struct Joined {
    member: Arc<dyn Member>,
    weight: u32,
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool").field("workers", &self.workers()).finish()
    }
}

impl WorkerPool {
    /// Starts so many workers.
    ///
    /// # Errors
    /// Where the system does not start them.
    pub fn start(workers: usize) -> io::Result<Self> {
        let pool = Arc::new(Pool {
            workers,
            state: Mutex::default(),
            work: Condvar::new(),
            left: Condvar::new(),
            room: Room::default(),
        });
        let owner = Self(Arc::new(Owner {
            pool: Arc::clone(&pool),
            threads: Mutex::default(),
        }));
        for index in 0..workers {
            let pool = Arc::clone(&pool);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    // Where the system does not allow it, the threads compete as equals.
                    let _ = rustix::process::nice(NICENESS);
                    pool.work();
                })?;
            let threads = owner.0.threads.lock();
            threads.unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(owner)
    }

    /// Worker threads.
    pub fn workers(&self) -> usize {
        self.0.pool.workers
    }

    /// Until what is returned is dropped, a worker on the core where the calling thread runs pauses for a sixth of its time, so that a thread of
    /// idle priority that may run on no other core gets on while all cores compute. One thread at a time.
    pub fn make_room(&self) -> RoomMade {
        self.0.pool.room.set(here());
        RoomMade(Arc::clone(&self.0.pool))
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }

    /// Ends the threads and waits for them, where this is the last handle.
    pub(super) fn stop(self) {
        if let Some(owner) = Arc::into_inner(self.0) {
            owner.pool.stop();
            let threads = std::mem::take(&mut *owner.threads.lock().unwrap_or_else(PoisonError::into_inner));
            for thread in threads {
                // A worker catches what its jobs panic with; one that died all the same has nothing left to do.
                let _ = thread.join();
            }
        }
    }
}

/// See [`WorkerPool::make_room`].
#[must_use]
pub struct RoomMade(Arc<Pool>);

impl fmt::Debug for RoomMade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RoomMade").field(&self.0.room).finish()
    }
}

impl Drop for RoomMade {
    fn drop(&mut self) {
        self.0.room.set(None);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.pool.stop();
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.work.notify_all();
    }

    /// Adds a scheduler with a share relative to the others'.
    pub(super) fn join(&self, member: Arc<dyn Member>, weight: u32) -> MemberId {
        let mut state = self.lock();
        let id = state.shares.join(weight);
        let weight = weight.max(1);
        state.members.insert(id, Joined { member, weight });
        id
    }

    /// Takes a scheduler out: nothing of it is started any more.
    pub(super) fn leave(&self, id: MemberId) {
        let mut state = self.lock();
        let jobs = state.shares.jobs(id);
        if state.members.remove(&id).is_some() && jobs > 0 {
            state.leaving.insert(id, jobs);
        }
        state.shares.leave(id);
    }

    /// Waits until no worker is at a job of one that has left.
    pub(super) fn wait_left(&self, id: MemberId) {
        let mut state = self.lock();
        while state.leaving.contains_key(&id) && !state.stopped {
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A scheduler may have something to start.
    pub(super) fn notify(&self, id: MemberId) {
        let mut state = self.lock();
        if state.shares.mark(id) && state.asleep > 0 && !state.wide {
            self.work.notify_one();
        }
    }

    /// What the others have to do.
    pub(super) fn others(&self, id: MemberId) -> Others {
        let state = self.lock();
        state.others(id)
    }

    /// A worker.
    fn work(&self) {
        let mut owed = Owed::default();
        let mut state = self.lock();
        while !state.stopped {
            let now = Instant::now();
            state = match state.choose(now) {
                Some((id, joined, Chosen::Job(job))) => {
                    self.wake_another(&state);
                    drop(state);
                    let (state, took) = self.execute(id, &joined, job);
                    self.leave_room(state, &mut owed, took)
                }
                Some((id, joined, Chosen::Send)) => {
                    drop(state);
                    joined.member.send();
                    let mut state = self.lock();
                    state.shares.mark(id);
                    state
                }
                Some((_, _, Chosen::Nothing(_))) | None => self.sleep(state),
            };
        }
    }

    /// Does a job, and says how long that took.
    fn execute(&self, id: MemberId, joined: &Joined, job: Job) -> (MutexGuard<'_, State>, Duration) {
        let wide = matches!(job.decision, Decision::Run(Width::Wide, _));
        let began = Instant::now();
        joined.member.execute(job.decision);
        let took = began.elapsed();
        let mut state = self.lock();
        state.busy -= 1;
        let cores = if wide { self.workers as u32 } else { 1 };
        state.shares.ended(id, job.expected, took * cores);
        if let Some(jobs) = state.leaving.get_mut(&id) {
            *jobs -= 1;
            if *jobs == 0 {
                state.leaving.remove(&id);
                self.left.notify_all();
            }
        }
        if wide {
            state.wide = false;
            self.work.notify_all();
        }
        (state, took)
    }

    /// Pauses after a job where a thread of idle priority needs the core.
    fn leave_room<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        owed: &mut Owed,
        took: Duration,
    ) -> MutexGuard<'a, State> {
        if !self.room.is_here() {
            owed.clear();
            return state;
        }
        let Some(pause) = owed.after(took) else {
            return state;
        };
        self.wake_another(&state);
        drop(state);
        std::thread::sleep(pause);
        self.lock()
    }

    /// One wake-up leads to the next, so that a burst wakes as many workers as it has work for and no more.
    fn wake_another(&self, state: &State) {
        if state.asleep > 0 && !state.wide && (state.shares.startable(None) || state.shares.due().is_some()) {
            self.work.notify_one();
        }
    }

    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.asleep += 1;
        let due = state.shares.due().filter(|_| !state.wide);
        let mut state = match due {
            None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(due) => {
                let time = due.saturating_duration_since(Instant::now());
                let woken = self.work.wait_timeout(state, time);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.asleep -= 1;
        state
    }
}

impl State {
    /// The next thing to do, and for whom.
    fn choose(&mut self, now: Instant) -> Option<(MemberId, Joined, Chosen)> {
        if self.wide {
            return None;
        }
        for id in self.shares.turns(now) {
            let Some(joined) = self.members.get(&id).cloned() else {
                continue;
            };
            let chosen = joined.member.choose(self.others(id), now);
            match &chosen {
                Chosen::Nothing(due) => {
                    self.shares.nothing(id, *due);
                    continue;
                }
                Chosen::Send => self.shares.nothing(id, None),
                Chosen::Job(job) => {
                    self.shares.started(id, job.expected, job.more);
                    self.busy += 1;
                    self.wide = matches!(job.decision, Decision::Run(Width::Wide, _));
                }
            }
            return Some((id, joined, chosen));
        }
        None
    }

    fn others(&self, id: MemberId) -> Others {
        if self.members.len() < 2 {
            return Others {
                busy: self.busy - self.shares.jobs(id).min(self.busy),
                ..Others::default()
            };
        }
        let own = self.members.get(&id).map_or(1, |joined| joined.weight);
        let others = self.members.iter().filter(|(other, _)| **other != id);
        let work = others.filter_map(|(_, other)| {
            let weight = f64::from(other.weight) / f64::from(own);
            other.member.published().get(weight)
        });
        let work: Vec<_> = work.collect();
        Others {
            busy: self.busy - self.shares.jobs(id).min(self.busy),
            startable: !work.is_empty() && self.shares.startable(Some(id)),
            work,
        }
    }
}

#[cfg(test)]
mod tests;
