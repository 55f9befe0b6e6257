//! Statistics of what was measured lately, so that an estimate follows a change soon and forgets an outlier.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many samples are kept however old they are.
const SAMPLES_MIN: usize = 8;

/// Without a new sample for [`STALE`], what is above `floor` halves in each [`HALF_LIFE_S`].
const STALE: Duration = Duration::from_secs(1);
const HALF_LIFE_S: f64 = 1.0;

/// What is kept, and what is read off it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// Older samples are forgotten.
    pub(crate) age_max: Duration,
    pub(crate) samples_max: usize,
    /// The quantiles to keep, 0 to 1.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// A low quantile or the mean, the mean, and a high quantile or the mean: a few extreme samples may move that beyond the quantiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) mean: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// One value, known without doubt.
    pub(crate) fn exact(value: f64) -> Self {
        Self {
            low: value,
            mean: value,
            high: value,
        }
    }
}

/// The samples of a window of time.
#[derive(Debug, Clone)]
pub(crate) struct Recent {
    samples: VecDeque<(Instant, f64)>,
    spread: Option<(Instant, Spread)>,
    window: Window,
}

impl Recent {
    /// No samples.
    pub(crate) fn new(window: Window) -> Self {
        Self {
            samples: VecDeque::new(),
            spread: None,
            window,
        }
    }

    /// Takes a sample.
    pub(crate) fn push(&mut self, value: f64, now: Instant) {
        self.samples.push_back((now, value));
        let old = |at: Instant| now.saturating_duration_since(at) > self.window.age_max;
        while self.samples.len() > self.window.samples_max
            || self.samples.len() > SAMPLES_MIN && self.samples.front().is_some_and(|(at, _)| old(*at))
        {
            self.samples.pop_front();
        }
        self.spread = Some((now, self.computed()));
    }

    /// The statistics; `None` before the first sample. What has not been measured for a while sinks towards `floor`, so that
    /// what an outlier forbids is tried again.
    pub(crate) fn spread(&self, floor: f64, now: Instant) -> Option<Spread> {
        let (at, spread) = self.spread?;
        let stale = now.saturating_duration_since(at).saturating_sub(STALE);
        if stale.is_zero() {
            return Some(spread);
        }
        let left = 0.5_f64.powf(stale.as_secs_f64() / HALF_LIFE_S);
        let sink = |value: f64| {
            if value > floor {
                floor + (value - floor) * left
            } else {
                value
            }
        };
        Some(Spread {
            low: sink(spread.low),
            mean: sink(spread.mean),
            high: sink(spread.high),
        })
    }

    fn computed(&self) -> Spread {
        let mut values: Vec<f64> = self.samples.iter().map(|(_, value)| *value).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let mut quantile = |share: f64| {
            let index = ((values.len() - 1) as f64 * share).round() as usize;
            *values.select_nth_unstable_by(index, f64::total_cmp).1
        };
        Spread {
            low: quantile(self.window.low).min(mean),
            mean,
            high: quantile(self.window.high).max(mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(low: f64, high: f64) -> Recent {
        Recent::new(Window {
            age_max: Duration::from_secs(1),
            samples_max: 100,
            low,
            high,
        })
    }

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_change_shows_within_a_second() {
        let (mut recent, start) = (recent(0.1, 0.9), Instant::now());
        for ms in (0..3000).step_by(20) {
            let value = if ms < 1500 { 1.0 } else { 2.0 };
            recent.push(value, at(start, ms));
            let Spread { low, mean, high } = recent.spread(0.0, at(start, ms)).unwrap();
            assert!(low <= mean && mean <= high);
            if ms < 1500 {
                assert_eq!((low, high), (1.0, 1.0));
            }
            if ms > 1500 + 150 {
                assert_eq!(high, 2.0, "the high quantile follows upwards within a few samples");
            }
            if ms > 2500 {
                assert_eq!(low, 2.0);
            }
        }
    }

    #[test]
    fn rare_samples_are_kept_until_there_are_newer_ones() {
        let (mut recent, start) = (recent(0.0, 1.0), Instant::now());
        for second in 0..20 {
            recent.push(second as f64, at(start, second * 5000));
        }
        let spread = recent.spread(0.0, at(start, 95_000)).unwrap();
        assert_eq!((spread.low, spread.high), (12.0, 19.0));
    }

    #[test]
    fn an_outlier_sinks_to_the_floor() {
        let (mut recent, start) = (recent(0.1, 0.9), Instant::now());
        assert_eq!(recent.spread(1.0, start), None);
        recent.push(9.0, start);
        assert_eq!(recent.spread(1.0, at(start, 1000)).unwrap(), Spread::exact(9.0));
        assert_eq!(recent.spread(1.0, at(start, 2000)).unwrap(), Spread::exact(5.0));
        assert!(recent.spread(1.0, at(start, 20_000)).unwrap().high < 1.01);
        assert_eq!(recent.spread(10.0, at(start, 5000)).unwrap(), Spread::exact(9.0));
    }
}
