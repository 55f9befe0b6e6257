//! Whether a request is admitted: from a prediction of when it would be done, made without a margin, and of how wrong such predictions
//! were lately.

use std::time::{Duration, Instant};

use super::item::{Refusal, Rejected};
use super::recent::{Recent, Window};
use super::request::Request;
use super::standing_queue::StandingQueue;

/// A margin is kept for the high quantile of the errors. Requests that wait at the same time have nearly the same error, so the window spans
/// several waits.
const WINDOW: Window = Window {
    age_max: Duration::from_secs(4),
    samples_max: 512,
    low: 0.5,
    high: 0.99,
};
/// What is kept beyond: under full load everything that is admitted stands at that edge.
const SPARE: f64 = 1.05;
/// The margin before anything was measured.
const MARGIN_UNSEEN: f64 = 1.15;
/// Margins at least and at most. Errors beyond are not the prediction's.
const MARGIN_MIN: f64 = 0.8;
const MARGIN_MAX: f64 = 4.0;

/// What is to be expected of a request if it were admitted now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Prediction {
    /// What its work takes at least, with nothing else to do.
    pub(crate) least: Duration,
    /// How long it waits for the work of others.
    pub(crate) wait: Duration,
    /// Until it is done, with a run of as many items as its deadline allows.
    pub(crate) total: Duration,
    /// That run.
    pub(crate) run: Duration,
    /// Where others would be late for it.
    pub(crate) behind: Option<Behind>,
    /// Whether there is nothing else to do.
    pub(crate) idle: bool,
}

/// Others that were admitted before and would be done after a request, and late for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    /// By how much.
    pub(crate) late: Duration,
    /// Until the request is done if it goes behind them. Where that is in time, so are they: their deadlines are later.
    pub(crate) total: Duration,
}

impl Prediction {
    /// By how much the request would be late that has so much time, or others for it.
    fn late(&self, left: Duration, margin: f64, reply: Duration) -> Duration {
        let late = |total: Duration| (total.mul_f64(margin) + reply).saturating_sub(left);
        let others = self.behind.map(|behind| behind.late.min(late(behind.total)));
        late(self.total).max(others.unwrap_or_default())
    }

    /// How long it may take, with a margin, until the response is sent.
    pub(crate) fn needed(&self, margin: f64, reply: Duration) -> Duration {
        self.total.mul_f64(margin) + reply
    }
}

/// A margin up to here is kept whole.
const MARGIN_WHOLE: f64 = 1.25;

/// How much of the margin beyond it one that is late brings back, and so many take from it that are done with this share of their time left. At least
/// so much of it is kept. So large an error is another run's length and often made good later, by a smaller run.
const CAUTION_STEP: f64 = 0.1;
const EARLY_PER_LATE: f64 = 200.0;
const EARLY: f64 = 0.1;
const CAUTION_MIN: f64 = 0.4;

/// How wrong predictions were: the real time over the predicted one.
#[derive(Debug)]
pub(crate) struct Errors {
    ratios: Recent,
    /// What is kept of a large margin that the errors ask for, up to 1: as much as it takes that hardly any is late.
    caution: f64,
}

impl Errors {
    pub(crate) fn new() -> Self {
        Self {
            ratios: Recent::new(WINDOW),
            caution: 1.0,
        }
    }

    /// Something was done when so much of its time was left, as a share of it from its admission to its deadline; less than nothing where it was late.
    pub(crate) fn ended(&mut self, left: f64) {
        let step = if left < 0.0 {
            CAUTION_STEP
        } else if left > EARLY {
            -CAUTION_STEP / EARLY_PER_LATE
        } else {
            0.0
        };
        self.caution = (self.caution + step).clamp(CAUTION_MIN, 1.0);
    }

    /// Something that was predicted to be done after `predicted` was after `actual`.
    pub(crate) fn push(&mut self, predicted: Duration, actual: Duration, now: Instant) {
        if !predicted.is_zero() {
            let ratio = actual.as_secs_f64() / predicted.as_secs_f64();
            self.ratios.push(ratio.clamp(MARGIN_MIN, MARGIN_MAX), now);
        }
    }

    /// By what to multiply a prediction so that it holds nearly always.
    pub(crate) fn margin(&self, now: Instant) -> f64 {
        let seen = self.ratios.spread(1.0, now);
        let margin = seen.map_or(MARGIN_UNSEEN, |seen| seen.high * SPARE);
        margin.min(MARGIN_WHOLE + (margin - MARGIN_WHOLE) * self.caution)
    }
}

/// Judges a request by its deadline and by how long it would wait. `reply` is the time that sending its response takes.
pub(crate) fn judge(
    prediction: &Prediction,
    request: &Request,
    standing: &StandingQueue,
    margin: f64,
    reply: Duration,
    now: Instant,
) -> Result<(), Rejected> {
    let overloaded = |reason, retry_after| Err(Rejected::Overloaded { reason, retry_after });
    if let Some(deadline) = request.deadline {
        let left = deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Err(Rejected::Expired);
        }
        if prediction.least > left {
            return Err(Rejected::TooShort {
                needed: prediction.least,
            });
        }
        let late = prediction.late(left, margin, reply);
        if !late.is_zero() && !prediction.idle {
            return overloaded(Refusal::Deadline, late);
        }
    }
    match standing.excess(prediction.wait) {
        Some(excess) if !request.own_deadline => overloaded(Refusal::StandingQueue, excess),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// With 20 ms of work after a wait, in milliseconds, and a margin of 1.5.
    #[track_caller]
    fn check(wait: u32, deadline: Option<u32>, idle: bool, expected: Result<(), Rejected>) {
        let now = Instant::now();
        let prediction = Prediction {
            least: 15 * MS,
            wait: wait * MS,
            total: (wait + 20) * MS,
            idle,
            ..Prediction::default()
        };
        let request = deadline.map_or_else(Request::default, |ms| Request::by(now + ms * MS));
        let mut standing = StandingQueue::new(100 * MS);
        standing.taken(200 * MS, now);
        standing.taken(200 * MS, now + 100 * MS);
        let judged = judge(&prediction, &request, &standing, 1.5, MS, now);
        assert_eq!(judged, expected);
    }

    fn overloaded(reason: Refusal, retry_ms: u32) -> Result<(), Rejected> {
        let retry_after = retry_ms * MS;
        Err(Rejected::Overloaded { reason, retry_after })
    }

    #[test]
    fn what_can_be_done_in_time_is_admitted() {
        check(40, Some(91), false, Ok(()));
        check(40, Some(90), false, overloaded(Refusal::Deadline, 1));
        check(200, Some(400), false, Ok(()));
    }

    #[test]
    fn what_the_work_itself_cannot_meet_is_told_so() {
        check(0, Some(14), true, Err(Rejected::TooShort { needed: 15 * MS }));
        check(500, Some(14), false, Err(Rejected::TooShort { needed: 15 * MS }));
        check(0, Some(0), true, Err(Rejected::Expired));
    }

    #[test]
    fn an_idle_server_tries_what_may_be_done_in_time() {
        check(0, Some(15), true, Ok(()));
        check(0, Some(15), false, overloaded(Refusal::Deadline, 16));
    }

    #[test]
    fn without_a_deadline_the_wait_is_bounded_while_the_queue_stands() {
        check(100, None, false, Ok(()));
        check(130, None, false, overloaded(Refusal::StandingQueue, 30));
    }

    #[test]
    fn as_much_of_the_margin_is_kept_as_it_takes() {
        let (mut errors, now) = (Errors::new(), Instant::now());
        errors.push(10 * MS, 20 * MS, now);
        let whole = errors.margin(now) - MARGIN_WHOLE;
        (0..800).for_each(|_| errors.ended(0.2));
        (0..800).for_each(|_| errors.ended(0.05));
        assert!((errors.margin(now) - MARGIN_WHOLE - 0.6 * whole).abs() < 1e-9);
        (0..10_000).for_each(|_| errors.ended(0.2));
        assert!((errors.margin(now) - MARGIN_WHOLE - CAUTION_MIN * whole).abs() < 1e-9);
        (0..6).for_each(|_| errors.ended(-0.1));
        assert!((errors.margin(now) - MARGIN_WHOLE - whole).abs() < 1e-9);
    }

    #[test]
    fn the_margin_is_what_was_seen() {
        let (mut errors, now) = (Errors::new(), Instant::now());
        assert_eq!(errors.margin(now), MARGIN_UNSEEN);
        (0..100).for_each(|_| errors.push(10 * MS, 12 * MS, now));
        assert!((errors.margin(now) - 1.2 * SPARE).abs() < 1e-9);
        (0..10).for_each(|_| errors.push(10 * MS, 20 * MS, now));
        assert!((errors.margin(now) - 2.0 * SPARE).abs() < 1e-9);
        assert!(errors.margin(now + Duration::from_secs(20)) < 1.01 * SPARE);
    }
}
