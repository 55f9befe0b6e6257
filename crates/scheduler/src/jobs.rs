//! What the workers are at, and what is left of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::engine::Width;
use super::policy::ItemId;

/// What is left of a job that has taken longer than expected, as a share of that.
const LEFT_OF_LATE: f64 = 0.1;

/// A worker prepares an item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Preparing {
    pub(crate) began: Instant,
    pub(crate) expected: Duration,
    /// Whether it counts among those that may not take all workers.
    pub(crate) long: bool,
    /// Memory that it holds.
    pub(crate) bytes: u64,
}

/// A session runs.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) width: Width,
    pub(crate) items: Vec<ItemId>,
    pub(crate) began: Instant,
    pub(crate) expected: Duration,
}

/// What the workers are at.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    pub(crate) preparing: BTreeMap<ItemId, Preparing>,
    /// By the first item.
    pub(crate) running: BTreeMap<ItemId, Run>,
}

impl Jobs {
    /// Whether the wide session runs.
    pub(crate) fn wide(&self) -> bool {
        self.running.values().any(|run| run.width == Width::Wide)
    }

    /// Workers that do something of their own.
    pub(crate) fn busy(&self) -> usize {
        self.preparing.len() + self.running.len()
    }

    /// Workers that prepare something long.
    pub(crate) fn long(&self) -> usize {
        self.preparing.values().filter(|job| job.long).count()
    }

    /// Core time that is left of all, with `workers` cores in a run of the wide session.
    pub(crate) fn left(&self, workers: usize, now: Instant) -> Duration {
        self.left_by_worker(workers, now).sum()
    }

    /// For how long each of `workers` is busy yet.
    pub(crate) fn busy_for(&self, workers: usize, now: Instant) -> Vec<Duration> {
        let mut busy: Vec<Duration> = self.left_by_worker(workers, now).collect();
        busy.resize(busy.len().max(workers), Duration::ZERO);
        busy
    }

    /// What is left of the job of each worker that has one.
    fn left_by_worker(&self, workers: usize, now: Instant) -> impl Iterator<Item = Duration> {
        let preparing = self
            .preparing
            .values()
            .map(move |job| left(job.began, job.expected, now));
        let running = self.running.values().flat_map(move |run| {
            let cores = if run.width == Width::Wide { workers } else { 1 };
            std::iter::repeat_n(left(run.began, run.expected, now), cores)
        });
        preparing.chain(running)
    }

    /// Core time that is left of long preparing.
    pub(crate) fn long_left(&self, now: Instant) -> Duration {
        let long = self.preparing.values().filter(|job| job.long);
        long.map(|job| left(job.began, job.expected, now)).sum()
    }
}

fn left(began: Instant, expected: Duration, now: Instant) -> Duration {
    let spent = now.saturating_duration_since(began);
    expected.saturating_sub(spent).max(expected.mul_f64(LEFT_OF_LATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_late_still_takes_a_little() {
        let now = Instant::now();
        assert_eq!(left(now, 20 * MS, now), 20 * MS);
        assert_eq!(left(now, 20 * MS, now + 15 * MS), 5 * MS);
        assert_eq!(left(now, 20 * MS, now + 50 * MS), 2 * MS);
    }

    #[test]
    fn a_wide_run_takes_every_core() {
        let (mut jobs, now) = (Jobs::default(), Instant::now());
        let run = Run {
            width: Width::Wide,
            items: vec![ItemId(1)],
            began: now,
            expected: 10 * MS,
        };
        jobs.running.insert(ItemId(1), run);
        assert!(jobs.wide());
        assert_eq!(jobs.left(4, now), 40 * MS);
        assert_eq!(jobs.busy_for(2, now), [10 * MS; 2]);
        assert_eq!(Jobs::default().busy_for(2, now), [Duration::ZERO; 2]);
    }
}
