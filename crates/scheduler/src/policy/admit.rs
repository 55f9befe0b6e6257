//! The admission of requests.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::requests::{Admitted, Item, Stage};
use super::work::{Offered, Sum, WORK_MIN};
use super::{BatchPolicy, ItemId};
use crate::admission::{Prediction, judge};
use crate::cost::Estimate;
use crate::engine::{Cost, Width};
use crate::fair_queue::{Key, Lane, Place};
use crate::item::{Refusal, Rejected};
use crate::request::Request;
use crate::reservations::ReservationId;

/// One place in so many is kept for clients that have less than an even share of them.
const PLACES_KEPT: usize = 4;

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
        let prepares: Vec<Estimate> = costs.iter().map(|cost| self.preparing(cost.as_ref(), now)).collect();
        let longest = prepares.iter().map(|prepare| prepare.mean).max().unwrap_or_default();
        let run = self
            .run_share(self.batch_of(costs.len(), longest, request, now), now)
            .mean;
        let single = self.costs.run(Width::Narrow, 1, now).mean;
        let offered = costs.iter().zip(prepares);
        let offered: Vec<Offered> = offered
            .map(|(cost, prepare)| Offered::new(*cost, prepare, run, single))
            .collect();
        let sum = Sum::of(&offered);
        let lane = Lane::of(sum.work, single.max(WORK_MIN));
        let prediction = self.admissible(&sum, lane, request, reply, now)?;
        self.note_client(request, now);
        if request.own_deadline {
            self.deadline_last = Some(now);
        }
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
            run: prediction.run,
            overtaken: Duration::ZERO,
            own_deadline: request.own_deadline,
            gone: false,
            ok: true,
        });
        let room = self.room(&prediction, request, reply, now);
        for (id, item) in items.clone().map(ItemId).zip(offered) {
            let lane = if item.long { Lane::LONG } else { lane };
            let place = Place {
                client: request.client,
                lane,
                key: self.key(id, request, now),
            };
            let position = self.queue.push(place, request.weight, item.work, room);
            self.requests.insert_item(
                id,
                Item {
                    request: super::RequestId(first),
                    deadline: request.deadline,
                    stage: Stage::Queued(place),
                    position,
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
        let prepare = self.costs.prepare_bytes(encoded_bytes, now);
        let batch = self.batch_of(items, prepare / items.max(1) as u32, request, now);
        let run = self.run_share(batch, now).mean.max(WORK_MIN);
        let sum = Sum::of_size(items, prepare, run);
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
        each.clamp(1, self.batch_size.used())
    }

    /// How many items will share a run with one of so many more: what the queue gives, and no more than the deadline allows.
    fn batch_of(&self, items: usize, prepare: Duration, request: &Request, now: Instant) -> usize {
        self.batch_expected(items)
            .min(self.batch_planned(prepare, request, now))
    }

    fn preparing(&self, cost: Option<&Cost>, now: Instant) -> Estimate {
        cost.map_or_else(Estimate::default, |cost| self.costs.prepare(cost, now))
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
    pub(super) fn key(&self, item: ItemId, request: &Request, now: Instant) -> Key {
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

    /// How much work may come before a request later without making it late.
    fn room(&self, prediction: &Prediction, request: &Request, reply: Duration, now: Instant) -> Option<Duration> {
        let left = request.deadline?.saturating_duration_since(now);
        let needed = prediction.needed(self.errors.margin(now), reply);
        Some(left.saturating_sub(needed) * self.shape.workers.max(1) as u32)
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

impl Prediction {
    fn least_is_late(&self, request: &Request, now: Instant) -> bool {
        let late = |deadline: Instant| self.least > deadline.saturating_duration_since(now) || deadline <= now;
        request.deadline.is_some_and(late)
    }
}
