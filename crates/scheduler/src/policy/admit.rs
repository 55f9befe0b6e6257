//! The admission of requests.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::requests::{Admitted, Item, Stage};
use super::{BatchPolicy, ItemId};
use crate::admission::{Prediction, judge};
use crate::cost::Estimate;
use crate::engine::{Cost, Width};
use crate::fair_queue::{Key, Lane, Place};
use crate::item::{Refusal, Rejected};
use crate::request::Request;
use crate::reservations::ReservationId;

/// Preparing counts as long from so much on, or where it is longer from so many single runs.
const LONG_MIN: Duration = Duration::from_millis(20);
const LONG_RUNS: u32 = 2;

/// An item's work counts for at least so much: clients take turns even where nothing is known of what things cost.
const WORK_MIN: Duration = Duration::from_micros(1);

/// One place in so many is kept for clients that have less than an even share of them.
const PLACES_KEPT: usize = 4;

/// An item to be admitted.
struct Offered {
    cost: Option<Cost>,
    prepare: Estimate,
    long: bool,
    work: Duration,
}

/// What the items of a request take together.
#[derive(Default)]
struct Sum {
    items: usize,
    work: Duration,
    prepare_low: Duration,
    /// Of the item that takes longest.
    longest: Estimate,
    /// Of the items that take long to prepare.
    long: Option<Duration>,
}

impl BatchPolicy {
    /// Admits all items of a request or none: for each what preparing it takes, `None` where it is ready. `reply` is the time that sending a
    /// response takes. Returns the items' numbers.
    ///
    /// # Errors
    /// Where places, the deadline or a standing queue forbid it.
    pub fn admit(
        &mut self,
        costs: &[Option<Cost>],
        request: &Request,
        reply: Duration,
        now: Instant,
    ) -> Result<Range<u64>, Rejected> {
        self.reservations.expire(&mut self.queue, now);
        let run = self.run_share(self.batch_expected(costs.len()), now);
        let offered: Vec<Offered> = costs.iter().map(|cost| self.offered(*cost, run.mean, now)).collect();
        let mut sum = Sum::default();
        offered.iter().for_each(|item| sum.add(item));
        let lane = Lane::of(sum.work, self.costs.run(Width::Narrow, 1, now).mean.max(WORK_MIN));
        let prediction = self.admissible(&sum, lane, request, reply, now)?;
        self.note_client(request, now);
        let first = self.requests.next();
        let items = first..first + costs.len() as u64;
        if offered.is_empty() {
            return Ok(items);
        }
        self.requests.insert_request(Admitted {
            items: items.clone(),
            left: costs.len(),
            admitted: now,
            predicted: prediction.total,
            own_deadline: request.own_deadline,
            gone: false,
            ok: true,
        });
        for (id, item) in items.clone().map(ItemId).zip(offered) {
            let lane = if item.long { Lane::LONG } else { lane };
            let place = Place {
                client: request.client,
                lane,
                key: self.key(id, request, now),
            };
            self.queue.push(place, request.weight, item.work);
            self.requests.insert_item(
                id,
                Item {
                    request: super::RequestId(first),
                    deadline: request.deadline,
                    stage: Stage::Queued(place),
                    cost: item.cost,
                    prepare: item.prepare,
                },
            );
        }
        Ok(items)
    }

    /// Whether a request of which only the head is known would be admitted: `items` of `encoded_bytes` together. Keeps a place for it.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub(crate) fn reserve(
        &mut self,
        (items, encoded_bytes): (usize, u64),
        request: &Request,
        reply: Duration,
        now: Instant,
    ) -> Result<ReservationId, Rejected> {
        let sum = self.check((items, encoded_bytes), request, reply, now)?;
        let client = (request.client, request.weight);
        Ok(self.reservations.add(&mut self.queue, client, sum, now))
    }

    /// As [`Self::reserve`], and keeps nothing. Returns the items and their work.
    pub(crate) fn check(
        &mut self,
        (items, encoded_bytes): (usize, u64),
        request: &Request,
        reply: Duration,
        now: Instant,
    ) -> Result<(usize, Duration), Rejected> {
        self.reservations.expire(&mut self.queue, now);
        let run = self.run_share(self.batch_expected(items), now).mean;
        let prepare = self.costs.prepare_bytes(encoded_bytes, now);
        let each = prepare / items.max(1) as u32;
        let sum = Sum {
            items,
            work: prepare.saturating_add((run * items as u32).max(WORK_MIN)),
            prepare_low: Duration::ZERO,
            longest: Estimate {
                low: Duration::ZERO,
                mean: each,
                high: each,
            },
            long: None,
        };
        let lane = Lane::of(sum.work, self.costs.run(Width::Narrow, 1, now).mean.max(WORK_MIN));
        self.admissible(&sum, lane, request, reply, now)?;
        Ok((items, sum.work))
    }

    /// A run's time, divided by its items.
    pub(super) fn run_share(&self, batch: usize, now: Instant) -> Estimate {
        let Estimate { low, mean, high } = self.costs.run(Width::Narrow, batch, now);
        let items = batch.max(1) as u32;
        Estimate {
            low: low / items,
            mean: mean / items,
            high: high / items,
        }
    }

    /// How many items will share a run, with so many more.
    pub(super) fn batch_expected(&self, more: usize) -> usize {
        let each = (self.waiting() + more).div_ceil(self.shape.workers.max(1));
        each.clamp(1, self.shape.batch_max.max(1))
    }

    fn offered(&self, cost: Option<Cost>, run: Duration, now: Instant) -> Offered {
        let prepare = cost.map_or_else(Estimate::default, |cost| self.costs.prepare(&cost, now));
        let single = self.costs.run(Width::Narrow, 1, now).mean;
        Offered {
            cost,
            prepare,
            long: prepare.mean >= LONG_MIN.max(single * LONG_RUNS),
            work: (prepare.mean + run).max(WORK_MIN),
        }
    }

    fn admissible(
        &self,
        sum: &Sum,
        lane: Lane,
        request: &Request,
        reply: Duration,
        now: Instant,
    ) -> Result<Prediction, Rejected> {
        if sum.items > self.shape.queue_capacity {
            return Err(Rejected::TooMany {
                capacity: self.shape.queue_capacity,
            });
        }
        let prediction = self.predict(sum, lane, request, now);
        // A deadline that cannot be met in any case is told before a lack of places.
        if prediction.least_is_late(request, now) {
            judge(&prediction, request, &self.standing, 1.0, reply, now)?;
        }
        self.places(sum.items, request, now)?;
        judge(
            &prediction,
            request,
            &self.standing,
            self.errors.margin(now),
            reply,
            now,
        )?;
        Ok(prediction)
    }

    fn predict(&self, sum: &Sum, lane: Lane, request: &Request, now: Instant) -> Prediction {
        let workers = self.shape.workers.max(1) as u32;
        let place = Place {
            client: request.client,
            lane: if sum.long.is_some() { Lane::LONG } else { lane },
            key: self.key(ItemId(u64::MAX), request, now),
        };
        let in_service = self.in_service(now);
        let ahead = in_service + self.queue.ahead(place, request.weight, sum.work);
        let ahead = ahead + self.others.ahead(ahead + sum.work);
        let batch = self.batch_expected(sum.items);
        let run = self.costs.run(Width::Narrow, batch, now);
        let last = sum.longest.then(run);
        let own = sum.work.saturating_sub(sum.longest.mean + run.mean / batch as u32);
        let (mut wait, mut last_start) = (ahead / workers, (ahead + own) / workers);
        if let Some(long) = sum.long {
            let long_workers = workers.saturating_sub(1).max(1);
            let ahead = self.jobs.long_left(now) + self.queue.long_ahead(place, long);
            wait = wait.max(ahead / long_workers);
            last_start = last_start.max((ahead + long.saturating_sub(sum.longest.mean)) / long_workers);
        }
        let idle = in_service.is_zero() && self.queue.clients() == 0 && self.others.is_idle();
        let mut total = last_start + last.likely();
        let mut least_run = self.costs.run(Width::Narrow, 1, now).low;
        if sum.items <= self.shape.wide_max {
            let wide = self.costs.run(Width::Wide, sum.items, now);
            least_run = least_run.min(wide.low);
            if idle {
                total = total.min(sum.prepare_mean(workers) + wide.likely());
            }
        }
        let share = self.run_share(self.shape.batch_max, now).low * sum.items as u32;
        let least = (sum.longest.low + least_run).max((sum.prepare_low + share) / workers);
        Prediction {
            least,
            wait,
            total,
            idle,
        }
    }

    /// Whether so many items find places. Some are kept from clients that have many.
    fn places(&self, items: usize, request: &Request, now: Instant) -> Result<(), Rejected> {
        let capacity = self.shape.queue_capacity;
        let taken = self.waiting() + self.reservations.items();
        let kept = capacity / PLACES_KEPT;
        let others = self.queue.clients() + usize::from(self.queue.len_of(request.client) == 0);
        let even = capacity / (others + 1);
        let over_share = self.queue.len_of(request.client) + items > even && taken > 0;
        let (allowed, reason) = if over_share {
            (capacity - kept, Refusal::ClientShare)
        } else {
            (capacity, Refusal::QueueFull)
        };
        let over = (taken + items).saturating_sub(allowed);
        if over == 0 {
            return Ok(());
        }
        let reason = if taken + items > capacity {
            Refusal::QueueFull
        } else {
            reason
        };
        let share = over as f64 / taken.max(1) as f64;
        let retry_after = self.backlog(now).mul_f64(share.clamp(0.5, 1.0));
        Err(Rejected::Overloaded { reason, retry_after })
    }

    /// Requests without a deadline of their own are ordered by when they should have been started.
    fn key(&self, item: ItemId, request: &Request, now: Instant) -> Key {
        let wait_max = if self.shape.wait_max.is_zero() {
            FAR
        } else {
            self.shape.wait_max
        };
        let by = now + wait_max;
        let due = match request.deadline {
            Some(deadline) if request.own_deadline || deadline < by => deadline,
            _ => by,
        };
        Key {
            priority: request.priority,
            due,
            item,
        }
    }

    fn note_client(&mut self, request: &Request, now: Instant) {
        if self.client_last.is_some_and(|last| last != request.client) {
            self.clients_mixed = Some(now);
        }
        self.client_last = Some(request.client);
    }
}

/// When those are due that may wait as long as they like.
const FAR: Duration = Duration::from_secs(30);

impl Sum {
    fn add(&mut self, item: &Offered) {
        self.items += 1;
        self.work += item.work;
        self.prepare_low += item.prepare.low;
        if item.prepare.mean >= self.longest.mean {
            self.longest = item.prepare;
        }
        if item.long {
            self.long = Some(self.long.unwrap_or_default() + item.prepare.mean);
        }
    }

    /// How long preparing takes if nothing else is done.
    fn prepare_mean(&self, workers: u32) -> Duration {
        self.longest.likely() * (self.items as u32).div_ceil(workers)
    }
}

impl Prediction {
    fn least_is_late(&self, request: &Request, now: Instant) -> bool {
        let late = |deadline: Instant| self.least > deadline.saturating_duration_since(now) || deadline <= now;
        request.deadline.is_some_and(late)
    }
}
