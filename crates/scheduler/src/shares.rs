//! Whose turn it is among several schedulers that share worker threads: start-time fair queueing over them, by weight. Pure.
//!
//! Each has a virtual time at which its next job starts. A job moves it on by the core time that the job takes over the weight; the one with
//! the earliest goes next. Who had nothing to do begins at the virtual time of what started last, so that nobody saves up turns.
//!
//! Goyal, Vin, Cheng: Start-time fair queuing: a scheduling algorithm for integrated services packet switching networks (SIGCOMM 1996).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One of those that share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(pub(crate) u64);

#[derive(Debug, Clone, Copy)]
struct Share {
    weight: u32,
    start: Duration,
    /// Jobs that workers are at.
    jobs: usize,
    /// Whether it may have something that can be started.
    startable: bool,
    /// When it will have, at the latest.
    due: Option<Instant>,
}

/// Those that share the workers.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    members: BTreeMap<MemberId, Share>,
    /// The start of what started last.
    now: Duration,
    next: u64,
}

impl Shares {
    /// Adds one with a share relative to the others'; 0 counts as 1.
    pub(crate) fn join(&mut self, weight: u32) -> MemberId {
        let id = MemberId(self.next);
        self.next += 1;
        let share = Share {
            weight: weight.max(1),
            start: self.now,
            jobs: 0,
            startable: false,
            due: None,
        };
        self.members.insert(id, share);
        id
    }

    /// Takes one out.
    pub(crate) fn leave(&mut self, id: MemberId) {
        self.members.remove(&id);
    }

    /// One may have something to start. Whether that is news.
    pub(crate) fn mark(&mut self, id: MemberId) -> bool {
        let now = self.now;
        let Some(share) = self.members.get_mut(&id) else {
            return false;
        };
        if !share.startable && share.jobs == 0 {
            share.start = share.start.max(now);
        }
        !std::mem::replace(&mut share.startable, true)
    }

    /// Those that may have something to start at `now`, in the order of their turns.
    pub(crate) fn turns(&self, now: Instant) -> Vec<MemberId> {
        let is_due = |share: &Share| share.startable || share.due.is_some_and(|due| due <= now);
        let candidates = self.members.iter().filter(|(_, share)| is_due(share));
        let mut turns: Vec<(Duration, MemberId)> = candidates.map(|(id, share)| (share.start, *id)).collect();
        turns.sort_unstable();
        turns.into_iter().map(|(_, id)| id).collect()
    }

    /// One starts a job that is expected to take `work` of core time; `more`: it may have another.
    pub(crate) fn started(&mut self, id: MemberId, work: Duration, more: bool) {
        if let Some(share) = self.members.get_mut(&id) {
            self.now = self.now.max(share.start);
            share.start += work / share.weight;
            share.jobs += 1;
            (share.startable, share.due) = (more, None);
        }
    }

    /// A job has ended that took `actual` in place of `expected` core time.
    pub(crate) fn ended(&mut self, id: MemberId, expected: Duration, actual: Duration) {
        if let Some(share) = self.members.get_mut(&id) {
            share.jobs = share.jobs.saturating_sub(1);
            share.start = (share.start + actual / share.weight).saturating_sub(expected / share.weight);
        }
        self.mark(id);
    }

    /// One has nothing to start now, and nothing before `due` unless it is marked.
    pub(crate) fn nothing(&mut self, id: MemberId, due: Option<Instant>) {
        if let Some(share) = self.members.get_mut(&id) {
            (share.startable, share.due) = (false, due);
        }
    }

    /// Whether somebody, but for one, may have something to start.
    pub(crate) fn startable(&self, without: Option<MemberId>) -> bool {
        let mut others = self.members.iter().filter(|(id, _)| Some(**id) != without);
        others.any(|(_, share)| share.startable)
    }

    /// When somebody will have something to start at the latest.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.members.values().filter_map(|share| share.due).min()
    }

    /// Jobs of one that workers are at.
    pub(crate) fn jobs(&self, id: MemberId) -> usize {
        self.members.get(&id).map_or(0, |share| share.jobs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// One worker runs `jobs` jobs of those that always have one, each of its length; returns the time that each got, in milliseconds.
    fn run(members: &[(u32, u32)], jobs: usize) -> Vec<u32> {
        let mut shares = Shares::default();
        let now = Instant::now();
        let ids: Vec<MemberId> = members.iter().map(|(weight, _)| shares.join(*weight)).collect();
        ids.iter().for_each(|id| assert!(shares.mark(*id)));
        let mut got = vec![0; members.len()];
        for _ in 0..jobs {
            let id = shares.turns(now)[0];
            let index = ids.iter().position(|known| *known == id).unwrap();
            let length = members[index].1;
            shares.started(id, MS, true);
            shares.ended(id, MS, length * MS);
            got[index] += length;
        }
        got
    }

    #[test]
    fn time_is_shared_by_weight_whatever_the_jobs_take() {
        assert_eq!(run(&[(1, 1), (1, 1)], 100), [50, 50]);
        let got = run(&[(1, 10), (1, 1)], 110);
        assert!(got[0].abs_diff(got[1]) <= 10, "{got:?}");
        let got = run(&[(3, 2), (1, 2)], 100);
        assert!(got[0].abs_diff(3 * got[1]) <= 8, "{got:?}");
    }

    #[test]
    fn who_comes_after_a_pause_has_saved_nothing() {
        let mut shares = Shares::default();
        let now = Instant::now();
        let (busy, idle) = (shares.join(1), shares.join(1));
        shares.mark(busy);
        for _ in 0..10 {
            shares.started(busy, 5 * MS, true);
            shares.ended(busy, 5 * MS, 5 * MS);
        }
        shares.mark(idle);
        assert_eq!(shares.turns(now), [idle, busy]);
        shares.started(idle, 5 * MS, true);
        shares.ended(idle, 5 * MS, 5 * MS);
        shares.started(idle, 5 * MS, true);
        assert_eq!(shares.turns(now)[0], busy);
    }

    #[test]
    fn who_has_nothing_is_asked_again_when_it_is_due_or_marked() {
        let mut shares = Shares::default();
        let now = Instant::now();
        let id = shares.join(1);
        assert!(shares.turns(now).is_empty() && shares.due().is_none());
        assert!(shares.mark(id) && !shares.mark(id));
        shares.nothing(id, Some(now + MS));
        assert!(shares.turns(now).is_empty() && !shares.startable(None));
        assert_eq!((shares.due(), shares.turns(now + MS)), (Some(now + MS), vec![id]));
        shares.started(id, MS, false);
        assert_eq!((shares.due(), shares.jobs(id)), (None, 1));
        shares.leave(id);
        shares.ended(id, MS, MS);
        assert_eq!(shares.jobs(id), 0);
    }
}
