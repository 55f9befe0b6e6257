//! What a model has done so far: how often, and how long it took.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often something happened, and how long it took altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// How often.
    pub count: u64,
    /// How long altogether.
    pub time: Duration,
}

impl Total {
    /// How long altogether, in nanoseconds.
    pub fn nanoseconds(&self) -> u64 {
        u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX)
    }

    fn add(&mut self, count: u64, time: Duration) {
        self.count = self.count.saturating_add(count);
        self.time = self.time.saturating_add(time);
    }
}

/// The sums at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// When a request last succeeded.
    pub last_success: Option<SystemTime>,
    /// Requests that succeeded, from when their body had been read.
    pub success: Total,
    /// Requests that failed or were refused.
    pub fail: Total,
    /// Images that waited in the queue and were run.
    pub queue: Total,
    /// Images that were decoded and made tensors.
    pub prepare: Total,
    /// Images that were run; each counts the time of its whole batch.
    pub inference: Total,
    /// Images whose output was made a response.
    pub output: Total,
    /// Batches that were run, by their size.
    pub batches: BTreeMap<usize, Total>,
}

impl Totals {
    /// When a request last succeeded, in milliseconds since 1970; 0: none has.
    pub fn last_success_ms(&self) -> u64 {
        let since = self.last_success.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Batches that were run.
    pub fn executions(&self) -> u64 {
        self.batches.values().map(|batch| batch.count).sum()
    }
}

/// What one model has done since it was loaded.
#[derive(Debug, Default)]
pub struct Statistics(Mutex<Totals>);

impl Statistics {
    /// The sums now.
    pub fn totals(&self) -> Totals {
        self.lock().clone()
    }

    /// A batch was run.
    pub fn ran(&self, batch_size: usize, took: Duration) {
        self.lock().batches.entry(batch_size).or_default().add(1, took);
    }

    /// An image is done. `prepare` is zero for a tensor, which needs no preparing.
    pub fn image(&self, prepare: Duration, queue: Duration, inference: Duration) {
        let mut totals = self.lock();
        if !prepare.is_zero() {
            totals.prepare.add(1, prepare);
        }
        totals.queue.add(1, queue);
        totals.inference.add(1, inference);
    }

    /// The output of so many images was made a response.
    pub fn output(&self, images: usize, took: Duration) {
        self.lock().output.add(images as u64, took);
    }

    /// A request has ended.
    pub fn request(&self, succeeded: bool, took: Duration) {
        let mut totals = self.lock();
        if succeeded {
            totals.last_success = Some(SystemTime::now());
            totals.success.add(1, took);
        } else {
            totals.fail.add(1, took);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_kept_by_what_they_are_of() {
        let ms = Duration::from_millis;
        let statistics = Statistics::default();
        statistics.ran(2, ms(4));
        statistics.ran(2, ms(6));
        statistics.ran(1, ms(3));
        statistics.image(ms(1), ms(2), ms(4));
        statistics.image(Duration::ZERO, ms(2), ms(4));
        statistics.output(2, ms(1));
        statistics.request(true, ms(9));
        statistics.request(false, ms(1));
        let totals = statistics.totals();
        assert_eq!(totals.executions(), 3);
        let total = |count, milliseconds| Total {
            count,
            time: ms(milliseconds),
        };
        assert_eq!(totals.batches, BTreeMap::from([(1, total(1, 3)), (2, total(2, 10))]));
        assert_eq!(
            (totals.prepare, totals.queue, totals.inference),
            (total(1, 1), total(2, 4), total(2, 8))
        );
        assert_eq!(
            (totals.output, totals.success, totals.fail),
            (total(2, 1), total(1, 9), total(1, 1))
        );
        assert!(totals.last_success.is_some());
    }
}
