//! The batch-latency curve of one model on this machine, and what is read off it.

mod crew;
mod measure;
mod search;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Throughput that a larger batch must add before it is worth its latency.
const GAIN_MIN: f64 = 1.02;
/// Milliseconds that a run of more than one image may take: an image that comes just after its start waits as long.
const BATCH_MS_MAX: f64 = 100.0;

/// Milliseconds of a run of a single image beyond which other sizes of batches are not measured when a model is loaded: that would take
/// long, and is found out while it serves.
pub(crate) const SINGLE_MS_MAX: f64 = 10.0;

/// Latency of one batch size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Images in the batch.
    pub batch_size: usize,
    /// What a run takes, in milliseconds of CPU time of the thread that calls the session: its latency where no quota throttles it and
    /// nothing else wants the cores. The least of several medians.
    pub latency_ms: f64,
}

impl Point {
    /// Images a millisecond of one session.
    fn rate(&self) -> f64 {
        self.batch_size as f64 / self.latency_ms.max(f64::MIN_POSITIVE)
    }

    /// Whether a run is short enough for those that wait for its end.
    fn in_time(&self) -> bool {
        self.batch_size == 1 || self.latency_ms <= BATCH_MS_MAX
    }
}

/// What warm-up measured, by batch size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// One-core sessions, all of them running at the same time, as they do under load.
    pub narrow: Vec<Point>,
    /// The all-core session alone.
    pub wide: Vec<Point>,
    /// The largest batch of a one-core session that may run, measured or not; 0 if nothing is known of it.
    #[serde(default)]
    pub batch_max: usize,
}

impl Curve {
    /// The smallest batch whose throughput, all sessions running at the same time, no larger one beats by more than 2 %; larger ones than a
    /// single image count as far as a run of them takes at most 100 ms. Where a single image takes so long that no other size was measured,
    /// two, which read the weights once for both. 1 if nothing was measured.
    pub fn best_batch(&self) -> usize {
        if let [single] = &self.narrow[..]
            && self.batch_max >= 2
            && single.latency_ms > SINGLE_MS_MAX
            && single.latency_ms * 2.0 <= BATCH_MS_MAX
        {
            return 2;
        }
        let in_time = || self.narrow.iter().filter(|p| p.in_time());
        let best = in_time().map(Point::rate).fold(0.0, f64::max);
        let mut as_good = in_time().filter(|p| p.rate() * GAIN_MIN >= best);
        as_good.next().map_or(1, |p| p.batch_size)
    }

    /// The largest batch that all cores together finish before one core finishes a single image; 0 where the wide session
    /// does not pay.
    pub fn wide_max(&self) -> usize {
        let Some(single) = self.narrow.first() else {
            return 1;
        };
        let pays = self
            .wide
            .iter()
            .filter(|p| p.latency_ms < single.latency_ms * single.batch_size as f64);
        pays.map(|p| p.batch_size).max().unwrap_or(0)
    }

    /// Milliseconds that an image takes in one-core runs of the batch whose throughput is best, among those of [`Self::best_batch`]. `None` if
    /// nothing was measured.
    pub fn image_ms(&self) -> Option<f64> {
        let in_time = self.narrow.iter().filter(|p| p.in_time());
        let times = in_time.map(|p| p.latency_ms / p.batch_size as f64);
        times.reduce(f64::min)
    }

    /// Latency of a narrow batch of that size, or of the next smaller one that was measured.
    pub fn narrow_latency(&self, batch_size: usize) -> Option<Duration> {
        let point = self.narrow.iter().rev().find(|p| p.batch_size <= batch_size)?;
        Some(Duration::from_secs_f64(point.latency_ms / 1e3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The curve of these latencies, in milliseconds, over sizes 1, 2, 4, …
    pub(super) fn points(latencies: &[f64]) -> Vec<Point> {
        let sizes = (0..).map(|n| 1usize << n);
        let point = |(batch_size, &latency_ms)| Point { batch_size, latency_ms };
        sizes.zip(latencies).map(point).collect()
    }

    #[track_caller]
    fn check(narrow: &[f64], wide: &[f64], best_batch: usize, wide_max: usize) {
        let curve = Curve {
            narrow: points(narrow),
            wide: points(wide),
            ..Curve::default()
        };
        assert_eq!(
            (curve.best_batch(), curve.wide_max()),
            (best_batch, wide_max),
            "{curve:?}"
        );
    }

    #[test]
    fn where_only_long_single_images_were_measured_two_are_taken() {
        let batch = |latency_ms, batch_max| {
            let narrow = points(&[latency_ms]);
            let curve = Curve {
                narrow,
                batch_max,
                ..Curve::default()
            };
            curve.best_batch()
        };
        assert_eq!(
            [batch(25.0, 4), batch(25.0, 1), batch(5.0, 4), batch(60.0, 4)],
            [2, 1, 1, 1]
        );
    }

    #[test]
    fn large_convolutions_stay_single() {
        check(&[25.0, 50.0, 101.0, 205.0], &[14.7, 28.0], 1, 1);
    }

    #[test]
    fn two_percent_more_are_not_worth_twice_the_latency() {
        check(&[25.0, 49.2, 98.5], &[14.7], 1, 1);
        check(&[25.0, 46.2, 91.0], &[14.7], 2, 1);
    }

    #[test]
    fn runs_of_several_images_are_short() {
        check(&[27.5, 51.0, 98.0, 170.0], &[15.0], 4, 1);
        check(&[60.0, 110.0], &[40.0], 1, 1);
        check(&[150.0, 200.0], &[90.0], 1, 1);
    }

    #[test]
    fn small_models_batch_as_far_as_it_gains() {
        check(&[1.0, 1.6, 2.8, 5.5], &[0.7, 0.95, 1.5], 4, 2);
    }

    #[test]
    fn a_wide_session_that_is_no_faster_is_not_used() {
        check(&[0.1, 0.15], &[0.12], 2, 0);
    }

    #[test]
    fn an_image_takes_what_it_does_in_the_best_batch_that_is_short_enough() {
        let image_ms = |latencies: &[f64]| {
            let narrow = points(latencies);
            let wide = points(&[0.1]);
            let batch_max = 0;
            Curve {
                narrow,
                wide,
                batch_max,
            }
            .image_ms()
        };
        assert_eq!(image_ms(&[1.0, 1.6, 2.8, 5.6]), Some(0.7));
        assert_eq!(image_ms(&[60.0, 110.0]), Some(60.0));
        assert_eq!(image_ms(&[]), None);
    }

    #[test]
    fn nothing_measured_means_one_at_a_time() {
        check(&[], &[], 1, 1);
    }
}
