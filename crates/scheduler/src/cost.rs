//! What things take, in core-seconds: an expectation from before, corrected by what was seen in the last second.
//!
//! A run's expectation is the curve that was measured when the model was loaded; preparing an item has the engine's,
//! [`Cost::expected`]. What was seen is kept as a ratio to these, for runs by width, for preparing by the engine's class and the
//! magnitude, so that a few samples say something of every size.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::engine::{Cost, Width};
use super::recent::{Recent, Spread, Window};
use super::settings::RunTimes;

/// What estimates follow; the quantiles are those of [`Estimate::low`] and [`Estimate::high`].
const WINDOW: Window = Window {
    age_max: Duration::from_secs(1),
    samples_max: 128,
    low: 0.1,
    high: 0.9,
};

/// Shares of the expectation to which an estimate sinks that has not been confirmed for long. A run's is measured, the other a guess.
const RUN_FLOOR: f64 = 0.7;
const PREPARE_FLOOR: f64 = 0.2;

/// No item is expected to take less: what is measured would be noise.
const EXPECTED_MIN: Duration = Duration::from_micros(10);

/// What something will take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// Seldom less.
    pub(crate) low: Duration,
    /// On average.
    pub(crate) mean: Duration,
    /// Seldom more.
    pub(crate) high: Duration,
}

impl Estimate {
    fn new(expected: Duration, ratio: Spread) -> Self {
        Self {
            low: expected.mul_f64(ratio.low),
            mean: expected.mul_f64(ratio.mean),
            high: expected.mul_f64(ratio.high),
        }
    }

    /// Between the mean and the high quantile: what one item of many is likely to take.
    pub(crate) fn likely(self) -> Duration {
        (self.mean + self.high) / 2
    }

    /// Hardly ever more: beyond the high quantile by half of what that is beyond the mean.
    pub(crate) fn safe(self) -> Duration {
        self.high + self.high.saturating_sub(self.mean) / 2
    }

    /// One after the other.
    pub(crate) fn then(self, other: Self) -> Self {
        Self {
            low: self.low + other.low,
            mean: self.mean + other.mean,
            high: self.high + other.high,
        }
    }
}

/// Class, and the magnitude of what is expected.
type Bucket = (u8, u32);

/// What was measured before and what has been seen since.
#[derive(Debug)]
pub(crate) struct CostModel {
    times: RunTimes,
    workers: usize,
    narrow: Recent,
    wide: Recent,
    prepare: BTreeMap<Bucket, Recent>,
    /// Seconds an encoded byte.
    byte_s: Recent,
}

impl CostModel {
    pub(crate) fn new(times: RunTimes, workers: usize) -> Self {
        Self {
            times,
            workers,
            narrow: Recent::new(WINDOW),
            wide: Recent::new(WINDOW),
            prepare: BTreeMap::new(),
            byte_s: Recent::new(WINDOW),
        }
    }

    /// How long a run takes, in seconds of each of its cores.
    pub(crate) fn run(&self, width: Width, items: usize, now: Instant) -> Estimate {
        let known = !self.times.narrow.is_empty();
        let floor = if known { RUN_FLOOR } else { 0.0 };
        let seen = self.runs(width).spread(floor, now);
        let unseen = Spread::exact(if known { 1.0 } else { 0.0 });
        Estimate::new(self.expected(width, items), seen.unwrap_or(unseen))
    }

    /// How long preparing an item takes.
    pub(crate) fn prepare(&self, cost: &Cost, now: Instant) -> Estimate {
        let (class, magnitude) = bucket(cost);
        let below = self.prepare.range((class, 0)..=(class, magnitude)).next_back();
        let above = self.prepare.range((class, magnitude)..=(class, u32::MAX)).next();
        let distance = |found: &(&Bucket, &Recent)| found.0.1.abs_diff(magnitude);
        let nearest = below.into_iter().chain(above).min_by_key(distance);
        let seen = nearest.and_then(|(_, recent)| recent.spread(PREPARE_FLOOR, now));
        let unseen = Spread::exact(if cost.expected.is_zero() { 0.0 } else { 1.0 });
        Estimate::new(cost.expected.max(EXPECTED_MIN), seen.unwrap_or(unseen))
    }

    /// How long preparing something of which only the size is known may take.
    pub(crate) fn prepare_bytes(&self, bytes: u64, now: Instant) -> Duration {
        let byte_s = self.byte_s.spread(0.0, now).map_or(0.0, |seen| seen.mean);
        Duration::try_from_secs_f64(byte_s * bytes as f64).unwrap_or(Duration::MAX)
    }

    /// A run of `items` took `time`.
    pub(crate) fn ran(&mut self, width: Width, items: usize, time: Duration, now: Instant) {
        let expected = self.expected(width, items).max(EXPECTED_MIN);
        let ratio = time.as_secs_f64() / expected.as_secs_f64();
        match width {
            Width::Narrow => self.narrow.push(ratio, now),
            Width::Wide => self.wide.push(ratio, now),
        }
    }

    /// Preparing an item took `time`.
    pub(crate) fn prepared(&mut self, cost: &Cost, time: Duration, now: Instant) {
        let ratio = time.as_secs_f64() / cost.expected.max(EXPECTED_MIN).as_secs_f64();
        let recent = self.prepare.entry(bucket(cost));
        recent.or_insert_with(|| Recent::new(WINDOW)).push(ratio, now);
        if cost.encoded_bytes > 0 {
            self.byte_s.push(time.as_secs_f64() / cost.encoded_bytes as f64, now);
        }
    }

    fn runs(&self, width: Width) -> &Recent {
        match width {
            Width::Narrow => &self.narrow,
            Width::Wide => &self.wide,
        }
    }

    fn expected(&self, width: Width, items: usize) -> Duration {
        let narrow = || interpolated(&self.times.narrow, items);
        match width {
            Width::Narrow => narrow(),
            Width::Wide if self.times.wide.is_empty() => narrow() / self.workers.max(1) as u32,
            Width::Wide => interpolated(&self.times.wide, items),
        }
    }
}

/// Magnitudes of two.
fn bucket(cost: &Cost) -> Bucket {
    let micros = cost.expected.max(EXPECTED_MIN).as_micros() as u64;
    (cost.class, micros.ilog2())
}

/// A curve's value at `items`: straight between its points, in proportion beyond them; a millisecond an item where it has none.
fn interpolated(curve: &[(usize, Duration)], items: usize) -> Duration {
    let after = curve.partition_point(|(size, _)| *size < items);
    let proportional = |(size, time): (usize, Duration)| time.mul_f64(items as f64 / size.max(1) as f64);
    match (after.checked_sub(1).map(|before| curve[before]), curve.get(after)) {
        (None, None) => Duration::from_millis(items as u64),
        (None, Some(first)) => proportional(*first),
        (Some(last), None) => proportional(last),
        (Some((size_a, a)), Some((size_b, b))) => {
            let part = (items - size_a) as f64 / (size_b - size_a) as f64;
            a.mul_f64(1.0 - part) + b.mul_f64(part)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn model() -> CostModel {
        let times = RunTimes {
            narrow: vec![(1, 20 * MS), (4, 50 * MS)],
            wide: vec![(1, 12 * MS)],
        };
        CostModel::new(times, 2)
    }

    fn jpeg(expected: Duration) -> Cost {
        Cost {
            expected,
            class: 1,
            encoded_bytes: 1000,
            ..Cost::default()
        }
    }

    #[track_caller]
    fn check(width: Width, items: usize, expected_ms: u32) {
        assert_eq!(model().run(width, items, Instant::now()).mean, expected_ms * MS);
    }

    #[test]
    fn a_run_is_read_off_the_curve() {
        check(Width::Narrow, 1, 20);
        check(Width::Narrow, 2, 30);
        check(Width::Narrow, 8, 100);
        check(Width::Wide, 1, 12);
        check(Width::Wide, 2, 24);
    }

    #[test]
    fn what_is_seen_of_one_size_corrects_all() {
        let (mut model, now) = (model(), Instant::now());
        (0..10).for_each(|_| model.ran(Width::Narrow, 1, 40 * MS, now));
        assert_eq!(model.run(Width::Narrow, 4, now).high, 100 * MS);
        assert_eq!(model.run(Width::Wide, 1, now).high, 12 * MS);
    }

    #[test]
    fn nothing_measured_and_nothing_seen_is_nothing_expected() {
        let (mut model, now) = (CostModel::new(RunTimes::default(), 2), Instant::now());
        assert_eq!(model.run(Width::Narrow, 3, now), Estimate::default());
        model.ran(Width::Narrow, 2, 10 * MS, now);
        assert_eq!(model.run(Width::Narrow, 4, now).mean, 20 * MS);
        assert_eq!(model.prepare(&Cost::default(), now), Estimate::default());
    }

    #[test]
    fn preparing_is_corrected_by_class_and_magnitude() {
        let (mut model, now) = (model(), Instant::now());
        assert_eq!(model.prepare(&jpeg(MS), now).mean, MS);
        model.prepared(&jpeg(MS), 2 * MS, now);
        model.prepared(&jpeg(100 * MS), 50 * MS, now);
        assert_eq!(model.prepare(&jpeg(2 * MS), now).mean, 4 * MS, "the nearest magnitude");
        assert_eq!(model.prepare(&jpeg(200 * MS), now).mean, 100 * MS);
        let other = Cost { class: 2, ..jpeg(MS) };
        assert_eq!(model.prepare(&other, now).mean, MS);
        assert_eq!(model.prepare_bytes(1000, now), 26 * MS);
    }

    #[test]
    fn an_outlier_is_forgotten() {
        let (mut model, now) = (model(), Instant::now());
        model.ran(Width::Narrow, 1, 2000 * MS, now);
        let later = now + Duration::from_secs(15);
        assert_eq!(model.run(Width::Narrow, 1, now).low, 2000 * MS);
        assert!(model.run(Width::Narrow, 1, later).low < 15 * MS);
    }
}
