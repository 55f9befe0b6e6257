//! When a request would be done if it were admitted.

use std::time::{Duration, Instant};

use super::work::Sum;
use super::{BatchPolicy, ItemId};
use crate::admission::{Behind, Prediction};
use crate::engine::Width;
use crate::fair_queue::{Lane, Place};
use crate::request::Request;
use crate::starts::nth_start;

/// A request counts on a run of so many items that preparing and running these takes no more than this share of its time: a run that
/// starts when a worker is free must be done in time with the others that wait for it.
const PLANNED_SHARE: f64 = 0.5;

impl BatchPolicy {
    /// Predicts for a request that takes so much.
    pub(super) fn predict(&self, sum: &Sum, lane: Lane, request: &Request, now: Instant) -> Prediction {
        let workers = self.shape.workers.max(1) as u32;
        let place = Place {
            client: request.client,
            lane: if sum.long.is_some() { Lane::LONG } else { lane },
            key: self.key(ItemId(u64::MAX), request, now),
        };
        let in_service = self.in_service(now);
        let idle = in_service.is_zero() && self.queue.clients() == 0 && self.others.is_idle();
        let batch = self.batch_planned(sum.longest.mean, request, now);
        let run = self.costs.run(Width::Narrow, batch, now);
        let start_at = |place| self.start(sum, (place, request.weight), (batch, in_service), now);
        let (wait, start) = start_at(place);
        let last = sum.longest.then(run).likely();
        let (mut total, mut counted_on) = (start + last, run.mean);
        let mut least_run = self.costs.run(Width::Narrow, 1, now).low;
        if sum.items <= self.shape.wide_max {
            let wide = self.costs.run(Width::Wide, sum.items, now);
            least_run = least_run.min(wide.low);
            let total_wide = sum.prepare_mean(workers) + wide.likely();
            if idle && total_wide < total {
                (total, counted_on) = (total_wide, wide.mean);
            }
        }
        let share = self.run_share(self.batch_size.used(), now).low * sum.items as u32;
        let least = (sum.longest.low + least_run).max((sum.prepare_low + share) / workers);
        Prediction {
            least,
            wait,
            total,
            run: counted_on,
            behind: self.behind(sum, place).map(|late| {
                let total = start_at(place.behind_all()).1 + last;
                Behind { late, total }
            }),
            idle,
        }
    }

    /// Items in the run that a request counts on, whose items take `prepare` to prepare.
    pub(super) fn batch_planned(&self, prepare: Duration, request: &Request, now: Instant) -> usize {
        let batch_max = self.batch_size.used();
        let Some(deadline) = request.deadline else {
            return batch_max;
        };
        let allowed = deadline.saturating_duration_since(now).mul_f64(PLANNED_SHARE);
        let fits = |batch: &usize| self.turn(prepare, *batch, now) <= allowed;
        (1..=batch_max).rev().find(fits).unwrap_or(1)
    }

    /// How long a request at `place` waits, and when the last of its items starts to be prepared, with runs of `batch` items and so much work
    /// that has left the queue.
    fn start(
        &self,
        sum: &Sum,
        (place, weight): (Place, u32),
        (batch, in_service): (usize, Duration),
        now: Instant,
    ) -> (Duration, Duration) {
        let workers = self.shape.workers.max(1) as u32;
        let ahead = in_service + self.queue.ahead(place, weight, sum.work);
        let ahead = ahead + self.others.ahead(ahead.saturating_add(sum.work));
        let prepare = sum.longest.mean;
        let turn = self.turn(prepare, batch, now);
        let busy = self.jobs.busy_for(self.shape.workers.max(1), now);
        let queued = ahead.saturating_sub(busy.iter().sum());
        let item = (turn / batch as u32).max(Duration::from_nanos(1));
        let items_before = queued
            .saturating_add(sum.work.saturating_sub(item))
            .div_duration_f64(item)
            .round();
        let others_prepared = prepare.saturating_mul(batch as u32 - 1);
        let start = nth_start(&busy, turn, items_before as u64 / batch as u64).saturating_add(others_prepared);
        let Some(long) = sum.long else {
            return (ahead / workers, start);
        };
        let long_workers = workers.saturating_sub(1).max(1);
        let ahead_long = self.jobs.long_left(now) + self.queue.long_ahead(place, long);
        let start_long = (ahead_long + long.saturating_sub(prepare)) / long_workers;
        ((ahead / workers).max(ahead_long / long_workers), start.max(start_long))
    }

    /// How long a worker is at a run of `batch` items, if it prepares them too.
    fn turn(&self, prepare: Duration, batch: usize, now: Instant) -> Duration {
        let run = self.costs.run(Width::Narrow, batch, now).mean;
        run.saturating_add(prepare.saturating_mul(batch as u32))
    }

    /// By how much others would be late for a request that is put before them; `None` where none is.
    fn behind(&self, sum: &Sum, place: Place) -> Option<Duration> {
        let late = sum.work.checked_sub(self.queue.room_behind(place)?)?;
        (!late.is_zero()).then(|| late / self.shape.workers.max(1) as u32)
    }
}
